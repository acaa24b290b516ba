"""Is a synthetic data set on disk whole, and is it the one that is wanted?"""
from __future__ import annotations

import json
from pathlib import Path

MARKER = 'synthetic_nuscenes.json'
GENERATION = 3  # to be raised by every change after which the same seed gives another world or other pictures


def find_fault(root: Path, version: str, samples_per_scene: int = 40, seed: int = 0) -> str | None:
    """Why a folder cannot serve as the synthetic set of these parameters; None if it can.

    A set that is not there has the fault ``'not there'``. All files that the tables name are looked for.
    """
    if not root.exists() or not any(root.iterdir()):
        return 'not there'
    wanted = dict(generation=GENERATION, version=version, samples_per_scene=samples_per_scene, seed=seed)
    try:
        marker = json.loads((root / MARKER).read_text())
        rows = json.loads((root / version / 'sample_data.json').read_text())
    except (OSError, ValueError) as error:
        return f'not a whole synthetic set ({error})'
    found = {name: marker.get(name) for name in wanted}
    if found != wanted:
        return f'written with {found}, not {wanted}'
    missing = [row['filename'] for row in rows if not (root / row['filename']).is_file()]
    return f'{len(missing)} of its {len(rows)} files are missing, e.g. {missing[0]}' if missing else None
