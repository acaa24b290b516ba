"""Running Python and pip inside ``.venv``."""
from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any, Dict, List, Mapping, Tuple

from tools.setup.console import Console, SetupError
from tools.setup.layout import venv_python
from tools.setup.pins import installed_in
from tools.setup.pip_progress import PipProgress
from tools.setup.process import run_logged, tail

LOG = 'setup.log'


def clean_environ(env: Mapping[str, str]) -> Dict[str, str]:
    """``env`` without what would let another Python's packages in, or pip install elsewhere than into ``.venv``.

    pip's own settings (indexes, certificates, wheel folders, timeouts) stay as the user has them.
    """
    dropped = ('PYTHONPATH', 'PYTHONHOME', 'PIP_USER', 'PIP_TARGET', 'PIP_PREFIX', 'PIP_CONSTRAINT', 'PIP_NO_DEPS',
               'VIRTUAL_ENV', '__PYVENV_LAUNCHER__')
    kept = {name: value for name, value in env.items() if name not in dropped}
    kept.update(PYTHONNOUSERSITE='1', PIP_DISABLE_PIP_VERSION_CHECK='1')
    return kept


def pip_install(venv: Path, arguments: List[str], what: str, console: Console) -> None:
    """Run ``pip install`` with one live line; its whole output goes to ``<venv>/setup.log``.

    Raises:
        SetupError: if pip failed, with the end of its output.
    """
    log = venv / LOG
    # The pip that comes with the interpreter may be too old to report its progress.
    bar = 'raw' if pip_version(venv) >= (24, 1) else 'off'
    command = [str(venv_python(venv)), '-m', 'pip', 'install', '--no-input', '--progress-bar', bar, *arguments]
    if run_logged(command, clean_environ(os.environ), log, PipProgress(what), console) != 0:
        raise SetupError(f'pip could not install {what}; the end of {log}:\n{tail(log)}\n'
                         'What to do: most often the network or a mirror is at fault. Run the same command again: '
                         'what is installed already is kept.')


def pip_version(venv: Path) -> Tuple[int, ...]:
    pip = installed_in(venv).get('pip')
    return tuple(int(part) for part in re.findall(r'\d+', pip.version)[:2]) if pip else (0, )


def on_offer(venv: Path, arguments: List[str]) -> bool:
    """Whether pip, with the indexes and wheel folders it is set to use, finds this."""
    command = [str(venv_python(venv)), '-m', 'pip', 'install', '--dry-run', '--no-deps', '--ignore-installed',
               '--no-input', '--quiet', *arguments]
    return subprocess.run(command, env=clean_environ(os.environ), stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def ask_python(venv: Path, code: str) -> Dict[str, Any]:
    """Run ``code`` in ``.venv``; it prints one line of JSON last.

    Raises:
        SetupError: with the end of its error output, if it failed.
    """
    done = subprocess.run([str(venv_python(venv)), '-c', code], env=clean_environ(os.environ),
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode != 0:
        tail = '\n'.join(done.stderr.decode(errors='replace').strip().splitlines()[-8:])
        raise SetupError(f'A check inside {venv} failed:\n{tail}')
    answer: Dict[str, Any] = json.loads(done.stdout.decode().strip().splitlines()[-1])
    return answer
