"""What the set-up prints: steps with their durations, notes, and one live line for long work."""
from __future__ import annotations

import sys
import time
from contextlib import contextmanager
from typing import Iterator, List, Optional, TextIO, Tuple


class SetupError(Exception):
    """A set-up that cannot go on. The message says what was expected, what came and what to do."""


class Console:
    """Prints to ``stream``; remembers the duration of every step for the closing table."""

    def __init__(self, stream: Optional[TextIO] = None) -> None:
        self.stream = stream if stream is not None else sys.stdout
        self.durations: List[Tuple[str, float]] = []
        self._live_width = 0
        self._live_printed_at = float('-inf')

    def say(self, text: str) -> None:
        self._clear_live()
        print(text, file=self.stream, flush=True)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        self.say(f'[set-up] {title} ...')
        begin = time.monotonic()
        yield
        seconds = time.monotonic() - begin
        self.durations.append((title, seconds))
        self.say(f'[set-up] {title}: done in {seconds:.1f} s')

    def live(self, text: str, every: float = 15.0) -> None:
        """Show a line that replaces itself; where the output is no terminal, print it every ``every`` seconds."""
        if self.stream.isatty():
            self.stream.write('\r' + text.ljust(self._live_width))
            self.stream.flush()
            self._live_width = len(text)
        elif time.monotonic() - self._live_printed_at >= every:
            self._live_printed_at = time.monotonic()
            print(text, file=self.stream, flush=True)

    def summary(self) -> None:
        for title, seconds in self.durations:
            self.say(f'  {seconds:7.1f} s  {title}')

    def _clear_live(self) -> None:
        if self._live_width:
            self.stream.write('\n')
            self._live_width = 0
