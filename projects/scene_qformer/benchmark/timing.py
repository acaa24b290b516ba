"""Ways to the same result, timed in turns: what the machine does beside falls on all of them alike."""
from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch

_CLEAR_PEAK = Path('/proc/self/clear_refs')  # Linux: writing 5 starts the peak of resident memory anew
_STATUS = Path('/proc/self/status')
WITHOUT_BFLOAT16 = 'bfloat16 is left out: this CPU emulates it without AVX-512'


@dataclass(frozen=True)
class Timing:
    """Of one way."""

    seconds: tuple[float, ...]  # of every timed call
    peak_bytes: int | None = None  # above what was there before the call; None where nobody can tell
    system_seconds: tuple[float, ...] = ()  # of every timed call, what the operating system computed for this process

    @property
    def median(self) -> float:
        """Seconds."""
        return median(self.seconds)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The lower and the upper one, seconds."""
        low, high = np.percentile(self.seconds, (25, 75))
        return float(low), float(high)


def times_bfloat16(device: str) -> bool:
    """Whether bfloat16 is worth timing: not on CPUs that emulate it without AVX-512, far more slowly than float32."""
    return device != 'cpu' or torch.backends.cpu.get_cpu_capability() not in ('DEFAULT', 'AVX2')


def time_ways(ways: Mapping[str, Callable[[], object]], rounds: int, device: str = 'cpu', warmup: int = 1,
              report: Callable[[str], None] = lambda line: None) -> dict[str, Timing]:
    """Call every way once a round, each round beginning with another one.

    Args:
        ways: By name; what they return is dropped.
        rounds: Timed calls of each.
        device: ``cpu`` or ``cuda:0``; there a call ends when its kernels have.
        warmup: Calls of each before, which also tell the peak of its memory.
        report: Takes lines of progress.

    Raises:
        ValueError: If there would be no timed call.
    """
    if rounds < 1:
        raise ValueError(f'rounds must be at least 1, got {rounds}.')
    peaks = {}
    for name, way in ways.items():
        for _ in range(max(warmup, 1) - 1):
            _seconds(way, device)
        peaks[name] = peak_bytes(way, device)
        report(f'{name}: warm')
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    system_seconds: dict[str, list[float]] = {name: [] for name in ways}
    names = list(ways)
    for index in range(rounds):
        start = index % len(names)
        for name in (*names[start:], *names[:start]):
            before = os.times().system
            seconds[name].append(_seconds(ways[name], device))
            system_seconds[name].append(os.times().system - before)
        report(f'round {index + 1} of {rounds}')
    return {name: Timing(tuple(seconds[name]), peaks[name], tuple(system_seconds[name])) for name in ways}


def _seconds(way: Callable[[], object], device: str) -> float:
    synchronise(device)
    start = time.perf_counter()
    result = way()  # held until the clock is read: freeing it is not part of the way
    synchronise(device)
    seconds = time.perf_counter() - start
    del result
    return seconds


def synchronise(device: str) -> None:
    """Wait for a GPU's kernels."""
    if device != 'cpu':
        torch.cuda.synchronize(device)


def peak_bytes(way: Callable[[], object], device: str) -> int | None:
    """By how much a call raises the memory in use: of the GPU, or resident memory of this process on Linux.

    What torch and the C library keep for reuse counts as in use on a CPU, so that figures there are of some MB.

    Returns:
        Bytes; None on systems that do not tell.
    """
    gc.collect()
    if device != 'cpu':
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        _seconds(way, device)
        return torch.cuda.max_memory_allocated(device) - before
    if not _clear_peak():
        way()
        return None
    before = _resident('VmRSS')
    way()
    return max(_resident('VmHWM') - before, 0)


def _clear_peak() -> bool:
    try:
        _CLEAR_PEAK.write_text('5')
    except OSError:
        return False
    return True


def _resident(entry: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f'{entry}:'):
            return int(line.split()[1]) * 1024
    raise OSError(f'{_STATUS} has no {entry}')
