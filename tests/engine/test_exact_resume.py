"""The loop, the sampler and the hooks together: a resumed training is the one that was left alone."""
from types import SimpleNamespace

import pytest
import torch
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from torch import nn

from scene_qformer.engine import ExactResumeHook, ResumableEpochTrainLoop, exact_resume_hook
from tests.small_training import Note, Score, make_runner, train_on, train_until

EVERY_2 = dict(by_epoch=False, interval=2)


@pytest.fixture(scope='module')
def alone(tmp_path_factory):
    note = Note()
    make_runner(tmp_path_factory.mktemp('alone'), note).train()
    assert len(note.steps) == 18
    return note


@pytest.mark.parametrize('step', [3, 6, 7, 11, 12, 17])
def test_resumed_in_the_middle_of_an_epoch(step, alone, tmp_path):
    before = train_until(tmp_path, step, checkpoint=EVERY_2)
    after = train_on(tmp_path, checkpoint=EVERY_2)
    assert min(after.steps) == step // 2 * 2 + 1
    assert {**before.steps, **after.steps} == alone.steps
    assert after.batches == alone.batches[step // 2 * 2:]


def test_workers_make_no_difference(alone, tmp_path):
    train_until(tmp_path, 9, checkpoint=EVERY_2, workers=2)
    after = train_on(tmp_path, checkpoint=EVERY_2, workers=1)
    assert after.steps == {step: alone.steps[step] for step in range(9, 19)}


@pytest.mark.parametrize(('step', 'batch_size', 'rest'), [(4, 3, [3]), (2, 3, [3, 3, 1]), (2, 5, [5, 2]),
                                                           (4, 1, [1, 1, 1]), (2, 7, [7])])
def test_each_sample_once_with_another_batch_size(step, batch_size, rest, tmp_path):
    before = train_until(tmp_path, step, checkpoint=EVERY_2)  # two samples a step, of 11
    after = train_on(tmp_path, checkpoint=EVERY_2, batch_size=batch_size)
    later = [after.steps[step + 1 + number][0] for number in range(len(rest))]
    assert list(map(len, later)) == rest and after.batches[len(rest)] == 0
    epoch = [index for step in before.steps.values() for index in step[0]] + sum(later, [])
    assert sorted(epoch) == list(range(11))


def test_gradients_that_are_being_accumulated(tmp_path):
    settings = dict(wrapper=dict(accumulative_counts=4))
    whole = Note()
    make_runner(tmp_path / 'whole', whole, **settings).train()
    train_until(tmp_path / 'cut', 7, checkpoint=EVERY_2, **settings)  # at 6, two steps of four are done
    after = train_on(tmp_path / 'cut', checkpoint=EVERY_2, **settings)
    assert after.steps == {step: whole.steps[step] for step in range(7, 19)}
    checkpoint = torch.load(tmp_path / 'cut/iter_6.pth', weights_only=False)
    assert checkpoint['accumulated_gradients'].keys() == {'layer.weight', 'layer.bias'}
    assert 'accumulated_gradients' not in torch.load(tmp_path / 'cut/iter_8.pth', weights_only=False)


def test_a_validation_that_was_due_is_made_up_for(tmp_path):
    Score.scores = [1., 2., 3., 4.]
    note = Note()
    make_runner(tmp_path, note, validate=True).train()
    assert note.validations == [1, 2, 3]
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_3.pth'))  # as when killed before its end
    again = train_on(tmp_path, validate=True)
    assert again.validations == [3] and not again.steps


def test_validations_do_not_move_the_random_numbers(alone, tmp_path):
    Score.scores = [1., 2., 3.]
    note = Note()
    make_runner(tmp_path, note, validate=True).train()
    assert note.steps == alone.steps


def test_a_sampler_that_cannot_start_there(tmp_path):
    train_until(tmp_path, 3, checkpoint=EVERY_2)
    with pytest.raises(ValueError, match='4 samples into an epoch, and DefaultSampler cannot start there.*Resumable'):
        train_on(tmp_path, checkpoint=EVERY_2, sampler='DefaultSampler')


def test_a_loop_that_cannot_start_there(tmp_path):
    train_until(tmp_path, 3, checkpoint=EVERY_2)
    with pytest.raises(ValueError, match='EpochBasedTrainLoop would begin again.*ResumableEpochTrainLoop'):
        train_on(tmp_path, checkpoint=EVERY_2, loop='EpochBasedTrainLoop')


def test_mmengines_parts_resume_whole_epochs(tmp_path):
    train_until(tmp_path, 8, sampler='DefaultSampler', loop='EpochBasedTrainLoop', checkpoint=dict(interval=1))
    after = train_on(tmp_path, sampler='DefaultSampler', loop='EpochBasedTrainLoop')
    assert min(after.steps) == 7


def test_training_by_steps(alone, tmp_path):
    """mmengine's loop reads what was trained on once more; the steps are the same."""
    settings = dict(loop='IterBasedTrainLoop', length=dict(max_iters=6), checkpoint=EVERY_2)
    train_until(tmp_path, 3, **settings)
    after = train_on(tmp_path, **settings)
    assert after.steps == {step: alone.steps[step] for step in range(3, 7)}


def test_without_the_state_of_the_optimizer(tmp_path):
    make_runner(tmp_path, checkpoint=dict(interval=3, save_optimizer=False)).train()
    with pytest.raises(ValueError, match='holds weights, but not the state of the optimizer'):
        train_on(tmp_path)
    with pytest.raises(ValueError, match='no state of the optimizer.*load_from=PATH, without --resume'):
        train_on(tmp_path, load_from=str(tmp_path / 'epoch_3.pth'))


@pytest.fixture
def told(monkeypatch):
    """What the hook logs."""
    texts = []
    monkeypatch.setattr(exact_resume_hook, 'print_log', lambda text, *_, **__: texts.append(text))
    return texts


@pytest.mark.parametrize('options', [
    dict(), dict(joint=True), dict(workers=1), dict(loop='IterBasedTrainLoop', length=dict(max_iters=6), workers=1),
    dict(loop='IterBasedTrainLoop', length=dict(max_iters=9), sampler='InfiniteSampler')],
    ids=['sampler', 'batch sampler', 'worker', 'steps', 'infinite'])
def test_another_seed_in_the_config(options, tmp_path, told):
    """That of the checkpoint counts: of what is loaded (workers may have begun), and of the steps."""
    whole = Note()
    make_runner(tmp_path / 'whole', whole, joint=options.get('joint', False), **{
        key: value for key, value in options.items() if key not in ('joint', 'workers')}).train()
    train_until(tmp_path / 'cut', 3, checkpoint=EVERY_2, **options)
    after = train_on(tmp_path / 'cut', checkpoint=EVERY_2, seed=8, **options)
    assert min(after.steps) == 3
    for number, (samples, loss) in after.steps.items():
        assert samples == whole.steps[number][0]
        if options.get('sampler') != 'InfiniteSampler':  # which does not seed the samples
            assert loss == whole.steps[number][1]
    assert len(told) == 1 and 'the seed of the checkpoint, 7. That of the config, 8,' in told[0]


def test_a_seed_that_is_another_at_each_start(tmp_path, told):
    before = train_until(tmp_path, 4, checkpoint=EVERY_2, seed=None)
    after = train_on(tmp_path, checkpoint=EVERY_2, seed=None)
    steps = {**before.steps, **after.steps}
    for first in (1, 7, 13):
        assert sorted(sum((steps[step][0] for step in range(first, first + 6)), [])) == list(range(11))
    assert not told


MMENGINES = dict(sampler='DefaultSampler', loop='EpochBasedTrainLoop')


def test_mmengines_parts_resume_whole_epochs_with_another_batch_size(tmp_path):
    """Two epochs of six steps are no whole number of epochs of eleven."""
    train_until(tmp_path, 13, checkpoint=dict(interval=1), **MMENGINES)
    after = train_on(tmp_path, batch_size=1, **MMENGINES)
    assert min(after.steps) == 13 and len(after.steps) == 11


def test_mmengines_loop_does_not_begin_an_epoch_again_with_another_batch_size(tmp_path):
    """Two steps are a whole epoch of two steps."""
    train_until(tmp_path, 3, checkpoint=EVERY_2, **MMENGINES)
    with pytest.raises(ValueError, match='EpochBasedTrainLoop would begin again.*ResumableEpochTrainLoop'):
        train_on(tmp_path, batch_size=6, **MMENGINES)


@pytest.mark.parametrize('joint', [False, True])
def test_what_mmengines_loop_began_the_resumable_one_ends(joint, tmp_path):
    before = train_until(tmp_path, 3, checkpoint=EVERY_2, loop='EpochBasedTrainLoop', joint=joint)
    after = train_on(tmp_path, checkpoint=EVERY_2, joint=joint)
    steps = {**before.steps, **after.steps}
    assert sorted(sum((steps[step][0] for step in range(1, 7)), [])) == list(range(11))


@pytest.mark.parametrize(('epoch', 'step', 'refused'), [
    (2, 12, False), (2, 13, True), (1, 12, True), (2, 14, True),  # six steps an epoch, then and now
    (2, 22, False), (2, 8, False)])  # eleven or four steps an epoch then, or the middle of one: it cannot be told
def test_checkpoints_from_before(epoch, step, refused):
    loop = object.__new__(EpochBasedTrainLoop)
    loop._dataloader = loop.dataloader = range(6)
    runner = SimpleNamespace(_resume=True, train_loop=loop, model=nn.Linear(1, 1), optim_wrapper=None)
    checkpoint = dict(meta=dict(epoch=epoch, iter=step), samples_done=0)
    if refused:
        with pytest.raises(ValueError, match='in the middle of an epoch'):
            ExactResumeHook().after_load_checkpoint(runner, checkpoint)
    else:
        ExactResumeHook().after_load_checkpoint(runner, checkpoint)


def several_optimizers(world_size=1):
    """A runner whose two layers have an optimizer each, of which one updates every fourth time."""
    model = nn.ModuleDict(dict(a=nn.Linear(1, 1, bias=False), b=nn.Linear(1, 1, bias=False)))
    wrappers = {name: OptimWrapper(torch.optim.SGD(model[name].parameters(), lr=1.), accumulative_counts=counts)
                for name, counts in (('a', 1), ('b', 4))}
    return SimpleNamespace(_resume=True, world_size=world_size, train_loop=SimpleNamespace(), model=model,
                           optim_wrapper=OptimWrapperDict(**wrappers))


def step(runner):
    for name, wrapper in runner.optim_wrapper.items():
        wrapper.update_params(runner.model[name](torch.ones(1, 1)).sum())


def test_several_optimizers():
    """Each has its own count, which mmengine leaves at nothing."""
    whole, cut, resumed = (several_optimizers() for _ in range(3))
    for runner in (cut, resumed):
        runner.model.load_state_dict(whole.model.state_dict())
    for _ in range(8):
        step(whole)
    for _ in range(6):
        step(cut)
    checkpoint = dict(optimizer={})
    ExactResumeHook().before_save_checkpoint(cut, checkpoint)
    assert checkpoint['accumulated_gradients'].keys() == {'b.weight'}
    resumed.model.load_state_dict(cut.model.state_dict())
    ExactResumeHook().after_load_checkpoint(resumed, checkpoint)
    for _ in range(2):
        step(resumed)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name])
    checkpoint = dict(optimizer={})
    ExactResumeHook().before_save_checkpoint(resumed, checkpoint)  # both have updated
    assert 'accumulated_gradients' not in checkpoint


def test_gradients_that_several_processes_lose_are_told_twice(told):
    writing, resuming = several_optimizers(world_size=2), several_optimizers(world_size=2)
    step(writing)
    checkpoint = dict(optimizer={})
    ExactResumeHook().before_save_checkpoint(writing, checkpoint)
    assert len(told) == 1 and 'accumulated_gradients' not in checkpoint
    ExactResumeHook().after_load_checkpoint(resuming, checkpoint)
    assert len(told) == 2 and 'the first update lacks them' in told[1]
    for _ in range(3):
        step(writing)
    checkpoint = dict(optimizer={})
    ExactResumeHook().before_save_checkpoint(writing, checkpoint)
    ExactResumeHook().after_load_checkpoint(resuming, checkpoint)
    assert len(told) == 2


@pytest.mark.parametrize(('kind', 'resume', 'loaded', 'given', 'refused'), [
    (EpochBasedTrainLoop, True, True, False, True), (ResumableEpochTrainLoop, True, True, False, True),
    (EpochBasedTrainLoop, True, True, True, False), (EpochBasedTrainLoop, False, True, False, False),
    (EpochBasedTrainLoop, True, False, False, False),  # there was nothing to resume from yet
    (IterBasedTrainLoop, True, True, False, False)])  # that one reads and drops what was trained on
def test_a_strategy_that_keeps_its_checkpoints_from_hooks(kind, resume, loaded, given, refused):
    """As mmengine's of DeepSpeed: of the position in the epoch nothing is known, whatever the iteration is."""
    hook, loop = ExactResumeHook(), object.__new__(kind)
    loop._dataloader = loop.dataloader = range(6)
    runner = SimpleNamespace(_resume=resume, _has_loaded=loaded, iter=12, train_loop=loop, model=nn.Linear(1, 1),
                             optim_wrapper=None, strategy=nn.Identity())
    if given:
        hook.after_load_checkpoint(runner, dict(samples_done=0))
    if refused:
        with pytest.raises(ValueError, match='Identity does not hand hooks the checkpoint'):
            hook.before_train(runner)
    else:
        hook.before_train(runner)


@pytest.mark.parametrize(('epoch', 'step', 'refused'), [
    (2, 12, False), (2, 13, True), (0, 4, True), (0, 0, False), (2, 22, False)])  # eleven steps an epoch then, six now
def test_checkpoints_without_a_position(epoch, step, refused):
    """Of a training without ExactResumeHook."""
    loop = object.__new__(ResumableEpochTrainLoop)
    loop._dataloader = loop.dataloader = range(6)
    loop.samples_done = 0
    runner = SimpleNamespace(_resume=True, train_loop=loop, model=nn.Linear(1, 1), optim_wrapper=None)
    checkpoint = dict(meta=dict(epoch=epoch, iter=step))
    if refused:
        with pytest.raises(ValueError, match='without ExactResumeHook'):
            ExactResumeHook().after_load_checkpoint(runner, checkpoint)
    else:
        ExactResumeHook().after_load_checkpoint(runner, checkpoint)
        assert loop.samples_done == 0
