import errno
import os
import subprocess
from types import SimpleNamespace

import pytest
from mmengine.runner import FlexibleRunner, Runner

from scene_qformer.engine import DurableCheckpointHook, NotWrittenError, durable_checkpoint_hook, load_from_safe_file
from scene_qformer.engine.training_lock import LOCK
from tests.small_training import Note, Score, make_runner, train_on, train_until


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.is_file() and path.suffix != '.py'  # the config
                  and path.name != LOCK)


def with_digests(*files):
    return sorted([*files, *(f'{name}.sha256' for name in files)])


def test_files_that_are_kept(tmp_path):
    make_runner(tmp_path, checkpoint=dict(interval=1, max_keep_ckpts=2)).train()
    assert names(tmp_path) == sorted([*with_digests('epoch_2.pth', 'epoch_3.pth'), 'last_checkpoint'])
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'epoch_3.pth')
    for name in ('epoch_2.pth.sha256', 'epoch_3.pth.sha256'):
        assert subprocess.run(['sha256sum', '-c', name], cwd=tmp_path, capture_output=True).returncode == 0


def test_other_names_are_removed_as_well(tmp_path):
    make_runner(tmp_path, checkpoint=dict(interval=1, max_keep_ckpts=1, filename_tmpl='after_{}.ckpt')).train()
    assert [name for name in names(tmp_path) if name.endswith('.ckpt')] == ['after_3.ckpt']


def test_old_ones_go_when_the_new_one_is_whole(tmp_path, monkeypatch):
    """Here the third is never written: the two before must stay."""
    runner = make_runner(tmp_path, checkpoint=dict(interval=1, max_keep_ckpts=2))
    save = runner.save_checkpoint

    def full_at_the_third(folder, name, **options):
        if name == 'epoch_3.pth':
            raise NotWrittenError(errno.ENOSPC, 'full')
        save(folder, name, **options)

    monkeypatch.setattr(runner, 'save_checkpoint', full_at_the_third)
    with pytest.raises(NotWrittenError):
        runner.train()
    assert names(tmp_path) == sorted([*with_digests('epoch_1.pth', 'epoch_2.pth'), 'last_checkpoint'])
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'epoch_2.pth')


def test_best_ones(tmp_path, monkeypatch):
    """At any time a best one is there: the old one goes after the new one is written."""
    Score.scores = [1., 3., 2.]
    there = []
    catch_up = durable_checkpoint_hook._RemovesLater.catch_up

    def note(backend, keep):
        there.append([name for name in names(tmp_path) if name.startswith('best') and name.endswith('.pth')])
        catch_up(backend, keep)

    monkeypatch.setattr(durable_checkpoint_hook._RemovesLater, 'catch_up', note)
    make_runner(tmp_path, validate=True, checkpoint=dict(interval=1, max_keep_ckpts=1, save_best='test/score',
                                                         rule='greater', published_keys=['state_dict'])).train()
    assert ['best_test_score_epoch_1.pth', 'best_test_score_epoch_2.pth'] in there
    left = [name for name in names(tmp_path) if name.endswith('.pth') and '-' not in name]
    assert left == ['best_test_score_epoch_2.pth', 'epoch_3.pth']
    published = [name for name in names(tmp_path) if '-' in name]
    assert len(published) == 4 and all(f'{name}.sha256' in published for name in published if name.endswith('.pth'))


@pytest.mark.parametrize('kind', [Runner, FlexibleRunner])
@pytest.mark.parametrize('by_epoch', [True, False])
def test_the_step_of_a_best_one_is_the_step_of_the_others(kind, by_epoch, tmp_path):
    """The checkpoint is written again with the best score; a training that goes on from it leaves nothing out."""
    options = dict(kind=kind, validate=True, checkpoint=dict(
        interval=1 if by_epoch else 6, by_epoch=by_epoch, save_best='test/score', rule='greater'))
    Score.scores = [1., 2., 3.]
    whole = Note()
    make_runner(tmp_path / 'whole', whole, **options).train()
    Score.scores = [1., 2., 3., 4.]
    first = train_until(tmp_path / 'killed', 8, **options)
    name = 'epoch_1.pth' if by_epoch else 'iter_6.pth'
    for best in (name, f'best_test_score_{name}'):
        meta = load_from_safe_file(str(tmp_path / 'killed' / best))['meta']
        assert (meta['epoch'], meta['iter']) == (1, 6), best
    again = train_on(tmp_path / 'killed', **options)
    assert min(again.steps) == 7 and {**first.steps, **again.steps} == whole.steps


@pytest.mark.parametrize('kind', [Runner, FlexibleRunner])
def test_what_a_kill_left_of_old_ones_goes_later(kind, tmp_path, monkeypatch):
    """Here the kill comes when the second is on the disk, and the first has not gone."""
    options = dict(kind=kind, checkpoint=dict(interval=1, max_keep_ckpts=1))

    def die(hook):
        if (tmp_path / 'epoch_2.pth').exists():
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(DurableCheckpointHook, '_remove_outdated', die)
        make_runner(tmp_path, **options).train()
    assert names(tmp_path) == sorted([*with_digests('epoch_1.pth', 'epoch_2.pth'), 'last_checkpoint'])
    train_on(tmp_path, **options)
    assert names(tmp_path) == sorted([*with_digests('epoch_3.pth'), 'last_checkpoint'])


@pytest.mark.parametrize('where', ['newer', 'elsewhere'])
def test_nothing_else_goes(where, tmp_path):
    """A file of the name of one that is outdated, but written since, or of another training."""
    options = dict(checkpoint=dict(interval=1, max_keep_ckpts=1))
    train_until(tmp_path / 'first', 13, **options)
    folder = tmp_path / ('first' if where == 'newer' else 'second')
    folder.mkdir(exist_ok=True)
    (folder / 'epoch_1.pth').write_bytes(b'mine')
    resumed = tmp_path / 'first' / 'epoch_2.pth'
    if where == 'elsewhere':
        os.utime(folder / 'epoch_1.pth', (1, 1))
    note = Note(stop_at=12)
    with pytest.raises(KeyboardInterrupt):
        make_runner(folder, note, resume=True, load_from=str(resumed), **options).train()
    assert (folder / 'epoch_1.pth').read_bytes() == b'mine'


def test_nothing_to_resume_from(tmp_path, caplog):
    assert min(train_on(tmp_path).steps) == 1


def test_halves_are_cleared_away(tmp_path):
    (tmp_path / '.epoch_1.pth.partial').write_bytes(b'half')
    (tmp_path / '.mine.partial.txt').write_bytes(b'not ours')
    make_runner(tmp_path).train()
    assert not (tmp_path / '.epoch_1.pth.partial').exists() and (tmp_path / '.mine.partial.txt').exists()


def test_the_torn_one_is_kept_and_the_one_before_is_used(tmp_path):
    train_until(tmp_path, 13, checkpoint=dict(interval=1))
    (tmp_path / 'epoch_2.pth').write_bytes(b'torn')
    assert min(train_on(tmp_path, checkpoint=dict(interval=1)).steps) == 7
    assert (tmp_path / 'epoch_2.pth.torn').read_bytes() == b'torn'
    assert (tmp_path / 'epoch_2.pth.torn.sha256').is_file() and (tmp_path / 'epoch_3.pth').is_file()


def test_weights_alone_keep_their_name(tmp_path):
    train_until(tmp_path, 7, checkpoint=dict(interval=1))
    make_runner(tmp_path, checkpoint=dict(interval=3, save_optimizer=False)).train()
    assert min(train_on(tmp_path, checkpoint=dict(interval=2)).steps) == 7
    assert (tmp_path / 'epoch_3.pth').is_file() and not list(tmp_path.glob('*.torn*'))


def test_a_second_training_in_the_folder_is_told(tmp_path, monkeypatch):
    make_runner(tmp_path).train()
    told = []
    runner = make_runner(tmp_path)
    monkeypatch.setattr(runner.logger, 'warning', told.append)
    runner.train()
    assert any('holds 1 checkpoints of an earlier training, the newest epoch_3.pth' in str(text) for text in told)


@pytest.mark.parametrize('begin_from', [None, 'stage_1.pth'])
def test_a_first_start_with_resume_begins_from_what_the_config_begins_from(tmp_path, begin_from):
    """Launchers that restart a job always say --resume; the weights of the stage before must not be lost by it."""
    runner = SimpleNamespace(_resume=True, _load_from=None, _has_loaded=False, work_dir=str(tmp_path),
                             cfg=dict(begin_from=begin_from))
    DurableCheckpointHook().before_run(runner)
    assert (runner._resume, runner._load_from) == (False, begin_from)


def test_with_a_flexible_runner_that_finds_nothing(tmp_path):
    """Which looks before its hooks, for what `last_checkpoint` names; here a kill came before that was written."""
    train_until(tmp_path, 13, checkpoint=dict(interval=1))
    (tmp_path / 'last_checkpoint').unlink()
    assert min(train_on(tmp_path, kind=FlexibleRunner).steps) == 13


@pytest.mark.parametrize('kind', [Runner, FlexibleRunner])
def test_no_resuming_without_the_state_of_the_optimizer(kind, tmp_path):
    make_runner(tmp_path, kind=kind, checkpoint=dict(interval=1, save_optimizer=False)).train()
    with pytest.raises(ValueError, match='has no state of the optimizer'):
        train_on(tmp_path, kind=kind, load_from=str(tmp_path / 'epoch_2.pth'))
