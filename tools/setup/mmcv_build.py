"""Building mmcv's wheel from its source, with progress; an interrupted build goes on where it stopped."""
from __future__ import annotations

import os
import re
import shutil
import tarfile
from pathlib import Path
from typing import Dict, Mapping, Optional, Tuple

from tools.setup.checks import find_compiler
from tools.setup.console import Console, SetupError
from tools.setup.environment import clean_environ
from tools.setup.layout import venv_python
from tools.setup.ops_target import OpsTarget, find_nvcc
from tools.setup.pip_progress import PipProgress
from tools.setup.process import Progress, run_logged, tail

# Measured with the flags below: 200 s on 2 cores for the 77 C++ files of mmcv 2.1 without CUDA. Without them, 8 minutes
# and a wheel of 32 MB, nearly all of it debug information.
CPU_CORE_SECONDS = 400.0
CPU_FLAGS = '-g0 -O2 -w'
GIB_PER_JOB = 1.5
_NINJA = re.compile(r'^\s*\[(\d+)/(\d+)\]')


class CompilationError(SetupError):
    """The compiler ran and failed."""


def parallel_jobs(cores: int, memory_gib: float) -> int:
    """Files to compile at a time: one a core, unless memory (about 1.5 GiB a file) allows fewer."""
    return max(1, min(cores, int(memory_gib / GIB_PER_JOB)))


def this_machine() -> Tuple[int, float]:
    """Usable cores, and physical memory in GiB."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    try:
        memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2.0 ** 30
    except (ValueError, OSError):
        memory = 8.0
    return cores, memory


def workshop(cache: Path, target: OpsTarget) -> Path:
    """Where the source is unpacked and compiled: kept after an interruption, removed after success."""
    return cache / 'build' / target.key


def build_environ(env: Mapping[str, str], target: OpsTarget, jobs: int) -> Dict[str, str]:
    """The environment variables of the build; ``CFLAGS`` of the user's own are kept, after ours so that they win."""
    compiler = find_compiler(env)
    if compiler is None:
        raise SetupError('No C++ compiler was found, and mmcv has to be built.\n'
                         'What to do: Debian/Ubuntu  sudo apt install g++      Fedora  sudo dnf install gcc-c++      '
                         'macOS  xcode-select --install')
    result = clean_environ(env)
    result.update(MMCV_WITH_OPS='1', MAX_JOBS=str(jobs), CFLAGS=f'{CPU_FLAGS} {env.get("CFLAGS", "")}'.strip())
    result.setdefault('CXX', compiler)
    if target.cuda:
        nvcc = find_nvcc(env)
        result.update(FORCE_CUDA='1', TORCH_CUDA_ARCH_LIST=env.get('TORCH_CUDA_ARCH_LIST') or target.capability)
        if nvcc:
            result.setdefault('CUDA_HOME', str(Path(nvcc).resolve().parents[1]))
    else:
        result.pop('FORCE_CUDA', None)
    return result


def build(venv: Path, target: OpsTarget, cache: Path, env: Mapping[str, str], console: Console) -> Path:
    """Build the wheel. Returns its path, inside :func:`workshop`.

    Raises:
        SetupError: if there is no compiler, the source cannot be had, or the compilation fails; names the log.
    """
    cores, memory = this_machine()
    jobs = parallel_jobs(cores, memory)
    settings = build_environ(env, target, jobs)
    place = workshop(cache, target)
    place.mkdir(parents=True, exist_ok=True)
    log = place / 'build.log'
    if target.cuda:
        estimate = None
        console.say(f'Building mmcv {target.mmcv} with operators for CPU and CUDA {target.cuda} '
                    f'(compute capability {target.capability}) in {jobs} parallel jobs. '
                    'The GPU kernels make this long: tens of minutes on few cores.')
    else:
        estimate = CPU_CORE_SECONDS / jobs
        console.say(f'Building mmcv {target.mmcv} with CPU operators in {jobs} parallel jobs; estimate '
                    f'{estimate:.0f} s (measured: 200 s with 2). This happens once: the wheel is kept.')
    source = _source(venv, target.mmcv, place, settings, log, console)
    wheels = place / 'wheel'
    shutil.rmtree(str(wheels), ignore_errors=True)
    command = [str(venv_python(venv)), '-m', 'pip', 'wheel', '-v', '--no-build-isolation', '--no-deps',
               '--no-cache-dir', '-w', str(wheels), str(source)]
    if run_logged(command, settings, log, NinjaProgress(estimate), console) != 0:
        raise CompilationError(
            f'Building mmcv failed; the end of {log}:\n{tail(log)}\n'
            'What to do: if a line says "Killed", memory ran out: try again on fewer cores (taskset -c 0 make setup). '
            'Else the log names what the compiler missed.')
    (wheel, ) = wheels.glob('mmcv-*.whl')
    return wheel


def _source(venv: Path, version: str, place: Path, settings: Mapping[str, str], log: Path, console: Console) -> Path:
    """The unpacked source. One that is there already is used again, with the object files of a build cut short."""
    source = place / f'mmcv-{version}'
    if source.is_dir():
        console.say(f'Going on with the build that was cut short in {place}')
        return source
    command = [str(venv_python(venv)), '-m', 'pip', 'download', '--no-input', '--no-build-isolation', '--no-deps',
               '--progress-bar', 'off', '--no-binary', 'mmcv', '-d', str(place), f'mmcv=={version}']
    code = run_logged(command, settings, log, PipProgress('source of mmcv'), console)
    archives = sorted(place.glob('mmcv-*.tar.gz'))
    if code != 0 or not archives:
        raise SetupError(f"mmcv {version}'s source could not be downloaded; the end of {log}:\n{tail(log)}")
    # Unpacked beside and renamed, so that a half-unpacked source is never taken for a whole one.
    staging = place / 'unpacking'
    shutil.rmtree(str(staging), ignore_errors=True)
    with tarfile.open(str(archives[-1])) as archive:
        if hasattr(tarfile, 'data_filter'):
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(str(staging))
    os.replace(str(staging / f'mmcv-{version}'), str(source))
    return source


class NinjaProgress(Progress):
    """Follows the lines ``[12/77] c++ ...`` with which ninja reports finished files.

    Args:
        estimate: Seconds that the whole should take; ``None`` if unknown.
    """

    def __init__(self, estimate: Optional[float]) -> None:
        self.estimate = estimate
        self.done = self.total = 0

    def read(self, line: str) -> None:
        match = _NINJA.match(line)
        if match:
            self.done, self.total = int(match.group(1)), int(match.group(2))

    def status(self, elapsed: float) -> str:
        if not self.total:
            return f'  mmcv: preparing ({elapsed:.0f} s)'
        text = f'  mmcv: compiled {self.done} of {self.total} files, {elapsed:.0f} s elapsed'
        if self.done >= 5:  # enough for a pace
            return text + f', about {elapsed * (self.total - self.done) / self.done:.0f} s left'
        return text + (f', about {max(0.0, self.estimate - elapsed):.0f} s left' if self.estimate else '')
