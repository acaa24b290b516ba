"""Jumps of the loss are told, noise is not."""
from types import SimpleNamespace

import numpy as np
import pytest
from mmdet3d.structures import Det3DDataSample
from mmengine.dist import get_rank
from mmengine.logging import HistoryBuffer

from scene_qformer.engine import LossSpikeHook, loss_spike_hook
from tests.processes import run_processes

BATCH = dict(data_samples=[Det3DDataSample(metainfo=dict(sample_token=token)) for token in ('aaa', 'bbb')])


@pytest.fixture
def told(monkeypatch):
    lines = []
    monkeypatch.setattr(loss_spike_hook, 'print_log', lambda line, *args: lines.append(line))
    return lines


def feed(hook, losses, start=0):
    scalars = {name: HistoryBuffer() for name in ('train/loss', 'train/loss_cls', 'train/loss_bbox', 'train/lr')}
    runner = SimpleNamespace(message_hub=SimpleNamespace(log_scalars=scalars), iter=start, _resume=True)
    for loss in losses:
        for name, share in (('loss', 1.), ('loss_cls', 0.75), ('loss_bbox', 0.25)):
            scalars[f'train/{name}'].update(loss * share)
        scalars['train/lr'].update(1e-4)
        hook.after_train_iter(runner, 0, BATCH)
        runner.iter += 1
    hook.after_train(runner)
    return runner


def noise(number, level=2., spread=0.1):
    return (level + spread * np.random.default_rng(0).standard_normal(number)).tolist()


def test_a_spike_is_told_with_all_that_helps(told):
    hook = LossSpikeHook(window=40)
    feed(hook, [*noise(40), 9., *noise(20)])
    assert hook.spikes == 1 and len(told) == 2
    assert told[0].startswith('Iteration 41: loss 9, while the median of the steps before is 1.987')
    assert 'loss_cls 6.75 (' in told[0] and 'lr 0.0001' in told[0] and told[0].endswith('samples aaa, bbb.')
    assert told[1] == 'Losses far above those of the 40 steps before: 1.'


@pytest.mark.parametrize('losses', [
    noise(200), noise(200, spread=0.4), np.linspace(9, 1, 200).tolist(), [3.] * 200, [*noise(19), 9., *noise(20)],
    [2. + step / 200 for step in range(200)],
], ids=['noise', 'more noise', 'falling', 'constant', 'too early', 'rising slowly'])
def test_no_alarm(told, losses):
    feed(LossSpikeHook(window=40), losses)
    assert not told


def test_nan_is_a_spike(told):
    hook = LossSpikeHook(window=40)
    feed(hook, [*noise(40), float('nan'), *noise(3)])
    assert hook.spikes == 1 and all(np.isfinite(hook.losses))


def test_of_many_few_are_told(told):
    hook = LossSpikeHook(window=40, quiet=20)
    feed(hook, [*noise(40), *([9., *noise(3)] * 10)])  # ten, four steps apart
    assert hook.spikes == 10 and len(told) == 3  # steps 41 and 61, and the sum


def test_a_lasting_rise_is_told_and_becomes_the_rule(told):
    hook = LossSpikeHook(window=40, quiet=1000)
    feed(hook, [*noise(40), *noise(60, level=9.)])
    assert 'this is no spike, the training has got worse' in told[1] and told[1].startswith('Iteration 51')
    assert hook.spikes == 11 and min(hook.losses) > 8


def test_goes_on_after_a_checkpoint(told):
    first, second, checkpoint = LossSpikeHook(window=40), LossSpikeHook(window=40), {}
    runner = feed(first, noise(40))
    first.before_save_checkpoint(runner, checkpoint)
    second.after_load_checkpoint(runner, checkpoint)
    feed(second, [9.], start=40)
    assert second.spikes == 1 and told


def test_arguments():
    with pytest.raises(ValueError, match='window of at least 10 steps'):
        LossSpikeHook(window=3)


def spike_of_one_process():
    """The second process' loss jumps, the first one's does not; their mean does."""
    batch = dict(data_samples=[Det3DDataSample(metainfo=dict(sample_token=f'of {get_rank()}'))])
    lines, loss_spike_hook.print_log = [], lambda line, *_: lines.append(line)
    scalars = {'train/loss': HistoryBuffer()}
    runner = SimpleNamespace(message_hub=SimpleNamespace(log_scalars=scalars), iter=0)
    hook = LossSpikeHook(window=20)
    for loss in [*noise(20), 2. if get_rank() == 0 else 40.]:
        scalars['train/loss'].update(loss)
        hook.after_train_iter(runner, 0, batch)
        runner.iter += 1
    return hook.spikes, lines


def test_a_spike_of_any_process_is_told_with_its_samples():
    (spikes, lines), (others, _) = run_processes(2, spike_of_one_process)
    assert spikes == others == 1
    assert lines[0].startswith('Iteration 21: loss 21, ') and lines[0].endswith('process 1: ; samples of 1.')
