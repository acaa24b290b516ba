"""What git holds: source, no data, no caches, nothing big."""
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PICTURES = {'.png', '.jpg', '.gif', '.svg'}
# Data, results and caches by their endings. safetensors, pkl and pth are what the tools write.
UNWANTED = {'.pth', '.pt', '.pkl', '.safetensors', '.npy', '.npz', '.bin', '.whl', '.so', '.o', '.pyc', '.zip', '.gz'}
# Files that docstrings name and that are not ours.
OF_MMDET3D = {'structures/bbox_3d/lidar_box3d.py', 'cam_box3d.py', 'nuscenes_converter.py', 'update_infos_to_v2.py'}


def tracked():
    done = subprocess.run(['git', 'ls-files', '-z'], cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip('this copy of the project is no git clone')
    return [ROOT / name for name in done.stdout.split('\0') if name and (ROOT / name).is_file()]


def test_no_file_over_1_mb_except_pictures():
    big = {str(path.relative_to(ROOT)): path.stat().st_size for path in tracked()
           if path.suffix not in PICTURES and path.stat().st_size > 1_000_000}
    assert big == {}


def test_no_data_and_no_caches():
    unwanted = [str(path.relative_to(ROOT)) for path in tracked()
                if path.suffix in UNWANTED or '__pycache__' in path.parts or path.parts[-2] in ('samples', 'sweeps')]
    assert unwanted == []


@pytest.mark.parametrize('page', ['README.md', 'CONTRIBUTING.md', *sorted(
    str(path.relative_to(ROOT)) for path in (ROOT / 'docs').glob('*.md'))])
def test_links_and_pictures_of_a_page_are_there(page):
    text = (ROOT / page).read_text()
    targets = [target.split('#')[0] for target in re.findall(r'\]\(([^)\s]+)\)', text) if '://' not in target]
    missing = [target for target in targets if target and not (ROOT / page).parent.joinpath(target).exists()]
    assert missing == []


def test_source_files_that_the_package_names_are_there():
    """As ``name.py`` or ``folder/name.py``, in double backticks."""
    there = [f'/{path.relative_to(ROOT)}' for folder in ('projects', 'tools') for path in (ROOT / folder).rglob('*.py')]
    named = {(name, path.name) for path in (ROOT / 'projects').rglob('*.py')
             for name in re.findall(r'``([\w/]+\.py)``', path.read_text())}
    assert len(named) > 5
    missing = {(name, where) for name, where in named
               if name not in OF_MMDET3D and not any(path.endswith(f'/{name}') for path in there)}
    assert missing == set()
