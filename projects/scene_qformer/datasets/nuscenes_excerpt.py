"""A few consecutive frames of one scene as a nuScenes root of their own, which every tool and the devkit read."""
from __future__ import annotations

import json
from pathlib import Path

from .nuscenes_infos import SPLITS
from .nuscenes_tables import follow, read_tables


def cut_frames(root: str | Path, out: str | Path, num_frames: int, scene: str | None = None, first: int = 0) -> str:
    """Write the tables of consecutive key frames; images, point clouds and maps are linked, not copied.

    The official metric scores all frames of a split, so that to score a few frames takes a root that holds no others.
    All else stays what it was, but for velocities, which the devkit takes from the annotations before and after: at
    either end of the excerpt one of them is gone (an object that is seen once has no velocity).

    Args:
        root: The nuScenes root to cut from.
        out: Folder to write, which must not exist.
        num_frames: Number of frames.
        scene: Name of a scene of the validation split; its first by default. (Info files sort scenes by the official
            splits, and the validation split is the one that is scored.)
        first: Index in the scene of the first frame.

    Returns:
        The version: the name of the folder with the tables.

    Raises:
        FileNotFoundError: If the root is no nuScenes root, or lacks a table.
        FileExistsError: If ``out`` is there.
        ValueError: If there is no such scene in the validation split, it is too short, or a table is damaged.
    """
    root, out = Path(root).resolve(), Path(out)
    version = next((name for name in SPLITS if 'val' in SPLITS[name] and (root / name / 'scene.json').is_file()), None)
    if version is None:
        raise FileNotFoundError(f'{root} is no nuScenes root with annotations: expected one of the folders '
                                f'{", ".join(name for name in SPLITS if "val" in SPLITS[name])} with its tables there.')
    if out.exists():
        raise FileExistsError(f'{out} is there already: remove it, or name another folder.')
    tables = read_tables(root / version)
    record = _find_scene(tables['scene'], version, scene)
    tokens = _frames_of(record, tables['sample'], root / version)
    chosen = tokens[first:first + num_frames]
    if len(chosen) < num_frames or num_frames < 1 or first < 0:
        raise ValueError(f'Scene {record["name"]} has {len(tokens)} frames: there are no {num_frames} from index '
                         f'{first} on.')

    def keep(name: str, key: str, values: set[str]) -> None:
        tables[name] = [row for row in tables[name] if row[key] in values]

    record.update(first_sample_token=chosen[0], last_sample_token=chosen[-1], nbr_samples=num_frames)
    keep('scene', 'token', {record['token']})
    keep('sample', 'token', set(chosen))
    keep('sample_data', 'sample_token', set(chosen))
    keep('sample_annotation', 'sample_token', set(chosen))
    keep('ego_pose', 'token', {row['ego_pose_token'] for row in tables['sample_data']})
    for name in ('sample', 'sample_data', 'sample_annotation'):
        _cut_chains(tables[name])
    tables['instance'] = _cut_instances(tables['instance'], tables['sample_annotation'])

    (out / version).mkdir(parents=True)
    for name, rows in tables.items():
        (out / version / f'{name}.json').write_text(json.dumps(rows))
    for folder in ('samples', 'sweeps', 'maps'):
        if (root / folder).is_dir():
            (out / folder).symlink_to(root / folder)
    return version


def _find_scene(scenes: list[dict], version: str, name: str | None) -> dict:
    validation = [record for record in scenes if record['name'] in SPLITS[version]['val']]
    found = next((record for record in validation if name in (None, record['name'])), None)
    if found is None:
        there = ', '.join(record['name'] for record in validation[:5]) or 'none'
        raise ValueError(f'No scene {name or "at all"} in the validation split of {version}, the one that is scored; '
                         f'the first ones there: {there}.')
    return found


def _frames_of(scene: dict, samples: list[dict], folder: Path) -> list[str]:
    """Tokens of a scene's samples, in the order of time."""
    by_token = {row['token']: row for row in samples}
    row = follow(scene, 'first_sample_token', by_token.__getitem__, folder / 'scene.json', 'sample')
    tokens: list[str] = []
    while row is not None:
        if len(tokens) > len(by_token):
            raise ValueError(f'The samples after {tokens[0]} lead round in a circle: the column next of sample.json is '
                             'wrong. Unpack the metadata archive again.')
        tokens.append(row['token'])
        row = follow(row, 'next', by_token.__getitem__, folder / 'sample.json', 'sample')
    return tokens


def _cut_chains(rows: list[dict]) -> None:
    """Let no row point to one that is gone."""
    there = {row['token'] for row in rows}
    for row in rows:
        for key in ('prev', 'next'):
            token = row.get(key)
            row[key] = token if isinstance(token, str) and token in there else ''


def _cut_instances(instances: list[dict], annotations: list[dict]) -> list[dict]:
    """Objects that are still annotated, with their new first and last annotations."""
    members: dict[str, list[dict]] = {}
    for row in annotations:
        members.setdefault(row['instance_token'], []).append(row)
    return [
        dict(instance, nbr_annotations=len(own), first_annotation_token=next(r['token'] for r in own if not r['prev']),
             last_annotation_token=next(r['token'] for r in own if not r['next']))
        for instance in instances if (own := members.get(instance['token']))]
