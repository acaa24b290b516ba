"""nuScenes' tables: that all are there, hold what is read of them, and name no record that does not exist.

The devkit checks none of this: it stops with the inside of a lookup, or keeps one of two records of a token.
"""
from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..strict_json import parse_json

TABLES = ('category', 'attribute', 'visibility', 'instance', 'sensor', 'calibrated_sensor', 'ego_pose', 'log', 'scene',
          'sample', 'sample_data', 'sample_annotation', 'map')
AGAIN = 'Unpack the metadata archive again; a table that you wrote yourself, correct.'
_NOT_EMPTY = ('scene', 'sample', 'map')
# The columns that are read. Of numbers, with their shape; of tokens, with the table of their records.
_TEXTS = {'category': ('name', ), 'attribute': ('name', ), 'visibility': ('level', ), 'sensor': ('channel', 'modality'),
          'scene': ('name', ), 'sample_data': ('filename', ), 'map': ('filename', )}
_POSE: dict[str, tuple[int, ...]] = dict(translation=(3, ), rotation=(4, ))
_NUMBERS: dict[str, dict[str, tuple[int, ...]]] = {
    'calibrated_sensor': _POSE, 'ego_pose': _POSE, 'sample': dict(timestamp=()),
    'sample_data': dict(timestamp=(), width=(), height=()),
    'sample_annotation': dict(_POSE, size=(3, ), num_lidar_pts=(), num_radar_pts=())}
_TOKENS = {
    'instance': dict(category_token='category'), 'calibrated_sensor': dict(sensor_token='sensor'),
    'scene': dict(first_sample_token='sample'), 'sample': dict(scene_token='scene', prev='sample', next='sample'),
    'sample_data': dict(sample_token='sample', ego_pose_token='ego_pose', prev='sample_data',
                        calibrated_sensor_token='calibrated_sensor'),
    'sample_annotation': dict(sample_token='sample', instance_token='instance', visibility_token='visibility',
                              attribute_tokens='attribute', prev='sample_annotation', next='sample_annotation')}
_MAY_BE_EMPTY = ('prev', 'next', 'visibility_token')
_ALSO_READ = {'calibrated_sensor': ('camera_intrinsic', ), 'sample_data': ('is_key_frame', ), 'map': ('log_tokens', )}


def require_tables(folder: Path) -> None:
    """Look for the files.

    Raises:
        FileNotFoundError: If some are missing; names them.
    """
    missing = [table for table in TABLES if not (folder / f'{table}.json').is_file()]
    if missing:
        raise FileNotFoundError(f'{folder} lacks {", ".join(f"{table}.json" for table in missing)}. Unpack the '
                                'metadata archive again.')


def read_tables(folder: Path) -> dict[str, list[dict]]:
    """Read and check all tables.

    Raises:
        FileNotFoundError: If some are missing.
        ValueError: If one is no JSON; and as :func:`check_tables`.
    """
    require_tables(folder)
    tables = {name: _read(folder / f'{name}.json') for name in TABLES}
    check_tables(tables, folder)
    return tables


def check_tables(tables: Mapping[str, Any], folder: Path) -> None:
    """Check what is read of the tables.

    Args:
        tables: By name, as their JSON has them.
        folder: Of their files, for errors.

    Raises:
        ValueError: If a table is empty that must not be, a record lacks a column, a token stands twice or is of no
            record, or a pose or size is none; names file and record.
    """
    for name in TABLES:
        _check_records(tables[name], folder / f'{name}.json', _columns(name), name in _NOT_EMPTY)
    known = {name: {row['token'] for row in tables[name]} for name in TABLES}
    for name, columns in _TOKENS.items():
        for column, target in columns.items():
            _check_tokens(tables[name], folder / f'{name}.json', column, target, known[target])
    for name, shapes in _NUMBERS.items():
        for column, shape in shapes.items():
            _check_numbers(tables[name], folder / f'{name}.json', column, shape)
    cameras = {row['token'] for row in tables['sensor'] if row['modality'] == 'camera'}
    calibrated = [row for row in tables['calibrated_sensor'] if row['sensor_token'] in cameras]
    _check_numbers(calibrated, folder / 'calibrated_sensor.json', 'camera_intrinsic', (3, 3))
    _check_key_frames(tables, folder)
    with_map = {token for row in tables['map'] for token in row['log_tokens']}
    for row in tables['log']:
        if row['token'] not in with_map:
            raise _fault(folder / 'log.json', row, 'expected a record of map.json to name it in log_tokens, found none')


def check_maps(maps: Sequence[Mapping], root: Path) -> None:
    """Look for the pictures of the maps, without which the devkit opens nothing.

    Raises:
        FileNotFoundError: If one is missing; names it.
    """
    for row in maps:
        if not (root / row['filename']).is_file():
            raise FileNotFoundError(f'There is no map {root / row["filename"]}, which map.json names. Unpack the '
                                    'metadata archive again: maps/ is in it.')


def _read(path: Path) -> Any:
    content = path.read_bytes()
    try:
        return json.loads(content)
    except (ValueError, RecursionError):  # once more, by who tells what is wrong; with NaN, as the devkit reads it
        try:
            return parse_json(content, f'the table {path}', nan=True)
        except ValueError as error:
            raise ValueError(f'{error} {AGAIN}') from error


def _columns(name: str) -> list[str]:
    return ['token', *_TEXTS.get(name, ()), *_NUMBERS.get(name, ()), *_TOKENS.get(name, ()), *_ALSO_READ.get(name, ())]


def _fault(path: Path, row: Mapping, what: str) -> ValueError:
    return ValueError(f'{path}, record {str(row.get("token"))[:80]}: {what}. {AGAIN}')


def _check_records(rows: Any, path: Path, columns: Sequence[str], not_empty: bool) -> None:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f'Expected {path} to hold a list of records, found something else. {AGAIN}')
    if not_empty and not rows:
        raise ValueError(f'{path} holds no record, and without one there is no frame to read. {AGAIN}')
    texts = ('token', *_TEXTS.get(path.stem, ()))
    for column in columns:
        row = next((row for row in rows if column not in row), None)
        if row is not None:
            raise _fault(path, row, f'it lacks {column}')
        row = next((row for row in rows if not isinstance(row[column], str)), None) if column in texts else None
        if row is not None:
            raise _fault(path, row, f'expected {column} to be a text, found {row[column]!r:.60}')
        is_list = column.endswith('_tokens')
        row = next((row for row in rows if not isinstance(row[column], list)), None) if is_list else None
        if row is not None:
            raise _fault(path, row, f'expected {column} to be a list of tokens, found {row[column]!r:.60}')
    if len({row['token'] for row in rows}) < len(rows):
        number = Counter(row['token'] for row in rows)
        row = next(row for row in rows if number[row['token']] > 1)
        raise _fault(path, row, 'two records have this token, and one of them would be lost')


def _check_tokens(rows: Sequence[Mapping], path: Path, column: str, target: str, known: set[str]) -> None:
    allowed = known | {''} if column in _MAY_BE_EMPTY else known
    for row in rows:
        value = row[column]
        for token in value if column.endswith('_tokens') else (value, ):
            if not isinstance(token, str) or token not in allowed:
                raise _fault(path, row, f'its {column} is {token!r:.60}, of which {target}.json has no record')


def _check_numbers(rows: Sequence[Mapping], path: Path, column: str, shape: tuple[int, ...]) -> None:
    if _are_numbers([row[column] for row in rows], (len(rows), *shape), column):
        return
    row = next(row for row in rows if not _are_numbers(row[column], shape, column))
    expected = f'{" x ".join(map(str, shape))} finite numbers' if shape else 'a finite number'
    not_zero = ', not all zero' if column == 'rotation' else ''
    raise _fault(path, row, f'expected {column} to be {expected}{not_zero}, found {row[column]!r:.80}')


def _are_numbers(values: Any, shape: tuple[int, ...], column: str) -> bool:
    if shape[:1] == (0, ):
        return True
    try:
        array = np.array(values)
    except ValueError:  # lists of different lengths
        return False
    if array.dtype.kind not in 'iuf' or array.shape != shape or not np.isfinite(array).all():
        return False
    return column != 'rotation' or bool(array.any(-1).all())


def _check_key_frames(tables: Mapping[str, list[dict]], folder: Path) -> None:
    channels = {row['token']: row['channel'] for row in tables['sensor']}
    channels = {row['token']: channels[row['sensor_token']] for row in tables['calibrated_sensor']}
    seen: set[tuple[str, str]] = set()
    for row in tables['sample_data']:
        if row['is_key_frame']:
            place = row['sample_token'], channels[row['calibrated_sensor_token']]
            if place in seen:
                raise _fault(folder / 'sample_data.json', row, f'sample {place[0]} has another key frame of {place[1]} '
                             'as well, and one of both would be lost')
            seen.add(place)
