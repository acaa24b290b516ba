from __future__ import annotations

import json
from pathlib import Path

from scene_qformer.synthetic.intact import GENERATION, MARKER, find_fault


def write_set(root: Path, **changes) -> Path:
    (root / 'v1.0-mini').mkdir(parents=True)
    (root / 'samples').mkdir()
    files = [f'samples/{index}.jpg' for index in range(3)]
    for file in files:
        (root / file).touch()
    (root / 'v1.0-mini' / 'sample_data.json').write_text(json.dumps([dict(filename=file) for file in files]))
    marker = dict(generation=GENERATION, version='v1.0-mini', samples_per_scene=40, seed=0)
    (root / MARKER).write_text(json.dumps({**marker, **changes}))
    return root


def test_a_set_of_an_older_generator_is_noticed(tmp_path):
    older = write_set(tmp_path / 'data', generation=GENERATION - 1)
    assert f"'generation': {GENERATION - 1}" in find_fault(older, 'v1.0-mini')


def test_whole_set(tmp_path: Path):
    assert find_fault(write_set(tmp_path / 'data'), 'v1.0-mini') is None


def test_faults(tmp_path: Path):
    assert find_fault(tmp_path / 'nowhere', 'v1.0-mini') == 'not there'
    (tmp_path / 'empty').mkdir()
    assert find_fault(tmp_path / 'empty', 'v1.0-mini') == 'not there'
    (tmp_path / 'foreign').mkdir()
    (tmp_path / 'foreign' / 'file').touch()
    assert 'not a whole synthetic set' in find_fault(tmp_path / 'foreign', 'v1.0-mini')
    assert "'seed': 7" in find_fault(write_set(tmp_path / 'other', seed=7), 'v1.0-mini')
    root = write_set(tmp_path / 'torn')
    (root / 'samples' / '1.jpg').unlink()
    assert find_fault(root, 'v1.0-mini') == '1 of its 3 files are missing, e.g. samples/1.jpg'
