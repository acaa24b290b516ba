from types import SimpleNamespace

import pytest
import torch

from scene_qformer.benchmark import timing
from scene_qformer.benchmark.timing import Timing, peak_bytes, time_ways


def test_ways_take_turns_and_each_round_begins_with_another():
    calls = []
    ways = {name: (lambda name=name: calls.append(name)) for name in 'abc'}
    timings = time_ways(ways, rounds=4, warmup=2)
    assert ''.join(calls) == 'aabbcc' + 'abc' + 'bca' + 'cab' + 'abc'
    assert {name: len(each.seconds) for name, each in timings.items()} == dict(a=4, b=4, c=4)


def test_seconds_are_those_of_the_call(monkeypatch):
    clock = iter([0., 2., 10., 13., 20., 27.])
    monkeypatch.setattr(timing, 'peak_bytes', lambda way, device: 7)
    monkeypatch.setattr(timing.time, 'perf_counter', lambda: next(clock))
    system = iter([0., 1., 1., 1.5, 4., 6.])
    monkeypatch.setattr(timing.os, 'times', lambda: SimpleNamespace(system=next(system)))
    timed = time_ways({'one': lambda: None}, rounds=3)['one']
    assert timed == Timing((2., 3., 7.), 7, (1., 0.5, 2.)) and timed.median == 3 and timed.quartiles == (2.5, 5.)


def test_no_round_is_refused():
    with pytest.raises(ValueError, match='rounds must be at least 1, got 0'):
        time_ways({'one': lambda: None}, rounds=0)


def test_peak_of_memory():
    """64 MiB for a moment."""
    peak = peak_bytes(lambda: torch.ones(2 ** 24).sum(), 'cpu')
    if peak is None:
        pytest.skip('this system tells no peak of memory')
    assert 60 * 2 ** 20 < peak < 90 * 2 ** 20
    assert peak_bytes(lambda: None, 'cpu') < 8 * 2 ** 20


def test_without_a_peak_the_call_is_made_all_the_same(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(timing, '_CLEAR_PEAK', tmp_path / 'none' / 'clear_refs')
    assert peak_bytes(lambda: calls.append(1), 'cpu') is None and calls == [1]
