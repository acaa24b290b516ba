"""A small nuScenes root of one's own to be damaged: its tables are copies, its images links."""
from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any


def copy_root(small: Path, root: Path) -> Path:
    """Copy a root; what is written into its tables changes no other."""
    root.mkdir()
    for path in small.iterdir():
        if path.name.startswith('v1.0-'):
            shutil.copytree(path, root / path.name)
        else:
            (root / path.name).symlink_to(path)
    return root


def edit_table(root: Path, table: str, edit: Callable[[list[dict]], Any]) -> None:
    """Change a table in place."""
    path = root / 'v1.0-mini' / f'{table}.json'
    rows = json.loads(path.read_text())
    edit(rows)
    path.write_text(json.dumps(rows))
