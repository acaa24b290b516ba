import pytest
import torch
from torch import nn

from scene_qformer.benchmark import floor
from scene_qformer.benchmark.floor import Rates, Work, measure_rates, model_work


def test_the_scarcer_of_both_decides():
    rates = Rates(operations=100., bandwidth=10.)
    assert Work(operations=300, bytes=20).seconds(rates) == 3
    assert Work(operations=100, bytes=20).seconds(rates) == 2


def test_work_of_a_model():
    model = nn.Linear(5, 7)
    images = torch.ones(3, 5)
    work = model_work(model, lambda: model(images), images.nbytes)
    assert work == Work(2 * 3 * 5 * 7, 4 * (5 * 7 + 7) + 4 * 3 * 5 + 4 * 3 * 7)


def test_rates_are_of_what_was_done(monkeypatch):
    """A product of 11 x 11 in 2 s, one of 13 x 13 in 1 s, and 4 bytes read and written 32 times in 4 s."""
    monkeypatch.setattr(floor, '_SIDES', dict(cpu=(11, 13)))
    monkeypatch.setattr(floor, '_ELEMENTS', 32)
    seconds = {'11': 2., '13': 1., 'copy': 4.}
    monkeypatch.setattr(floor, 'time_ways', lambda ways, rounds, device: {
        name: floor_timing(seconds[name], way) for name, way in ways.items()})
    assert measure_rates() == Rates(2 * 13 ** 3 / 1., 2 * 4 * 32 / 4.)


def floor_timing(seconds, way):
    from scene_qformer.benchmark.timing import Timing
    way()
    return Timing((seconds + 1, seconds))


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_rates_of_this_machine(dtype, monkeypatch):
    monkeypatch.setattr(floor, '_SIDES', dict(cpu=(64, )))
    monkeypatch.setattr(floor, '_ELEMENTS', 2 ** 10)
    rates = measure_rates(dtype, rounds=2)
    assert rates.operations > 1e6 and rates.bandwidth > 1e6
