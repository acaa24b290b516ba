"""Where the set-up reads and writes."""
from __future__ import annotations

import os
from pathlib import Path
from typing import Mapping

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / '.venv'
REQUIREMENTS = ROOT / 'requirements'


def venv_python(venv: Path) -> Path:
    return venv / 'bin' / 'python'


def cache_dir(env: Mapping[str, str]) -> Path:
    """The folder outside the repository that keeps built wheels, so that a second clone need not build again.

    ``$SCENE_QFORMER_CACHE``, else ``$XDG_CACHE_HOME/scene-qformer``, else ``~/.cache/scene-qformer``.
    """
    own = env.get('SCENE_QFORMER_CACHE')
    if own:
        return Path(own).expanduser().resolve()
    xdg = env.get('XDG_CACHE_HOME')
    base = Path(xdg) if xdg else Path(os.path.expanduser('~')) / '.cache'
    return base / 'scene-qformer'
