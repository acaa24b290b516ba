"""nuScenes' tables: that all are there, hold what is read of them, and name no record that does not exist.

The devkit checks none of this: it stops with the inside of a lookup, or keeps one of two records of a token. Which
record comes before or after another is looked at where that is read (:func:`follow`, :func:`check_velocity_tokens`):
tables of a part of nuScenes may name records there that were left out, and many readers need none of these.
"""
from __future__ import annotations

import codecs
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from ..strict_json import parse_json

TABLES = ('category', 'attribute', 'visibility', 'instance', 'sensor', 'calibrated_sensor', 'ego_pose', 'log', 'scene',
          'sample', 'sample_data', 'sample_annotation', 'map')
AGAIN = 'Unpack the metadata archive again; a table that you wrote yourself, correct.'
_NOT_EMPTY = dict.fromkeys(('scene', 'sample'), 'without one there is no frame to read') | {
    'map': 'without one the devkit opens nothing'}
# The columns that are read. Of numbers, with their shape; of tokens, with the table of their records.
_TEXTS = {'category': ('name', ), 'attribute': ('name', ), 'visibility': ('level', ), 'sensor': ('channel', 'modality'),
          'scene': ('name', ), 'sample_data': ('filename', ), 'map': ('filename', )}
_POSE: dict[str, tuple[int, ...]] = dict(translation=(3, ), rotation=(4, ))
_NUMBERS: dict[str, dict[str, tuple[int, ...]]] = {
    'calibrated_sensor': _POSE, 'ego_pose': _POSE, 'sample': dict(timestamp=()),
    'sample_data': dict(timestamp=()),
    'sample_annotation': dict(_POSE, size=(3, ), num_lidar_pts=(), num_radar_pts=())}
_TOKENS = {
    'instance': dict(category_token='category'), 'calibrated_sensor': dict(sensor_token='sensor'),
    'sample': dict(scene_token='scene'),
    'sample_data': dict(sample_token='sample', ego_pose_token='ego_pose', calibrated_sensor_token='calibrated_sensor'),
    'sample_annotation': dict(sample_token='sample', instance_token='instance', visibility_token='visibility',
                              attribute_tokens='attribute')}
_NONE = {'visibility_token': ('', None), 'prev': ('', ), 'next': ('', )}  # what says that there is no such record
_ALSO_READ = {'sample_data': ('is_key_frame', ), 'map': ('log_tokens', )}
# Of cameras alone: nuScenes leaves it open what other sensors have there.
_OF_CAMERAS: dict[str, dict[str, tuple[int, ...]]] = {
    'calibrated_sensor': dict(camera_intrinsic=(3, 3)), 'sample_data': dict(width=(), height=())}


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
        _check_records(tables[name], folder / f'{name}.json')
    known = {name: {row['token'] for row in tables[name]} for name in TABLES}
    for name, columns in _TOKENS.items():
        for column, target in columns.items():
            _check_tokens(tables[name], folder / f'{name}.json', column, target, known[target])
    for name, shapes in _NUMBERS.items():
        for column, shape in shapes.items():
            _check_numbers(tables[name], folder / f'{name}.json', column, shape)
    _check_cameras(tables, folder)
    _check_key_frames(tables, folder)
    with_map = {token for row in tables['map'] for token in row['log_tokens']}
    for row in tables['log']:
        if row['token'] not in with_map:
            raise _fault(folder / 'log.json', row, 'expected a record of map.json to name it in log_tokens, found none')


def check_maps(folder: Path, root: Path) -> None:
    """Check map.json, and look for the pictures of the maps, without which the devkit opens nothing.

    Raises:
        FileNotFoundError: If one is missing; names it.
        ValueError: If the table is damaged.
    """
    path = folder / 'map.json'
    maps = _read(path)
    _check_records(maps, path)
    for row in maps:
        if not (root / row['filename']).is_file():
            raise FileNotFoundError(f'There is no map {root / row["filename"]}, which map.json names. Unpack the '
                                    'metadata archive again: maps/ is in it.')


def follow(row: Mapping, column: str, find: Callable[[str], dict], path: Path, target: str, way_out: str = '',
           ) -> dict | None:
    """The record that another one names, such as the one before or after it.

    Args:
        row: The other one.
        column: Where it names it; with '' or null, there is none.
        find: Gives the record of a token.
        path: Of the table that ``row`` is from, for errors.
        target: The table of the record, for errors.
        way_out: What to do without, for errors.

    Raises:
        ValueError: If the table has no such record, or no such column; names file and record.
    """
    if column not in row:
        raise _fault(path, row, f'it lacks {column}', way_out)
    if row[column] in ('', None):
        return None
    try:
        return find(row[column])
    except (KeyError, TypeError):  # a list is no key at all
        raise _not_there(path, row, column, row[column], target, way_out) from None


def check_velocity_tokens(annotations: Sequence[Mapping], folder: Path) -> None:
    """Check ``prev`` and ``next`` of annotations, between which the devkit takes the velocities.

    Raises:
        ValueError: If one names a record that does not exist; names file and record.
    """
    path = folder / 'sample_annotation.json'
    known = {row['token'] for row in annotations}
    for column in ('prev', 'next'):
        _check_column(annotations, path, column)
        _check_tokens(annotations, path, column, 'sample_annotation', known)


def _read(path: Path) -> Any:
    content = path.read_bytes()
    if content.startswith(codecs.BOM_UTF8):
        raise ValueError(f'Expected the table {path} in UTF-8 without a byte order mark, found this mark (EF BB BF) at '
                         'its beginning, which the devkit does not read. Save it without the mark, as plain UTF-8; or '
                         'unpack the metadata archive again.')
    try:
        return json.loads(content.decode())
    except (ValueError, RecursionError):  # once more, by who tells what is wrong; with NaN, as the devkit reads it
        try:
            return parse_json(content, f'the table {path}', nan=True)
        except ValueError as error:
            raise ValueError(f'{error} {AGAIN}') from error


def _columns(name: str) -> list[str]:
    return ['token', *_TEXTS.get(name, ()), *_NUMBERS.get(name, ()), *_TOKENS.get(name, ()), *_ALSO_READ.get(name, ())]


def _fault(path: Path, row: Mapping, what: str, way_out: str = '') -> ValueError:
    return ValueError(f'{path}, record {str(row.get("token"))[:80]}: {what}. {AGAIN}{way_out}')


def _not_there(path: Path, row: Mapping, column: str, token: Any, target: str, way_out: str = '') -> ValueError:
    """The fault of a token that has no record."""
    none = ". Write '' where there is none" if token is None and '' in _NONE.get(column, ()) else ''
    return _fault(path, row, f'its {column} is {token!r:.60}, of which {target}.json has no record{none}', way_out)


def _check_records(rows: Any, path: Path) -> None:
    """The records of one table by themselves."""
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f'Expected {path} to hold a list of records, found something else. {AGAIN}')
    if not rows and path.stem in _NOT_EMPTY:
        raise ValueError(f'{path} holds no record, and {_NOT_EMPTY[path.stem]}. {AGAIN}')
    texts = ('token', *_TEXTS.get(path.stem, ()))
    for column in _columns(path.stem):
        _check_column(rows, path, column)
        row = next((row for row in rows if not isinstance(row[column], str)), None) if column in texts else None
        if row is not None:
            raise _fault(path, row, f'expected {column} to be a text, found {row[column]!r:.60}')
        is_list = column.endswith('_tokens')
        row = next((row for row in rows if not isinstance(row[column], list)), None) if is_list else None
        if path.stem == 'map' and is_list and row is None:  # those of no record are right: mini has all logs there
            row = next((row for row in rows if not all(isinstance(token, str) for token in row[column])), None)
        if row is not None:
            raise _fault(path, row, f'expected {column} to be a list of tokens, found {row[column]!r:.60}')
    if len({row['token'] for row in rows}) < len(rows):
        number = Counter(row['token'] for row in rows)
        row = next(row for row in rows if number[row['token']] > 1)
        raise _fault(path, row, 'two records have this token, and one of them would be lost')


def _check_column(rows: Sequence[Mapping], path: Path, column: str) -> None:
    row = next((row for row in rows if column not in row), None)
    if row is not None:
        raise _fault(path, row, f'it lacks {column}')


def _check_tokens(rows: Sequence[Mapping], path: Path, column: str, target: str, known: set[str]) -> None:
    none = _NONE.get(column, ())
    for row in rows:
        value = row[column]
        for token in value if column.endswith('_tokens') else (value, ):
            if not (isinstance(token, str) and token in known) and token not in none:
                raise _not_there(path, row, column, token, target)


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
    entries = values if shape else (values, )
    for _ in shape[1:]:
        entries = chain.from_iterable(entries)
    if bool in set(map(type, entries)):  # NumPy takes true and false among numbers for 1 and 0
        return False
    return column != 'rotation' or bool(array.any(-1).all())


def _check_cameras(tables: Mapping[str, list[dict]], folder: Path) -> None:
    """What only the records of cameras must have."""
    cameras = {row['token'] for row in tables['sensor'] if row['modality'] == 'camera'}
    calibrated = {row['token'] for row in tables['calibrated_sensor'] if row['sensor_token'] in cameras}
    holders = dict(calibrated_sensor='token', sample_data='calibrated_sensor_token')
    for name, shapes in _OF_CAMERAS.items():
        rows = [row for row in tables[name] if row[holders[name]] in calibrated]
        for column, shape in shapes.items():
            _check_column(rows, folder / f'{name}.json', column)
            _check_numbers(rows, folder / f'{name}.json', column, shape)


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
