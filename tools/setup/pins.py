"""Pinned requirements, and whether an environment holds them completely."""
from __future__ import annotations

import os
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Dict, Iterable, List

from tools.setup.console import SetupError

_PIN = re.compile(r'^([A-Za-z0-9][A-Za-z0-9._-]*)==([A-Za-z0-9.!+]+)(?: *; *sys_platform *== *"([a-z0-9]+)")?$')


def read_pins(path: Path) -> Dict[str, str]:
    """The ``name==version`` lines of a requirements file, names in normal form.

    A line may end in ``; sys_platform == "linux"``: on other systems it is left out.

    Raises:
        SetupError: on a line that is no exact pin, since then two set-ups could differ.
    """
    pins: Dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding='utf-8').splitlines(), 1):
        line = line.split('#')[0].strip()
        if not line:
            continue
        match = _PIN.match(line)
        if match is None:
            raise SetupError(f"{path}:{number}: expected an exact pin 'name==version', got '{line}'.")
        name, version, platform = match.groups()
        if platform in (None, sys.platform):
            pins[normal(name)] = version
    return pins


def normal(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r'[-_.]+', '-', name).lower()


def site_packages(venv: Path) -> List[Path]:
    return sorted((venv / 'lib').glob('python3.*/site-packages'))


def installed_in(venv: Path) -> Dict[str, metadata.Distribution]:
    return installed(site_packages(venv))


def installed(site: Iterable[Path]) -> Dict[str, metadata.Distribution]:
    """Distributions in these folders by normal name, read from their metadata alone, so that any Python can ask."""
    found: Dict[str, metadata.Distribution] = {}
    for distribution in metadata.distributions(path=[str(folder) for folder in site]):
        name = distribution.metadata['Name']
        if name:
            found[normal(name)] = distribution
    return found


def unmet(pins: Dict[str, str], there: Dict[str, metadata.Distribution]) -> List[str]:
    """The pins that do not hold, each in words: empty if the environment is as pinned.

    A local version (``2.13.0+cpu``) meets its public one.
    """
    problems = []
    for name, version in pins.items():
        distribution = there.get(name)
        if distribution is None:
            problems.append(f'{name} {version} is not installed')
        elif distribution.version.split('+')[0] != version:
            problems.append(f'{name} {version} is pinned, {distribution.version} is installed')
    return problems


def broken(there: Dict[str, metadata.Distribution]) -> Dict[str, str]:
    """Packages that lack recorded files, as an interrupted installation leaves them: name to the first such file.

    pip itself does not notice: it takes whatever has metadata for installed.
    """
    gone = {name: missing_file(distribution) for name, distribution in there.items()}
    return {name: file for name, file in gone.items() if file}


def missing_file(distribution: metadata.Distribution) -> str:
    """The first recorded file that does not exist, ``'its RECORD'`` without a record, ``''`` if it is complete.

    Compiled caches (``.pyc``) do not count: they come and go.
    """
    record = distribution.read_text('RECORD')
    if record is None:
        return 'its RECORD'
    base = str(distribution.locate_file(''))
    for line in record.splitlines():
        # A RECORD is CSV: path, hash, size. Paths with a comma or a quote are quoted.
        name = line.split('"')[1] if line.startswith('"') else line.split(',', 1)[0]
        if name and not name.endswith('.pyc') and not os.path.exists(os.path.join(base, name)):
            return name
    return ''
