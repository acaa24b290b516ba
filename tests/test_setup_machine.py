"""The set-up looks at a machine: its Pythons, what it lacks, its GPUs. The machines are made up."""
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tools.setup import checks, torch_choice
from tools.setup.console import SetupError
from tools.setup.pythons import Interpreter, candidates, find_python, probe

GOOD = Interpreter('/usr/bin/python3.11', (3, 11, 7), has_venv=True, has_headers=True)


def python(minor, executable='python', has_venv=True, has_headers=True):
    return Interpreter(executable, (3, minor, 2), has_venv, has_headers)


class TestFindPython:

    @staticmethod
    def find(machine, env=None):
        """``machine``: command to Interpreter, or None where it does not run."""
        return find_python(env or {}, ask=machine.get, list_candidates=lambda env: list(machine))

    def test_first_fitting_candidate_wins(self):
        machine = {'a': python(9), 'b': None, 'c': python(12, 'c'), 'd': python(11, 'd')}
        assert self.find(machine).executable == 'c'

    def test_complete_one_goes_before_one_without_headers_or_venv(self):
        machine = {'a': python(11, 'a', has_headers=False), 'b': python(11, 'b', has_venv=False), 'c': python(10, 'c')}
        assert self.find(machine).executable == 'c'

    def test_incomplete_one_is_better_than_none(self):
        machine = {'a': python(13), 'b': python(11, 'b', has_headers=False)}
        assert self.find(machine).executable == 'b'

    @pytest.mark.parametrize('minor', [9, 13])
    def test_none_that_fits(self, minor):
        with pytest.raises(SetupError, match=rf'(?s)was found \(found: 3\.{minor}\.2\).*apt install'):
            self.find({'python3': python(minor)})

    def test_named_one_is_taken_at_its_word(self):
        machine = {'a': python(11, 'a'), 'mine': python(10, 'mine')}
        assert self.find(machine, {'PYTHON': 'mine'}).executable == 'mine'

    def test_named_one_that_does_not_fit_is_refused_not_replaced(self):
        machine = {'a': python(11, 'a'), 'mine': python(9, 'mine')}
        with pytest.raises(SetupError, match=r'PYTHON=mine is Python 3\.9\.2; the pinned packages need 3\.10-3\.12'):
            self.find(machine, {'PYTHON': 'mine'})

    def test_named_one_that_does_not_run(self):
        with pytest.raises(SetupError, match='PYTHON=mine does not run'):
            self.find({'a': python(11)}, {'PYTHON': 'mine'})

    def test_pyenv_versions_are_candidates_newest_of_a_series_first(self, tmp_path):
        for version in ('3.11.4', '3.11.7', '3.9.1', '3.12.1'):
            place = tmp_path / 'versions' / version / 'bin'
            place.mkdir(parents=True)
            (place / 'python3').touch()
        found = candidates({'PYENV_ROOT': str(tmp_path), 'PATH': ''})
        assert [Path(path).parts[-3] for path in found] == ['3.11.7', '3.11.4', '3.12.1']

    def test_probe_of_this_python(self):
        found = probe(sys.executable)
        assert found.version == sys.version_info[:3]
        assert found.fits

    def test_probe_of_what_does_not_run(self, tmp_path):
        shim = tmp_path / 'python3.12'
        shim.write_text('#!/bin/sh\nexit 127\n')
        shim.chmod(0o755)
        assert probe(str(shim)) is None
        assert probe(str(tmp_path / 'absent')) is None


class TestChecks:
    HERE = Path('/clone/.venv')

    def gaps(self, interpreter=GOOD, env=None, needs_compiler=True, compilers=('g++', ), free=100.0, system='Linux'):
        return checks.find_gaps(
            interpreter, env or {}, needs_compiler, {self.HERE: 2.5}, system,
            which=lambda name, path=None: f'/usr/bin/{name}' if name in compilers else None, free=lambda path: free)

    def test_a_ready_machine_has_none(self):
        assert self.gaps() == []

    def test_no_compiler(self):
        gap, = self.gaps(compilers=())
        assert 'No C++ compiler was found' in gap.problem
        assert 'apt install g++' in gap.remedy and 'dnf install gcc-c++' in gap.remedy

    def test_no_compiler_on_a_mac(self):
        gap, = self.gaps(compilers=(), system='Darwin')
        assert gap.remedy == 'xcode-select --install'

    def test_compiler_and_headers_do_not_matter_if_nothing_is_compiled(self):
        assert self.gaps(python(11, has_headers=False), compilers=(), needs_compiler=False) == []

    def test_named_compiler_is_looked_for_alone(self):
        assert self.gaps(env={'CXX': 'clang++-17 -stdlib=libc++'}, compilers=('clang++-17', )) == []
        gap, = self.gaps(env={'CXX': 'icpx'})
        assert gap.problem.startswith('CXX=icpx was not found')

    def test_missing_headers_name_the_package_of_that_python(self):
        gap, = self.gaps(python(12, has_headers=False))
        assert 'Python.h' in gap.problem
        assert 'python3.12-dev' in gap.remedy

    def test_missing_venv_module(self):
        gap, = self.gaps(python(10, has_venv=False))
        assert 'python3.10-venv' in gap.remedy

    def test_full_disk(self):
        gap, = self.gaps(free=1.25)
        assert gap.problem == '/clone/.venv has 1.2 GiB free; about 2.5 GiB are needed.'

    def test_all_gaps_are_named_at_once(self):
        gaps = self.gaps(python(11, has_venv=False, has_headers=False), compilers=(), free=0.0)
        with pytest.raises(SetupError) as raised:
            checks.require(gaps)
        assert str(raised.value).count('What to do:') == 4

    def test_free_space_of_a_folder_to_be_made(self, tmp_path):
        assert checks.free_gib(tmp_path / 'not' / 'yet') == pytest.approx(checks.free_gib(tmp_path), abs=0.5)


class TestTorchChoice:
    PIN = 'torch==2.13.0'

    def plan(self, env=None, gpus=(), system='Linux'):
        return torch_choice.plan_torch(self.PIN, env or {}, list(gpus), system)

    def test_gpu_gets_the_cuda_build_and_says_so(self):
        plan = self.plan(gpus=['NVIDIA L4'])
        assert plan.attempts == ((self.PIN, ), )
        assert 'CUDA build' in plan.explanation and 'NVIDIA L4' in plan.explanation
        assert plan.disk_gib > 5

    def test_without_gpu_the_cpu_build_is_tried_first(self):
        plan = self.plan()
        assert plan.attempts == ((self.PIN + '+cpu', ), (self.PIN, ))
        assert not plan.wants_cuda

    def test_mac_has_one_build(self):
        assert self.plan(system='Darwin').attempts == ((self.PIN, ), )

    @pytest.mark.parametrize(('asked', 'gpus', 'cuda'), [('cpu', ['NVIDIA L4'], False), ('cuda', [], True)])
    def test_environment_overrules_the_look_at_the_machine(self, asked, gpus, cuda):
        plan = self.plan({'SCENE_QFORMER_TORCH': asked}, gpus)
        assert plan.wants_cuda is cuda
        assert f'SCENE_QFORMER_TORCH={asked}' in plan.explanation

    def test_unknown_wish(self):
        with pytest.raises(SetupError, match="'rocm'; expected 'cpu', 'cuda'"):
            self.plan({'SCENE_QFORMER_TORCH': 'rocm'})

    def test_own_index_is_used_and_not_printed(self):
        """An index's address may carry a password."""
        plan = self.plan({'SCENE_QFORMER_TORCH_INDEX': 'https://user:secret@host.invalid/simple'})
        assert plan.attempts == ((self.PIN, '--index-url', 'https://user:secret@host.invalid/simple'), )
        assert 'host.invalid' not in plan.explanation

    def test_gpus_from_the_driver(self, tmp_path):
        answer = SimpleNamespace(returncode=0, stdout=b'NVIDIA H200\nNVIDIA H200\n')
        assert torch_choice.nvidia_gpus(lambda *a, **k: answer) == ['NVIDIA H200', 'NVIDIA H200']

    def test_no_driver(self, tmp_path):
        def absent(*args, **kwargs):
            raise FileNotFoundError('nvidia-smi')
        assert torch_choice.nvidia_gpus(absent, tmp_path / 'nvidia0') == []
        broken = SimpleNamespace(returncode=9, stdout=b'no devices')
        assert torch_choice.nvidia_gpus(lambda *a, **k: broken, tmp_path / 'nvidia0') == []

    def test_device_without_its_tool(self, tmp_path):
        def absent(*args, **kwargs):
            raise FileNotFoundError('nvidia-smi')
        (tmp_path / 'nvidia0').touch()
        assert torch_choice.nvidia_gpus(absent, tmp_path / 'nvidia0') == ['NVIDIA GPU']

    def test_complaints(self):
        cuda = self.plan(gpus=['NVIDIA L4'])
        assert 'CPU build though a GPU is there' in torch_choice.complaint(cuda, '2.13.0+cpu', None, False)
        assert 'driver is older' in torch_choice.complaint(cuda, '2.13.0+cu130', '13.0', False)
        assert torch_choice.complaint(cuda, '2.13.0+cu130', '13.0', True) is None
        assert torch_choice.complaint(self.plan(), '2.13.0+cu130', '13.0', False) is None
