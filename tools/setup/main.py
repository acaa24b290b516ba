"""The set-up's course: is there anything to do? Is the machine ready? Then step by step to a verified ``.venv``.

The environment itself is the memory between runs: each step first looks whether its pins hold, so a set-up that was
interrupted goes on where it stopped.
"""
from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List, Optional

from tools.setup import checks, environment, layout, mmcv_wheel, pins, stamp, torch_choice
from tools.setup.console import Console, SetupError
from tools.setup.lock import locked
from tools.setup.ops_target import TORCH_PROBE, choose_target, find_nvcc
from tools.setup.pythons import Interpreter, find_python, probe

# Imports that the tools and tests stand on, in a fresh process, as they will be used.
VERIFY = """
import json
import mmcv.ops, mmdet, mmengine, numpy, torch
import mmdet3d, mmdet3d.apis, mmdet3d.datasets, mmdet3d.evaluation, mmdet3d.models, mmdet3d.visualization
import nuscenes.nuscenes, nuscenes.eval.detection.evaluate, nuscenes.map_expansion.map_api
from mmdet3d.registry import MODELS
from mmdet3d.utils import register_all_modules
register_all_modules()
assert 'Det3DDataPreprocessor' in MODELS.module_dict
from importlib.metadata import version
print(json.dumps(dict((name, version(name)) for name in (
    'torch', 'numpy', 'mmengine', 'mmcv', 'mmdet', 'mmdet3d', 'nuscenes-devkit', 'scene-qformer'))))
"""

COMPILE_KERNELS = """
from scene_qformer.synthetic.kernels import compile_kernels
compile_kernels()
print({})
"""


def main(arguments: Optional[List[str]] = None) -> int:
    parser = argparse.ArgumentParser(prog='python3 -m tools.setup', description=__doc__)
    parser.add_argument('--python', help='the Python 3.10-3.12 for .venv; else $PYTHON, else one is looked for')
    parser.add_argument('--venv', type=Path, default=layout.VENV, help='default: .venv in the repository root')
    options = parser.parse_args(arguments)
    env = dict(os.environ)
    if options.python:
        env['PYTHON'] = options.python
    console = Console()
    try:
        with locked(layout.ROOT, lambda: console.say('Another set-up of this clone is running; waiting for it ...')):
            if not up_to_date(options.venv, console):
                set_up(options.venv, env, console)
    except SetupError as error:
        console.say(f'\nSet-up stopped. {error}')
        return 1
    except KeyboardInterrupt:
        console.say('\nSet-up interrupted; run the same command again and it goes on from here.')
        return 130
    return 0


def pin_files() -> Dict[str, Path]:
    return {path.stem: path for path in sorted(layout.REQUIREMENTS.glob('*.txt'))}


def wanted_fingerprint(python_version: str) -> str:
    files = [*pin_files().values(), *(layout.ROOT / 'tools' / 'setup').glob('*.py'), layout.ROOT / 'setup.py']
    return stamp.fingerprint(layout.ROOT, files, python_version)


def all_pins() -> Dict[str, str]:
    """What must be installed, by name; constraints only hold versions of what others bring in."""
    result: Dict[str, str] = {}
    for name, path in pin_files().items():
        if name != 'constraints':
            result.update(pins.read_pins(path))
    return result


def up_to_date(venv: Path, console: Console) -> bool:
    """Whether ``.venv`` was made from these very files and is still whole. Takes about a second."""
    python = probe(str(layout.venv_python(venv)))
    if python is None or stamp.read(venv) != wanted_fingerprint(python.version_text):
        return False
    problems = shortcomings(venv)
    for problem in problems:
        console.say(f'[set-up] {venv} was changed: {problem}')
    return not problems


def shortcomings(venv: Path) -> List[str]:
    """What keeps ``.venv`` from being as pinned and whole, in words."""
    there = pins.installed_in(venv)
    return pins.unmet(all_pins(), there) + [
        f'{name} is incomplete ({file} is gone)' for name, file in pins.broken(there).items()]


def set_up(venv: Path, env: Dict[str, str], console: Console) -> None:
    begin = time.monotonic()
    wanted = all_pins()
    cache = layout.cache_dir(env)
    plan = torch_choice.plan_torch(f'torch=={wanted["torch"]}', env, torch_choice.nvidia_gpus())
    python = choose_interpreter(venv, env)
    check_machine(venv, python, env, cache, plan)
    console.say(f'[set-up] {plan.explanation}')

    stamp.clear(venv)
    with console.step(f'environment {venv} (Python {python.version_text})'):
        make_venv(venv, python)
        repair(venv, console)
        ensure(venv, 'build', ['--upgrade'], console)
    with console.step(f'torch {wanted["torch"]}'):
        ensure_torch(venv, plan, console)
        torch = environment.ask_python(venv, TORCH_PROBE)
        console.say(f'torch {torch["version"]}, CUDA {torch["cuda"] or "not in this build"}'
                    + (f', GPU with compute capability {torch["capability"]}' if torch['cuda_works'] else ''))
        complaint = torch_choice.complaint(plan, torch['version'], torch['cuda'], torch['cuda_works'])
        if complaint:
            console.say(f'WARNING: {complaint}')
    with console.step('pinned packages (requirements/runtime.txt, test.txt)'):
        ensure(venv, 'runtime', [], console)
        ensure(venv, 'test', [], console)
    with console.step('OpenMMLab and devkits (requirements/openmmlab.txt)'):
        # One of them has no wheel, only a source that builds with the setuptools that is already here.
        ensure(venv, 'openmmlab', ['--no-deps', '--no-build-isolation'], console)
    with console.step(f'mmcv {wanted["mmcv"]} with operators'):
        target = choose_target(wanted['mmcv'], torch, find_nvcc(env))
        if torch['cuda_works'] and not target.cuda:
            console.say('No CUDA compiler (nvcc) was found: mmcv gets CPU operators. Models run on the GPU all the '
                        "same, deformable attention through a slower twin, except for mmcv's own operators (3D NMS).")
        console.say('mmcv: ' + mmcv_wheel.provide(venv, target, cache, env, console))
    with console.step('this package, editable'):
        environment.pip_install(
            venv, ['--no-deps', '--no-build-isolation', '-e', str(layout.ROOT)], 'this package', console)
    with console.step('kernels of the renderer (numba, once)'):
        environment.ask_python(venv, COMPILE_KERNELS)
    with console.step('verification: imports, registries, operators'):
        versions = environment.ask_python(venv, VERIFY)
        problems = shortcomings(venv)
        if problems:
            raise SetupError(f'After installing, {venv} is not as pinned:\n- ' + '\n- '.join(problems))
    stamp.write(venv, wanted_fingerprint(python.version_text))
    console.say('[set-up] ' + ', '.join(f'{name} {version}' for name, version in versions.items()))
    console.summary()
    console.say(f'[set-up] ready in {time.monotonic() - begin:.0f} s. To use it yourself: . {venv}/bin/activate')


def choose_interpreter(venv: Path, env: Dict[str, str]) -> Interpreter:
    """The Python of the ``.venv`` that is there, else one that :func:`find_python` finds.

    Raises:
        SetupError: if ``.venv`` holds a Python that does not fit; it is not deleted unasked.
    """
    there = probe(str(layout.venv_python(venv)))
    if there is None:
        return find_python(env)
    if not there.fits:
        raise SetupError(f'{venv} has Python {there.version_text}; 3.10-3.12 is needed.\n'
                         'What to do: `make clean-venv` removes it; then run the same command again.')
    return there


def check_machine(venv: Path, python: Interpreter, env: Dict[str, str], cache: Path,
                  plan: torch_choice.TorchPlan) -> None:
    """Look for everything that would stop the set-up later. Raises :class:`SetupError` naming all that is missing."""
    there = pins.installed_in(venv)
    tag = 'cp{}{}'.format(*python.version[:2])
    needs_compiler = 'mmcv' not in there and not mmcv_wheel.maybe_cached(
        cache, all_pins()['mmcv'], tag, all_pins()['torch'])
    disk = {venv: plan.disk_gib if 'torch' not in there else 0.5}
    if needs_compiler:
        disk[cache] = 0.5
    checks.require(checks.find_gaps(python, env, needs_compiler, disk))


def make_venv(venv: Path, python: Interpreter) -> None:
    """Raises:
        SetupError: if the venv module failed.
    """
    has_pip = layout.venv_python(venv).exists() and subprocess.run(
        [str(layout.venv_python(venv)), '-m', 'pip', '--version'], stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, env=environment.clean_environ(os.environ)).returncode == 0
    if has_pip:
        return
    done = subprocess.run([python.executable, '-m', 'venv', str(venv)], env=environment.clean_environ(os.environ))
    if done.returncode != 0:
        raise SetupError(f'{python.executable} -m venv {venv} failed; its output is above.')


def ensure(venv: Path, name: str, arguments: List[str], console: Console) -> None:
    """Install ``requirements/<name>.txt`` unless all its pins hold already.

    The pins of ``runtime.txt`` are constraints of all: what a later file brings in must not replace what they hold.
    """
    if pins.unmet(pins.read_pins(pin_files()[name]), pins.installed_in(venv)):
        held = [argument for file in ('constraints', 'runtime') for argument in ('-c', str(pin_files()[file]))]
        environment.pip_install(venv, [*arguments, *held, '-r', str(pin_files()[name])], f'requirements/{name}.txt',
                                console)


def repair(venv: Path, console: Console) -> None:
    """Put back packages that lack files. mmcv is not among them: its own step looks whether it works."""
    there = pins.installed_in(venv)
    found = {name: file for name, file in pins.broken(there).items() if name not in ('mmcv', 'scene-qformer')}
    for name, file in found.items():
        console.say(f'{name} {there[name].version} is incomplete ({file} is gone); installing it again')
    if found:
        environment.pip_install(
            venv, ['--no-deps', '--force-reinstall', *(f'{name}=={there[name].version}' for name in found)],
            ', '.join(found), console)


def ensure_torch(venv: Path, plan: torch_choice.TorchPlan, console: Console) -> None:
    """Install torch as planned, unless its pin holds already.

    Raises:
        SetupError: if pip failed, or the disk is too small for the build that is on offer.
    """
    if not pins.unmet(pins.read_pins(pin_files()['torch']), pins.installed_in(venv)):
        return
    constraints = ['-c', str(pin_files()['constraints'])]
    for attempt, fallback in zip(plan.attempts, [*plan.attempts[1:], None]):
        if fallback is not None and not environment.on_offer(venv, list(attempt)):
            checks.require(checks.find_disk_gaps({venv: torch_choice.CUDA_DISK_GIB}))
            console.say(f'{attempt[0]} is not on offer here; taking {fallback[0]}, a larger download')
            continue
        environment.pip_install(venv, [*constraints, *attempt], attempt[0], console)
        return


if __name__ == '__main__':
    sys.exit(main())
