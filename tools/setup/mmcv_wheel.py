"""mmcv with its compiled operators, of which the package index has only the source: reuse, else cache, else build."""
from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import List, Mapping

from tools.setup import environment, mmcv_build, pins
from tools.setup.console import Console, SetupError
from tools.setup.lock import locked
from tools.setup.ops_target import OpsTarget

# Whether the operators compute: non-maximum suppression of two equal boxes and one apart keeps the first and the last.
_PROBE = """
import json, torch, mmcv, mmcv.ops
boxes = torch.tensor([[0., 0., 2., 2.], [0., 0., 2., 2.], [5., 5., 7., 7.]])
kept = mmcv.ops.nms(boxes, torch.tensor([.9, .8, .7]), .5)[1].tolist()
assert kept == [0, 2], f'mmcv.ops.nms keeps {kept}, expected [0, 2]'
print(json.dumps(dict(version=mmcv.__version__, compiled_for=mmcv.ops.get_compiling_cuda_version())))
"""


def works(venv: Path, target: OpsTarget) -> bool:
    """Whether ``.venv`` holds this mmcv, and its operators compute (for the GPU too, if ``target`` wants that)."""
    try:
        found = environment.ask_python(venv, _PROBE)
    except SetupError:
        return False
    whole = 'mmcv' not in pins.broken(pins.installed_in(venv))
    return whole and found['version'] == target.mmcv and (not target.cuda or found['compiled_for'] != 'not available')


def cached_wheels(cache: Path, target: OpsTarget) -> List[Path]:
    return sorted((cache / 'wheels' / target.key).glob('mmcv-*.whl'))


def maybe_cached(cache: Path, mmcv: str, python: str, torch: str) -> bool:
    """Whether some wheel for this Python and torch lies in the cache: then no compiler is asked for beforehand."""
    return any((cache / 'wheels').glob(f'mmcv{mmcv}-{python}-torch{torch}*/mmcv-*.whl'))


def provide(venv: Path, target: OpsTarget, cache: Path, env: Mapping[str, str], console: Console) -> str:
    """Make ``import mmcv.ops`` work in ``.venv``. Returns, in words, how that was done.

    Raises:
        SetupError: if the build failed, or what was built does not work.
    """
    if works(venv, target):
        return 'the one that is installed works; reused'
    shelf = cache / 'wheels' / target.key
    shelf.mkdir(parents=True, exist_ok=True)
    with locked(shelf / '.lock', lambda: console.say('Another set-up is building the same wheel; waiting for it ...')):
        for wheel in cached_wheels(cache, target):
            if _install(venv, wheel, console) and works(venv, target):
                return f'from the cache, {wheel}'
            console.say(f'The cached {wheel} does not work here (built on another system?); removing it and building.')
            wheel.unlink()
        try:
            built = mmcv_build.build(venv, target, cache, env, console)
        except mmcv_build.CompilationError as error:
            if not target.cuda:
                raise
            console.say(f'WARNING: {error}\nWARNING: going on with CPU operators alone: everything runs, except that '
                        "mmcv's own operators (3D NMS) refuse tensors on the GPU; deformable attention takes a twin.")
            built = None
        if built is not None:
            wheel = shelf / built.name
            staged = shelf / f'.{built.name}.{os.getpid()}'
            shutil.copyfile(str(built), str(staged))
            os.replace(str(staged), str(wheel))
    if built is None:
        return provide(venv, target.cpu_only(), cache, env, console)
    if not (_install(venv, wheel, console) and works(venv, target)):
        # Let the import say why, in its own words.
        environment.ask_python(venv, _PROBE)
        raise SetupError(f'The mmcv that was just built ({wheel}) does not hold what was asked for: {target}.')
    shutil.rmtree(str(mmcv_build.workshop(cache, target)), ignore_errors=True)
    return f'built, and kept as {wheel}'


def _install(venv: Path, wheel: Path, console: Console) -> bool:
    try:
        environment.pip_install(venv, ['--no-deps', '--force-reinstall', str(wheel)], wheel.name, console)
    except SetupError as error:
        console.say(str(error))
        return False
    return True
