"""What must be there before anything long begins. Every gap is named at once, each with what to install."""
from __future__ import annotations

import platform
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, List, Mapping, Optional

from tools.setup.console import SetupError
from tools.setup.pythons import Interpreter

GIB = 2.0 ** 30
COMPILERS = ('g++', 'clang++', 'c++')


@dataclass(frozen=True)
class Gap:
    """Something that is missing: what was expected and found, and the command that installs it, by system."""
    problem: str
    remedy: str


def find_compiler(env: Mapping[str, str], which: Callable[..., Optional[str]] = shutil.which) -> Optional[str]:
    """The C++ compiler: ``$CXX`` if set, else the first of g++, clang++, c++ on the PATH. ``None`` if there is none."""
    named = env.get('CXX')
    for name in ([named.split()[0]] if named and named.strip() else COMPILERS):
        found = which(name, path=env.get('PATH'))
        if found:
            return found
    return None


def free_gib(path: Path) -> float:
    """Free space, in GiB, on the file system that holds (or will hold) ``path``."""
    while not path.exists():
        path = path.parent
    return shutil.disk_usage(str(path)).free / GIB


def find_gaps(python: Interpreter, env: Mapping[str, str], needs_compiler: bool, disk: Mapping[Path, float],
              system: Optional[str] = None, which: Callable[..., Optional[str]] = shutil.which,
              free: Callable[[Path], float] = free_gib) -> List[Gap]:
    """All gaps on this machine.

    Args:
        python: The Python to make ``.venv`` with.
        env: Environment variables.
        needs_compiler: Whether mmcv will have to be built, which needs a C++ compiler and ``Python.h``.
        disk: Folder to the free GiB that it needs.
        system: ``platform.system()``'s name; this machine's if not given.
        which, free: Stand-ins for tests.
    """
    system = system or platform.system()
    minor = '.'.join(str(part) for part in python.version[:2])
    gaps: List[Gap] = []
    if not python.has_venv:
        gaps.append(Gap(f'{python.executable} lacks the venv and ensurepip modules.',
                        f'Debian/Ubuntu: sudo apt install python{minor}-venv'))
    if needs_compiler and not python.has_headers:
        gaps.append(Gap(f'{python.executable} lacks its C headers (Python.h), which building mmcv needs.',
                        f'Debian/Ubuntu: sudo apt install python{minor}-dev    '
                        f'Fedora: sudo dnf install python{minor}-devel'))
    if needs_compiler and find_compiler(env, which) is None:
        named = env.get('CXX')
        problem = (f'CXX={named} was not found.' if named and named.strip()
                   else 'No C++ compiler was found (looked for ' + ', '.join(COMPILERS) + ').')
        remedy = ('xcode-select --install' if system == 'Darwin' else
                  'Debian/Ubuntu: sudo apt install g++    Fedora: sudo dnf install gcc-c++')
        gaps.append(Gap(problem + ' Building mmcv needs one.', remedy))
    gaps += find_disk_gaps(disk, free)
    if system not in ('Linux', 'Darwin'):
        gaps.append(Gap(f'The set-up knows Linux and macOS; this is {system}.',
                        'on Windows use WSL 2, or install the pins of requirements/ by hand (CONTRIBUTING.md)'))
    return gaps


def find_disk_gaps(disk: Mapping[Path, float], free: Callable[[Path], float] = free_gib) -> List[Gap]:
    """Folders, with the GiB that each needs, that have less than that free."""
    return [Gap(f'{folder} has {free(folder):.1f} GiB free; about {needed:.1f} GiB are needed.',
                'free some space, or clone to (or point SCENE_QFORMER_CACHE at) another disk')
            for folder, needed in disk.items() if free(folder) < needed]


def require(gaps: List[Gap]) -> None:
    """Raises:
        SetupError: naming every gap, if there is any.
    """
    if gaps:
        lines = [f'- {gap.problem}\n  What to do: {gap.remedy}' for gap in gaps]
        raise SetupError('This machine is not ready.\n' + '\n'.join(lines)
                         + '\nThen run the same command again.')
