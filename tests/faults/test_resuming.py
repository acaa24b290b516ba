"""Trainings that resume from what does not fit, or begin where another one was."""
import errno
import os
import re
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import EpochBasedTrainLoop

from scene_qformer.engine import ExactResumeHook, choose_checkpoint, training_lock
from scene_qformer.engine.exact_resume_hook import POSITION, WITHIN_EPOCH
from tests.engine.test_exact_resume import several_optimizers, step
from tests.engine.test_training_lock import HOLD
from tests.small_training import make_runner, train_on, train_until

AREA = 'Checkpoints'
EVERY_2 = dict(by_epoch=False, interval=2)


@pytest.mark.fault(area=AREA, fault='a training is to resume from weights alone',
                   expected='said, instead of beginning with a fresh optimizer',
                   remedy='Resume from epoch_*.pth or iter_*.pth; or --cfg-options load_from=PATH without --resume.')
@pytest.mark.parametrize('lacking', [('optimizer', ), ('optimizer', 'param_schedulers')])
def test_weights_alone(lacking, work_dir, show):
    content = torch.load(work_dir / 'epoch_3.pth', weights_only=False)
    torch.save({key: value for key, value in content.items() if key not in lacking}, work_dir / 'best_mAP.pth')
    with pytest.raises(ValueError, match='no state of the optimizer') as error:
        train_on(work_dir, load_from=str(work_dir / 'best_mAP.pth'))
    show(str(error.value))


@pytest.mark.fault(area=AREA, fault='a checkpoint of the middle of an epoch meets a loop or sampler that cannot start '
                   'there', expected='said, instead of training on samples twice',
                   remedy='train_cfg.type=ResumableEpochTrainLoop, train_dataloader.sampler.type=ResumableSampler.')
@pytest.mark.parametrize('part', [dict(sampler='DefaultSampler'), dict(loop='EpochBasedTrainLoop')],
                         ids=['sampler', 'loop'])
def test_parts_that_cannot_resume(part, tmp_path, show):
    train_until(tmp_path, 3, checkpoint=EVERY_2)
    with pytest.raises(ValueError, match='Resumable') as error:
        train_on(tmp_path, checkpoint=EVERY_2, **part)
    show(str(error.value))


@pytest.mark.fault(area=AREA, fault='a training resumes under a strategy that keeps its checkpoints from hooks',
                   expected='said, instead of training on samples twice',
                   remedy="strategy=dict(type='ZeroStrategy'), in place of mmengine's DeepSpeedStrategy.")
def test_a_strategy_that_keeps_its_checkpoints(show):
    from mmengine._strategy import DeepSpeedStrategy  # there without DeepSpeed, too
    loop, strategy = object.__new__(EpochBasedTrainLoop), object.__new__(DeepSpeedStrategy)
    loop._dataloader = loop.dataloader = range(6)
    runner = SimpleNamespace(_resume=True, _has_loaded=True, iter=13, train_loop=loop, strategy=strategy)
    with pytest.raises(ValueError, match='resumes, .* not hand hooks') as error:
        ExactResumeHook().before_train(runner)
    show(str(error.value))


@pytest.mark.fault(area=AREA, fault='a checkpoint of the middle of an epoch was written without ExactResumeHook',
                   expected='said, instead of training on samples twice',
                   remedy='Resume from the end of an epoch.')
def test_an_unknown_position(tmp_path, show):
    train_until(tmp_path, 3, checkpoint=EVERY_2)
    path = tmp_path / 'iter_2.pth'
    content = torch.load(path, weights_only=False)
    for key in (POSITION, WITHIN_EPOCH):
        content.pop(key)
    (tmp_path / 'iter_2.pth.sha256').unlink()
    torch.save(content, path)
    with pytest.raises(ValueError, match='without ExactResumeHook') as error:
        train_on(tmp_path, checkpoint=EVERY_2)
    show(str(error.value))


@pytest.mark.fault(area=AREA, fault='a training that torchrun may start anew resumes from a file that is named',
                   expected='refused: each time it would go back to that file',
                   remedy='Write that path into last_checkpoint of the work directory, and say --resume alone.')
def test_a_named_file_and_restarts(tmp_path, monkeypatch, show):
    monkeypatch.setenv('TORCHELASTIC_MAX_RESTARTS', '3')
    with pytest.raises(ValueError, match='it would go back to epoch_1.pth') as error:
        choose_checkpoint(Config(dict(work_dir=str(tmp_path), resume=True, load_from='epoch_1.pth')))
    show(str(error.value))


@pytest.mark.fault(area=AREA, fault='several processes write a checkpoint between two updates of the weights',
                   expected='said then, and when training resumes from it: gradients are lost',
                   remedy='Choose a multiple of optim_wrapper.accumulative_counts as '
                   'default_hooks.checkpoint.interval.')
def test_lost_gradients(warned, show):
    writing, resuming = several_optimizers(world_size=2), several_optimizers(world_size=2)
    step(writing)
    checkpoint = dict(optimizer={})
    ExactResumeHook().before_save_checkpoint(writing, checkpoint)
    ExactResumeHook().after_load_checkpoint(resuming, checkpoint)
    assert len(warned) == 2 and 'written between two updates' in warned[0] and 'update lacks them' in warned[1]
    for text in warned:
        show(text)


@pytest.mark.fault(area=AREA, fault='the seed of the config is another than that of the checkpoint',
                   expected='said; samples come as with the seed of the checkpoint',
                   remedy='None is needed. Another seed takes a training that begins anew.')
def test_another_seed(tmp_path, warned, show):
    before = train_until(tmp_path, 3, checkpoint=EVERY_2)
    after = train_on(tmp_path, checkpoint=EVERY_2, seed=8)
    said, = [text for text in warned if 'seed of the checkpoint' in text]
    assert 'the checkpoint, 7. That of the config, 8' in said
    steps = {**before.steps, **after.steps}
    assert sorted(sum((steps[number][0] for number in range(1, 7)), [])) == list(range(11))
    show(said)


@pytest.mark.fault(area=AREA, fault='a training begins anew in a folder that holds checkpoints',
                   expected='said, before any of them is replaced', remedy='To go on with the earlier one: --resume.')
def test_an_earlier_training(work_dir, warned, show):
    make_runner(work_dir).train()
    said, = [text for text in warned if 'earlier training' in text]
    assert 'holds 3 checkpoints' in said and 'the newest epoch_3.pth' in said
    show(said)


@pytest.mark.fault(area=AREA, fault='two trainings in one work directory',
                   expected='the second waits, then it is refused',
                   remedy='Let the first end, or stop it; or name another --work-dir.')
def test_two_trainings(tmp_path, monkeypatch, warned, show):
    monkeypatch.setattr(training_lock, 'PATIENCE', 0.5)
    with subprocess.Popen([sys.executable, '-c', HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True,
                          start_new_session=True) as first:
        assert first.stdout.readline() == 'held\n'
        with pytest.raises(RuntimeError, match=f'Another training .process {first.pid} on') as error:
            make_runner(tmp_path).train()
        os.killpg(first.pid, signal.SIGKILL)
    waits, = (text for text in warned if 'Another training' in text)
    for said in (waits.replace('0 s at most', '120 s at most'), str(error.value)):
        show(re.sub(r'process \d+', 'process 4711', said))
    assert not list(tmp_path.glob('*.pth'))


@pytest.mark.fault(area=AREA, fault='a work directory that cannot be locked', expected='said; training goes on',
                   remedy='See that no other training writes there. On a network mount, switch its locks on; of a file '
                   'of somebody else, make it writable.')
def test_no_locks(tmp_path, monkeypatch, warned, show):
    def fail(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(training_lock.fcntl, 'lockf', fail)
    make_runner(tmp_path).train()
    said, = (text for text in warned if 'locked' in text)
    assert (tmp_path / 'epoch_3.pth').is_file()
    show(said)


@pytest.mark.fault(area=AREA, fault='a kill has left a checkpoint half written', expected='said; it is removed',
                   remedy='None is needed: the checkpoint before it is whole.')
def test_a_half_written_one(tmp_path, warned, show):
    half = tmp_path / '.epoch_1.pth.partial'
    half.write_bytes(b'half')
    make_runner(tmp_path).train()
    said, = [text for text in warned if 'being written' in text]
    assert str(half) in said and not half.exists()
    show(said)


@pytest.mark.fault(area=AREA, fault='--resume in a folder without checkpoints', expected='said; training begins',
                   remedy='None, if this is the first start. Else name the folder of the training: --work-dir.')
def test_nothing_to_resume_from(tmp_path, warned, show):
    assert min(train_on(tmp_path).steps) == 1
    said, = [text for text in warned if 'to resume from' in text]
    show(said)


def resume_in(work_dir):
    """What tools/train.py chooses with --resume."""
    cfg = Config(dict(work_dir=str(work_dir), resume=True, load_from=None))
    choose_checkpoint(cfg)
    return cfg.load_from


@pytest.mark.fault(area=AREA, fault='the newest file of the work directory holds weights alone',
                   expected='said; the checkpoint before it is used', remedy='None is needed. Write checkpoints with '
                   'default_hooks.checkpoint.save_optimizer=True to resume from them.')
def test_newest_are_weights(work_dir, warned, show):
    content = torch.load(work_dir / 'epoch_3.pth', weights_only=False)
    content.pop('optimizer')
    (work_dir / 'epoch_3.pth.sha256').unlink()
    torch.save(content, work_dir / 'epoch_3.pth')
    assert resume_in(work_dir) == str(work_dir / 'epoch_2.pth')
    said, = warned
    assert 'holds weights, but not the state of the optimizer' in said and (work_dir / 'epoch_3.pth').is_file()
    show(said)


@pytest.mark.fault(area=AREA, fault='a kill has come while DeepSpeed wrote its folder',
                   expected='said; the folder before it is used', remedy='None is needed.')
def test_a_folder_that_is_newer_than_the_note(tmp_path, warned, show):
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_1.pth'))
    for folder in (tmp_path / 'epoch_1.pth', tmp_path / 'epoch_2.pth'):
        folder.mkdir()
    for age, name in enumerate(('epoch_2.pth', 'last_checkpoint', 'epoch_1.pth')):
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    assert resume_in(tmp_path) == str(tmp_path / 'epoch_1.pth')
    said, = warned
    assert 'epoch_2.pth is newer than what last_checkpoint names' in said
    show(said)
