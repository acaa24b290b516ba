"""What the set-up knows of an environment: pins that hold or not, its stamp, and the lock between two set-ups."""
import threading

import pytest

from tools.setup import environment, main, pins, stamp
from tools.setup.console import SetupError
from tools.setup.lock import locked


class TestPins:

    def test_every_requirement_file_holds_exact_pins_only(self):
        files = main.pin_files()
        assert {'build', 'torch', 'runtime', 'openmmlab', 'mmcv', 'test', 'constraints'} == set(files)
        assert all(pins.read_pins(path) for path in files.values())

    def test_one_version_of_a_package_over_all_files(self):
        seen = {}
        for path in main.pin_files().values():
            for name, version in pins.read_pins(path).items():
                assert seen.setdefault(name, version) == version, f'{name} is pinned twice'

    def test_a_loose_requirement_is_refused(self, tmp_path):
        path = tmp_path / 'requirements.txt'
        path.write_text('numpy==1.26.4\nscipy>=1.14\n')
        with pytest.raises(SetupError, match=r"txt:2: expected an exact pin 'name==version', got 'scipy>=1"):
            pins.read_pins(path)

    def test_a_pin_of_one_system_holds_there_alone(self, tmp_path, monkeypatch):
        path = tmp_path / 'requirements.txt'
        path.write_text('numpy==1.26.4\ntriton==3.7.0; sys_platform == "linux"\n')
        monkeypatch.setattr(pins.sys, 'platform', 'linux')
        assert pins.read_pins(path) == {'numpy': '1.26.4', 'triton': '3.7.0'}
        monkeypatch.setattr(pins.sys, 'platform', 'darwin')
        assert pins.read_pins(path) == {'numpy': '1.26.4'}
        path.write_text('triton==3.7.0; python_version < "3.11"\n')
        with pytest.raises(SetupError, match='expected an exact pin'):
            pins.read_pins(path)

    @pytest.fixture
    def site(self, tmp_path):
        info = tmp_path / 'some_package-2.0.0+cpu.dist-info'
        info.mkdir()
        (info / 'METADATA').write_text('Metadata-Version: 2.1\nName: Some.Package\nVersion: 2.0.0+cpu\n')
        (info / 'RECORD').write_text('some_package.py,,\n"odd, name.py",sha256=abc,3\n__pycache__/gone.pyc,,\n')
        (tmp_path / 'some_package.py').touch()
        (tmp_path / 'odd, name.py').touch()
        return tmp_path

    @staticmethod
    def problems(site, **wanted):
        wanted = {name.replace('_', '-'): version for name, version in wanted.items()}
        return pins.unmet(wanted, pins.installed([site]))

    def test_met_by_a_local_version_and_any_spelling(self, site):
        assert self.problems(site, some_package='2.0.0') == []

    def test_other_version(self, site):
        assert self.problems(site, some_package='2.0.1') == ['some-package 2.0.1 is pinned, 2.0.0+cpu is installed']

    def test_absent(self, site):
        assert self.problems(site, other='1.0') == ['other 1.0 is not installed']

    def test_compiled_caches_may_come_and_go(self, site):
        assert pins.broken(pins.installed([site])) == {}

    def test_a_lost_file_makes_it_broken(self, site):
        (site / 'odd, name.py').unlink()
        assert pins.broken(pins.installed([site])) == {'some-package': 'odd, name.py'}

    def test_an_installation_cut_short_makes_it_broken(self, site):
        next(site.glob('*.dist-info/RECORD')).unlink()
        assert pins.broken(pins.installed([site])) == {'some-package': 'its RECORD'}


class TestStamp:

    @pytest.fixture
    def files(self, tmp_path):
        (tmp_path / 'a.txt').write_text('numpy==1.26.4\n')
        (tmp_path / 'b.py').write_text('pass\n')
        return [tmp_path / 'a.txt', tmp_path / 'b.py']

    def test_changes_with_content_name_python_and_place(self, files, tmp_path):
        base = stamp.fingerprint(tmp_path, files, '3.11.7')
        assert base == stamp.fingerprint(tmp_path, files[::-1], '3.11.7')
        assert base != stamp.fingerprint(tmp_path, files, '3.11.8')
        assert base != stamp.fingerprint(tmp_path, files[:1], '3.11.7')
        assert base != stamp.fingerprint(tmp_path.parent, files, '3.11.7')
        files[0].write_text('numpy==1.26.5\n')
        assert base != stamp.fingerprint(tmp_path, files, '3.11.7')

    def test_written_read_and_cleared(self, tmp_path):
        assert stamp.read(tmp_path) == ''
        stamp.write(tmp_path, 'abc')
        assert stamp.read(tmp_path) == 'abc'
        assert [path.name for path in tmp_path.iterdir()] == [stamp.NAME]
        stamp.clear(tmp_path)
        stamp.clear(tmp_path)
        assert stamp.read(tmp_path) == ''


@pytest.mark.parametrize('kind', ['file', 'folder'])
def test_lock_makes_the_second_wait(tmp_path, kind):
    path = tmp_path if kind == 'folder' else tmp_path / 'lock'
    order, waits = [], threading.Event()

    def second():
        with locked(path, waits.set):
            order.append('second')

    with locked(path, lambda: pytest.fail('nobody holds it')):
        thread = threading.Thread(target=second)
        thread.start()
        assert waits.wait(10)
        order.append('first')
    thread.join(10)
    assert order == ['first', 'second']


def test_environment_keeps_pips_settings_and_drops_what_leads_astray():
    kept = environment.clean_environ(dict(PIP_CERT='c', PIP_FIND_LINKS='w', PYTHONPATH='p', PIP_USER='1', HOME='h'))
    assert (kept['PIP_CERT'], kept['PIP_FIND_LINKS'], kept['HOME']) == ('c', 'w', 'h')
    assert 'PYTHONPATH' not in kept and 'PIP_USER' not in kept
