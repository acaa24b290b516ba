"""The loop, the sampler and the hooks together: a resumed training is the one that was left alone."""
import pytest
import torch

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
