"""mmcv with operators: what it is built for, and reuse, cache, build. Nothing is installed or compiled here."""
import io
import os
from types import SimpleNamespace

import pytest

from tools.setup import mmcv_build, mmcv_wheel
from tools.setup.console import Console, SetupError
from tools.setup.ops_target import OpsTarget, choose_target, find_nvcc


class TestOpsTarget:
    CPU = dict(version='2.13.0+cpu', cuda=None, cuda_works=False, python='cp311', capability='')
    GPU = dict(version='2.13.0+cu130', cuda='13.0', cuda_works=True, python='cp311', capability='9.0')

    def test_gpu_kernels_need_gpu_and_compiler(self):
        assert choose_target('2.1.0', self.GPU, '/usr/bin/nvcc').cuda == '13.0'
        assert choose_target('2.1.0', self.GPU, None).cuda == ''
        assert choose_target('2.1.0', {**self.GPU, 'cuda_works': False}, '/usr/bin/nvcc').cuda == ''
        assert choose_target('2.1.0', self.CPU, '/usr/bin/nvcc').cuda == ''

    def test_keys_differ_wherever_wheels_do(self):
        base = OpsTarget('2.1.0', 'cp311', '2.13.0+cu130', '13.0', '9.0')
        others = [
            base.cpu_only(),
            OpsTarget('2.1.1', 'cp311', '2.13.0+cu130', '13.0', '9.0'),
            OpsTarget('2.1.0', 'cp312', '2.13.0+cu130', '13.0', '9.0'),
            OpsTarget('2.1.0', 'cp311', '2.13.0+cpu', '13.0', '9.0'),
            OpsTarget('2.1.0', 'cp311', '2.13.0+cu130', '12.8', '9.0'),
            OpsTarget('2.1.0', 'cp311', '2.13.0+cu130', '13.0', '8.9'),
        ]
        assert len({target.key for target in [base, *others]}) == 7

    def test_key_of_a_known_machine(self, monkeypatch):
        monkeypatch.setattr('platform.system', lambda: 'Linux')
        monkeypatch.setattr('platform.machine', lambda: 'x86_64')
        target = choose_target('2.1.0', self.CPU, None)
        assert target.key == 'mmcv2.1.0-cp311-torch2.13.0+cpu-opscpu-linux-x86_64'

    def test_nvcc_under_cuda_home(self, tmp_path):
        nvcc = tmp_path / 'bin' / 'nvcc'
        nvcc.parent.mkdir()
        nvcc.touch()
        nvcc.chmod(0o755)
        assert find_nvcc({'CUDA_HOME': str(tmp_path), 'PATH': ''}) == str(nvcc)


class TestMmcvWheel:
    TARGET = OpsTarget('2.1.0', 'cp311', '2.13.0+cpu')

    @pytest.fixture
    def machine(self, monkeypatch, tmp_path):
        """A ``.venv`` whose mmcv works once a wheel with working content was installed; a build takes no time."""
        state = SimpleNamespace(installed=None, builds=0, installs=0, said=io.StringIO(), fails=False)

        def install(venv, wheel, console):
            state.installs += 1
            state.installed = wheel.read_text()
            return True

        def build(venv, target, cache, env, console):
            state.builds += 1
            if state.fails and target.cuda:
                raise mmcv_build.CompilationError('the compiler did not like it')
            place = mmcv_build.workshop(cache, target)
            place.mkdir(parents=True)
            wheel = place / 'mmcv-2.1.0-any.whl'
            wheel.write_text('works')
            return wheel

        monkeypatch.setattr(mmcv_wheel, '_install', install)
        monkeypatch.setattr(mmcv_wheel, 'works', lambda venv, target: state.installed == 'works')
        monkeypatch.setattr(mmcv_build, 'build', build)
        state.provide = lambda target=self.TARGET: mmcv_wheel.provide(
            tmp_path / '.venv', target, tmp_path / 'cache', {}, Console(state.said))
        state.cache = tmp_path / 'cache'
        return state

    def test_a_working_one_is_left_alone(self, machine):
        machine.installed = 'works'
        assert 'reused' in machine.provide()
        assert (machine.installs, machine.builds) == (0, 0)

    def test_built_once_then_from_the_cache(self, machine):
        assert machine.provide().startswith('built')
        assert not mmcv_build.workshop(machine.cache, self.TARGET).exists()
        machine.installed = None
        assert machine.provide().startswith('from the cache')
        assert machine.builds == 1

    def test_a_cached_wheel_that_does_not_work_is_replaced_and_that_is_said(self, machine):
        shelf = machine.cache / 'wheels' / self.TARGET.key
        shelf.mkdir(parents=True)
        (shelf / 'mmcv-2.1.0-any.whl').write_text('built on another system')
        assert machine.provide().startswith('built')
        assert 'does not work here' in machine.said.getvalue()
        assert [path.read_text() for path in mmcv_wheel.cached_wheels(machine.cache, self.TARGET)] == ['works']

    def test_a_wheel_of_another_key_is_not_taken(self, machine):
        machine.provide(OpsTarget('2.1.0', 'cp310', '2.13.0+cpu'))
        machine.installed = None
        machine.provide()
        assert machine.builds == 2

    def test_gpu_kernels_that_do_not_compile_fall_back_to_the_cpu_aloud(self, machine):
        machine.fails = True
        gpu = OpsTarget('2.1.0', 'cp311', '2.13.0+cu130', '13.0', '9.0')
        assert machine.provide(gpu).startswith('built')
        assert 'WARNING: going on with CPU operators alone' in machine.said.getvalue()
        assert mmcv_wheel.cached_wheels(machine.cache, gpu) == []
        assert len(mmcv_wheel.cached_wheels(machine.cache, gpu.cpu_only())) == 1

    def test_compiler_is_not_asked_for_if_a_wheel_may_serve(self, machine):
        assert not mmcv_wheel.maybe_cached(machine.cache, '2.1.0', 'cp311', '2.13.0')
        machine.provide()
        assert mmcv_wheel.maybe_cached(machine.cache, '2.1.0', 'cp311', '2.13.0')
        assert not mmcv_wheel.maybe_cached(machine.cache, '2.1.0', 'cp312', '2.13.0')


class TestMmcvBuild:

    def test_jobs_follow_cores_unless_memory_is_short(self):
        assert mmcv_build.parallel_jobs(16, 64.0) == 16
        assert mmcv_build.parallel_jobs(16, 7.0) == 4
        assert mmcv_build.parallel_jobs(2, 1.0) == 1

    def test_progress_from_ninja(self):
        progress = mmcv_build.NinjaProgress(200.0)
        progress.read('[20/77] c++ -MMD -c nms.cpp')
        assert progress.status(50.0) == '  mmcv: compiled 20 of 77 files, 50 s elapsed, about 142 s left'

    def test_progress_before_there_is_a_pace_uses_the_estimate(self):
        progress = mmcv_build.NinjaProgress(200.0)
        progress.read('[2/77] c++')
        assert progress.status(4.0).endswith('about 196 s left')

    def test_other_output_is_no_progress(self):
        progress = mmcv_build.NinjaProgress(200.0)
        progress.read('running build_ext')
        assert progress.status(1.0) == '  mmcv: preparing (1 s)'

    def test_flags(self, tmp_path):
        compiler = tmp_path / 'g++'
        compiler.touch()
        compiler.chmod(0o755)
        env = dict(PATH=str(tmp_path), PYTHONPATH='/elsewhere', CFLAGS='-O3', PIP_CERT='/etc/cert')
        settings = mmcv_build.build_environ(env, OpsTarget('2.1.0', 'cp311', '2.13.0+cpu'), 3)
        assert settings['MMCV_WITH_OPS'] == '1'
        assert settings['CFLAGS'] == '-g0 -O2 -w -O3'
        assert settings['MAX_JOBS'] == '3'
        assert settings['CXX'] == str(compiler)
        assert settings['PIP_CERT'] == '/etc/cert'
        assert 'PYTHONPATH' not in settings and 'FORCE_CUDA' not in settings

    def test_cuda_flags(self, tmp_path):
        for name in ('g++', 'nvcc'):
            (tmp_path / 'bin').mkdir(exist_ok=True)
            (tmp_path / 'bin' / name).touch()
            (tmp_path / 'bin' / name).chmod(0o755)
        settings = mmcv_build.build_environ(
            {'PATH': str(tmp_path / 'bin')}, OpsTarget('2.1.0', 'cp311', '2.13.0+cu130', '13.0', '9.0'), 8)
        assert (settings['FORCE_CUDA'], settings['TORCH_CUDA_ARCH_LIST']) == ('1', '9.0')
        assert settings['CUDA_HOME'] == str(tmp_path)

    def test_no_compiler(self):
        with pytest.raises(SetupError, match='No C\\+\\+ compiler'):
            mmcv_build.build_environ({'PATH': ''}, OpsTarget('2.1.0', 'cp311', '2.13.0+cpu'), 1)

    def test_a_failed_build_shows_the_end_of_its_log(self, monkeypatch, tmp_path):
        target = OpsTarget('2.1.0', 'cp311', '2.13.0+cpu')
        source = mmcv_build.workshop(tmp_path, target) / 'mmcv-2.1.0'
        source.mkdir(parents=True)

        def failing(command, env, log, progress, console):
            assert command[-1] == str(source)
            log.write_text('[1/2] c++\nnms.cpp: error: no\n')
            return 1

        monkeypatch.setattr(mmcv_build, 'run_logged', failing)
        said = io.StringIO()
        with pytest.raises(mmcv_build.CompilationError, match=r'nms\.cpp: error: no'):
            mmcv_build.build(tmp_path, target, tmp_path, os.environ, Console(said))
        assert 'Going on with the build that was cut short' in said.getvalue()
