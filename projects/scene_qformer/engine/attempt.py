"""Processes that torchrun has started anew meet each other, and not what those before them left.

torchrun's own store outlives its processes: with every rendezvous of PyTorch 2.13, ``static`` and ``c10d``, and on any
number of machines. The addresses of the processes before are still in it, and who reads them before they are written
anew waits for the dead. Nor do all machines count the same restarts (``TORCHELASTIC_RESTART_COUNT``): with ``c10d``,
one whose processes did not die first counts none. So the processes agree on an attempt themselves::

    attempt          a random text, of the newest process 0
    <attempt>/<rank> a random text of each other process that has seen it; of the newest, if that was started anew
    <attempt>/all    these texts: who finds the own one belongs to the attempt, who does not waits for the next one
"""
from __future__ import annotations

import time
import uuid
from datetime import timedelta

from torch import distributed

_PAUSE = 0.2  # seconds between two looks into the store


def agree_on_attempt(store: distributed.Store, rank: int, world_size: int, seconds: float) -> str:
    """Wait until all processes of this attempt are there.

    Args:
        store: Which processes of earlier attempts may have used.
        rank: Of this process.
        world_size: How many there are.
        seconds: How long to wait for the others.

    Returns:
        A text that all processes of this attempt get, and those of no other.

    Raises:
        RuntimeError: If some did not come.
    """
    own = uuid.uuid4().hex
    if rank == 0:
        others = [f'{own}/{other}' for other in range(1, world_size)]
        store.set('attempt', own)
        if others:
            store.wait(others, timedelta(seconds=seconds))
        store.set(f'{own}/all', ' '.join(store.get(other).decode() for other in others))
        return own
    seen, end = '', time.monotonic() + seconds
    while time.monotonic() < end:
        newest = store.get('attempt').decode() if store.check(['attempt']) else ''
        if newest != seen:
            seen = newest
            store.set(f'{seen}/{rank}', own)
        elif seen and store.check([f'{seen}/all']) and own in store.get(f'{seen}/all').decode().split():
            return seen
        time.sleep(_PAUSE)
    raise RuntimeError('process 0 did not come' if not seen else 'not all processes came to where process 0 is')
