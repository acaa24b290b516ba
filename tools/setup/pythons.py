"""Finding a Python that the pinned packages run on, with what building an extension needs."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, List, Mapping, Optional, Tuple

from tools.setup.console import SetupError

OLDEST, NEWEST = (3, 10), (3, 12)
NAMES = ('python3.11', 'python3.12', 'python3.10', 'python3')

# Runs in the candidate. Prints one JSON line, whatever version it is.
_PROBE = """
import json, os, sys, sysconfig
try:
    import ensurepip, venv
    has_venv = True
except ImportError:
    has_venv = False
print(json.dumps(dict(
    version=list(sys.version_info[:3]), executable=sys.executable, has_venv=has_venv,
    has_headers=os.path.exists(os.path.join(sysconfig.get_paths()['include'], 'Python.h')))))
"""


@dataclass(frozen=True)
class Interpreter:
    """A Python on this machine."""
    executable: str
    version: Tuple[int, int, int]
    has_venv: bool
    has_headers: bool

    @property
    def fits(self) -> bool:
        return OLDEST <= self.version[:2] <= NEWEST

    @property
    def complete(self) -> bool:
        return self.fits and self.has_venv and self.has_headers

    @property
    def version_text(self) -> str:
        return '.'.join(str(part) for part in self.version)


def probe(command: str) -> Optional[Interpreter]:
    """Ask ``command`` what it is; ``None`` if it does not run (a pyenv shim without its version, say)."""
    try:
        done = subprocess.run([command, '-c', _PROBE], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              stdin=subprocess.DEVNULL, timeout=60, check=True)
        found = json.loads(done.stdout.decode())
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return Interpreter(found['executable'], tuple(found['version']), found['has_venv'], found['has_headers'])


def candidates(env: Mapping[str, str]) -> List[str]:
    """Commands and paths to try, best first: the usual names on the PATH, then pyenv's versions, newest first."""
    pyenv = Path(env.get('PYENV_ROOT') or os.path.join(os.path.expanduser('~'), '.pyenv')) / 'versions'
    found: List[str] = [name for name in NAMES if shutil.which(name, path=env.get('PATH'))]
    for minor in ('3.11', '3.12', '3.10'):
        found += [str(path) for path in sorted(pyenv.glob(f'{minor}.*/bin/python3'), reverse=True)]
    return found


def find_python(env: Mapping[str, str], ask: Callable[[str], Optional[Interpreter]] = probe,
                list_candidates: Callable[[Mapping[str, str]], List[str]] = candidates) -> Interpreter:
    """The Python to make ``.venv`` with.

    ``$PYTHON`` is taken at its word. Else the first complete candidate (with the venv module and ``Python.h``), else
    the first of a fitting version, whose gaps :mod:`tools.setup.checks` then names.

    Raises:
        SetupError: if ``$PYTHON`` is no Python 3.10-3.12, or none was found.
    """
    named = env.get('PYTHON')
    wanted = f'{_text(OLDEST)}-{_text(NEWEST)}'
    if named:
        chosen = ask(named)
        if chosen is None:
            raise SetupError(f'PYTHON={named} does not run.\nWhat to do: give the path of a Python {wanted}.')
        if not chosen.fits:
            raise SetupError(f'PYTHON={named} is Python {chosen.version_text}; the pinned packages need {wanted}.\n'
                             f'What to do: give another, or leave PYTHON away to have one looked for.')
        return chosen
    seen = [found for found in map(ask, list_candidates(env)) if found is not None]
    for good_enough in ('complete', 'fits'):
        for found in seen:
            if getattr(found, good_enough):
                return found
    have = ', '.join(sorted({found.version_text for found in seen})) or 'none'
    raise SetupError(
        f'No Python {wanted} was found (found: {have}).\n'
        'What to do: Debian/Ubuntu  sudo apt install python3 python3-venv python3-dev   (where that is 3.10-3.12)\n'
        '            Fedora         sudo dnf install python3.11 python3.11-devel\n'
        '            macOS          brew install python@3.11\n'
        '            anywhere       pyenv install 3.11\n'
        'or name one: make setup PYTHON=/path/to/python3.11')


def _text(version: Tuple[int, ...]) -> str:
    return '.'.join(str(part) for part in version)
