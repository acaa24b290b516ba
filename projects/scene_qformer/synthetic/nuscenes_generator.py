"""Generates a whole synthetic nuScenes root: scenes in parallel, complete or not at all."""
from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from nuscenes.utils import splits

from .intact import GENERATION, MARKER
from .nuscenes_tables import TABLES, Rows, fixed_rows, scene_rows
from .nuscenes_writer import make_folders, write_tables
from .recording_pool import record_scenes

VERSIONS = ('v1.0-mini', 'v1.0-trainval')
BYTES_PER_SAMPLE = 3_000_000  # generous
_OWNER = 'writer.pid'  # in a folder that is being written: the process that does


@dataclass(frozen=True)
class GeneratorOptions:
    """What to generate. ``num_scenes`` None means all scenes of the version."""

    out: Path
    version: str = 'v1.0-mini'
    num_scenes: int | None = None
    samples_per_scene: int = 40
    seed: int = 0
    workers: int = 1
    overwrite: bool = False


def scene_names(version: str, count: int | None) -> list[str]:
    """The first ``count`` official scene names of a version, train and val interleaved in the official proportion.

    Two scenes already hold one of each: ``['scene-0061', 'scene-0103', ...]``.

    Raises:
        ValueError: If the version is unknown or has fewer scenes.
    """
    if version not in VERSIONS:
        raise ValueError(f'Cannot generate version {version!r}; expected one of {VERSIONS}.')
    train, val = ((splits.mini_train, splits.mini_val) if version == 'v1.0-mini' else (splits.train, splits.val))
    train, val = sorted(train), sorted(val)
    total = len(train) + len(val)
    count = total if count is None else count
    if not 1 <= count <= total:
        raise ValueError(f'{version} has {total} scenes, so --scenes must be between 1 and {total}; got {count}.')
    names: list[str] = []
    for i in range(1, count + 1):
        num_val = int(i * len(val) / total + 0.7)
        is_val = num_val > sum(name in val for name in names)
        names.append(val[num_val - 1] if is_val else train[i - 1 - num_val])
    return names


def generate(options: GeneratorOptions) -> Rows:
    """Write a nuScenes root.

    Everything goes into ``<out>.partial`` first, which takes the place of ``<out>`` when it is complete: a run that is
    stopped leaves no half-valid root.

    Returns:
        Rows: The tables that were written.

    Raises:
        FileExistsError: If the folder exists and may not be replaced.
        OSError: If the disk has too little room.
        ValueError: If an option is out of range.
    """
    names = scene_names(options.version, options.num_scenes)
    if options.samples_per_scene < 1 or options.workers < 1:
        raise ValueError('--samples-per-scene and --workers must be at least 1, got '
                         f'{options.samples_per_scene} and {options.workers}.')
    out = Path(os.path.abspath(options.out))
    _check_target(out, options.overwrite)
    _check_disk(out, len(names) * options.samples_per_scene)
    partial = out.with_name(out.name + '.partial')
    _claim(partial)
    try:
        description = dict(generator='scene_qformer', generation=GENERATION, version=options.version, scenes=names,
                           samples_per_scene=options.samples_per_scene, seed=options.seed)
        (partial / MARKER).write_text(json.dumps(description, indent=1) + '\n')
        make_folders(partial)
        parts = {world.name: scene_rows(world, measured, options.seed) for world, measured in record_scenes(
            partial, names, options.samples_per_scene, options.seed, options.workers)}
        rows: Rows = {table: [] for table in TABLES}
        for part in [fixed_rows(), *[parts[name] for name in names]]:
            for table, entries in part.items():
                rows[table] += entries
        write_tables(partial, options.version, rows)
        (partial / _OWNER).unlink()
        if out.exists():
            shutil.rmtree(out)
        partial.rename(out)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return rows


def is_generated(folder: Path) -> bool:
    """Whether this generator wrote a folder."""
    try:
        return json.loads((folder / MARKER).read_text()).get('generator') == 'scene_qformer'
    except (OSError, ValueError):
        return False


def _check_target(out: Path, overwrite: bool) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not overwrite:
        raise FileExistsError(f'{out} exists and is not empty. Choose another --out, or pass --overwrite to replace a '
                              'data set that this tool wrote.')
    if not is_generated(out):
        raise FileExistsError(f'{out} was not written by this tool (it has no {MARKER}), so --overwrite does not touch '
                              'it. Choose another --out, or remove it yourself.')


def _check_disk(out: Path, num_samples: int) -> None:
    parent = next(p for p in out.parents if p.exists())
    free, needed = shutil.disk_usage(parent).free, num_samples * BYTES_PER_SAMPLE
    if free < needed:
        raise OSError(f'{num_samples} samples need about {needed / 1e9:.1f} GB, but {parent} has {free / 1e9:.1f} GB '
                      'free. Make room, choose another --out, or write fewer --scenes.')


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _claim(partial: Path) -> None:
    """Make the folder to write into; one that a killed run left behind is removed, one in use is not."""
    if partial.exists():
        owner = partial / _OWNER
        if not owner.exists() or _is_running(int(owner.read_text())):
            raise FileExistsError(f'{partial} exists: another run may be writing it. If not, remove it and try again.')
        print(f'Removing {partial}, which a run that was killed left behind.')
        shutil.rmtree(partial)
    partial.mkdir(parents=True)
    (partial / _OWNER).write_text(str(os.getpid()))
