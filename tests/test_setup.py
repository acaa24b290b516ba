"""The set-up's course, its way in for old Pythons, the package's metadata and the Makefile. Nothing is installed."""
import io
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tools.setup import checks, environment, layout, main, stamp, torch_choice
from tools.setup.console import Console, SetupError
from tools.setup.pythons import Interpreter


class TestMain:

    def test_venv_of_an_unfit_python_is_refused_not_deleted(self, monkeypatch, tmp_path):
        monkeypatch.setattr(main, 'probe', lambda path: Interpreter('python', (3, 13, 2), True, True))
        with pytest.raises(SetupError, match=r'has Python 3\.13\.2; 3\.10-3\.12 is needed'):
            main.choose_interpreter(tmp_path, {})

    def test_absent_venv_is_not_up_to_date(self, tmp_path):
        assert not main.up_to_date(tmp_path / '.venv', Console(io.StringIO()))

    def test_fingerprint_covers_every_file_that_the_environment_comes_from(self, monkeypatch):
        seen = []
        monkeypatch.setattr(stamp, 'fingerprint', lambda root, files, version: seen.extend(files))
        main.wanted_fingerprint('3.11.7')
        names = {str(path.relative_to(layout.ROOT)) for path in seen}
        assert {'setup.py', 'requirements/runtime.txt', 'requirements/mmcv.txt', 'tools/setup/mmcv_build.py'} <= names

    @pytest.fixture
    def torch_machine(self, monkeypatch, tmp_path):
        """No torch yet; ``on_offer`` decides whether pip finds the CPU build."""
        state = SimpleNamespace(on_offer=True, taken=[], free=100.0)
        monkeypatch.setattr(environment, 'on_offer', lambda venv, arguments: state.on_offer)
        monkeypatch.setattr(environment, 'pip_install',
                            lambda venv, arguments, what, console: state.taken.append(arguments[-1]))
        monkeypatch.setattr(checks, 'find_disk_gaps', lambda disk: [
            checks.Gap('too little', 'free some') for needed in disk.values() if needed > state.free])
        plan = torch_choice.plan_torch('torch==2.13.0', {}, [], 'Linux')
        state.run = lambda: main.ensure_torch(tmp_path / '.venv', plan, Console(io.StringIO()))
        return state

    def test_cpu_build_where_it_is_on_offer(self, torch_machine):
        torch_machine.run()
        assert torch_machine.taken == ['torch==2.13.0+cpu']

    def test_plain_build_where_it_is_not(self, torch_machine):
        torch_machine.on_offer = False
        torch_machine.run()
        assert torch_machine.taken == ['torch==2.13.0']

    def test_plain_build_only_if_the_disk_holds_it(self, torch_machine):
        torch_machine.on_offer, torch_machine.free = False, 4.0
        with pytest.raises(SetupError, match='too little'):
            torch_machine.run()
        assert torch_machine.taken == []


class TestLayout:

    def test_cache_is_where_the_user_says_else_where_caches_are(self, tmp_path):
        assert layout.cache_dir({'SCENE_QFORMER_CACHE': str(tmp_path), 'XDG_CACHE_HOME': '/x'}) == tmp_path
        assert layout.cache_dir({'XDG_CACHE_HOME': '/x'}) == Path('/x/scene-qformer')
        assert layout.cache_dir({}) == Path('~/.cache/scene-qformer').expanduser()


def test_an_old_python_gets_a_message():
    """The guard in ``__main__`` must come before any import of newer syntax, and read on any Python."""
    source = (layout.ROOT / 'tools' / 'setup' / '__main__.py').read_text()
    old = 'import sys; sys.version_info = (3, 6, 15)\n'
    done = subprocess.run([sys.executable, '-c', old + source], capture_output=True, text=True, cwd=layout.ROOT)
    assert done.returncode == 1
    assert 'started with Python 3.6' in done.stderr and 'PYTHON=/path/to/python3.11' in done.stderr


def test_installing_the_package_demands_nothing(tmp_path):
    """``pip install -e .`` in somebody's mmdet3d environment must leave its torch, mmcv and numpy alone."""
    done = subprocess.run([sys.executable, 'setup.py', '-q', 'egg_info', '--egg-base', str(tmp_path)],
                          cwd=layout.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / 'scene_qformer.egg-info' / 'PKG-INFO').read_text().splitlines()
    demanded = [line for line in lines if line.startswith('Requires-Dist:') and 'extra ==' not in line]
    assert 'Name: scene-qformer' in lines
    assert demanded == []
    extras = {extra: {line.split(';')[0] for line in lines if line.startswith('Requires-Dist:')
                      and f'extra == "{extra}"' in line} for extra in ('llm', 'test')}
    assert any('sentencepiece' in line for line in extras['llm']) and extras['llm'] < extras['test']  # same bounds
    packages = (tmp_path / 'scene_qformer.egg-info' / 'top_level.txt').read_text().split()
    assert packages == ['scene_qformer']


def test_help_lists_every_target():
    done = subprocess.run(['make', '--no-print-directory', 'help'], cwd=layout.ROOT, capture_output=True, text=True)
    assert done.returncode == 0
    listed = {line.split()[0] for line in done.stdout.splitlines()}
    assert listed == {'help', 'setup', 'demo', 'bench', 'test', 'test-slow', 'faults', 'fuzz', 'lint', 'format',
                      'clean', 'clean-venv'}


def test_cleaning_never_names_data_or_results():
    for target in ('clean', 'clean-venv'):
        done = subprocess.run(['make', '--dry-run', target], cwd=layout.ROOT, capture_output=True, text=True)
        assert done.returncode == 0
        assert 'data' not in done.stdout and 'work_dirs' not in done.stdout
