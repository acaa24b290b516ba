"""Run the project's tools one after another: each step announced, shown live, timed, and stopped at when it fails."""
from __future__ import annotations

import re
import shlex
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence

_TAIL = 40  # lines shown of a step that failed
_TRAIN = re.compile(r'Epoch\(train\)\s+\[(\d+)\]\[\s*(\d+)/(\d+)\]'
                    r'.*?eta: ([\d:, a-z]+?)\s+time: ([\d.]+).*?\bloss: (\S+)')
_SCORES = re.compile(r'Epoch\((?:val|test)\)\s+(?:\[(\d+)\])?\[\s*\d+/\d+\].*')
_TOLD = ('mAP', 'NDS', 'accuracy')
_SCORE = re.compile(rf'/({"|".join(_TOLD)}): ([\d.]+)')


class StepFailed(RuntimeError):
    """A step ended with another code than 0."""


def training_line(line: str) -> str | None:
    """What a reader wants of a line that mmengine logs: progress of training and scores; None for all others."""
    train = _TRAIN.search(line)
    if train:
        epoch, step, steps, eta, seconds, loss = train.groups()
        return (f'epoch {epoch:>3}, step {step:>3}/{steps}: loss {float(loss):8.3f}, {float(seconds):.2f} s/step, '
                f'{eta} left')
    scores = _SCORES.search(line)
    if scores:
        values = dict(_SCORE.findall(line))
        if values:
            epoch = f'after epoch {scores.group(1)}: ' if scores.group(1) else ''
            return epoch + ', '.join(f'{name} {float(values[name]):.4f}' for name in _TOLD if name in values)
    if 'WARNING' not in line and re.search(r'\bERROR\b', line):
        return line
    return None


class Pipeline:
    """Counts, announces and times steps.

    Args:
        num_steps: how many there will be.
        verbose: show all output instead of its digest.
    """

    def __init__(self, num_steps: int, verbose: bool = False) -> None:
        self.num_steps = num_steps
        self.verbose = verbose
        self.times: list[tuple[str, float]] = []
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Time since the start."""
        return time.monotonic() - self._started

    def run(self, title: str, *commands: Sequence[str], digest: Callable[[str], str | None] | None = None) -> None:
        """One step: Python scripts with their arguments, one after the other.

        Args:
            title: what the step does.
            commands: each a script and its arguments; run with this interpreter.
            digest: takes a line of output to what is shown of it, None for nothing; None shows all as it comes.

        Raises:
            StepFailed: a command failed; its last lines have been shown.
        """
        self._announce(title)
        start = time.monotonic()
        for command in commands:
            print(f'  $ python {shlex.join(command)}', flush=True)
            full = [sys.executable, *command]
            code = subprocess.call(full) if digest is None or self.verbose else _run_with_digest(full, digest)
            if code != 0:
                raise StepFailed(f'step {len(self.times) + 1} of {self.num_steps} ({title}) failed with code {code}; '
                                 'the lines above say why')
        self.times.append((title, time.monotonic() - start))
        print(f'  done in {self.times[-1][1]:.0f} s', flush=True)

    def skip(self, title: str, reason: str) -> None:
        """A step that need not be done."""
        self._announce(title)
        self.times.append((title, 0.0))
        print(f'  skipped: {reason}', flush=True)

    def _announce(self, title: str) -> None:
        minutes, seconds = divmod(round(self.seconds), 60)
        print(f'\n[{len(self.times) + 1}/{self.num_steps}] {title}   (at {minutes}:{seconds:02d})', flush=True)


def _run_with_digest(command: Sequence[str], digest: Callable[[str], str | None]) -> int:
    """Run a command, show the digest of its output, and its last lines if it fails."""
    tail: deque[str] = deque(maxlen=_TAIL)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            tail.append(line)
            shown = digest(line)
            if shown is not None:
                print(f'    {shown}', flush=True)
    if process.returncode != 0:
        sys.stdout.writelines(tail)
    return process.returncode
