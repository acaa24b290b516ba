"""One line of what pip is doing, from its output."""
from __future__ import annotations

import re

from tools.setup.process import Progress

_DOWNLOADED = re.compile(r'^Progress (\d+) of (\d+)')
_STEP = re.compile(r'^\s*(Collecting|Downloading|Using cached|Processing|Building wheel for|Preparing metadata|'
                   r'Installing collected packages|Uninstalling)[\s:]*([^\s,;()<>=~!\[]*)')


class PipProgress(Progress):
    """Follows ``pip --progress-bar raw``, which prints ``Progress <bytes> of <bytes>``."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.doing = 'starting'
        self.downloaded = ''

    def read(self, line: str) -> None:
        amount = _DOWNLOADED.match(line)
        if amount:
            done, total = (int(number) / 1e6 for number in amount.groups())
            self.downloaded = f', {done:.0f} of {total:.0f} MB'
            return
        step = _STEP.match(line)
        if step is None:
            return
        self.downloaded = ''
        verb, name = step.group(1), step.group(2).rsplit('/', 1)[-1]
        self.doing = 'installing' if verb.startswith('Installing') else f'{verb.lower()} {name}'

    def status(self, elapsed: float) -> str:
        return f'  {self.what}: {self.doing}{self.downloaded} ({elapsed:.0f} s)'
