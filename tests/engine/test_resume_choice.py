"""What `--resume` goes on from is chosen before a runner is built, for both of mmengine's in the same way."""
from types import SimpleNamespace

import pytest
from mmengine.config import Config
from mmengine.dist import get_rank
from mmengine.runner import FlexibleRunner, Runner

from scene_qformer.engine import choose_checkpoint
from tests.processes import run_processes
from tests.small_training import Note, make_runner, train_until
from tools import train


def chosen(work_dir, **entries):
    cfg = Config(dict(work_dir=str(work_dir), **{**dict(resume=True, load_from=None), **entries}))
    choose_checkpoint(cfg)
    return cfg.resume, cfg.load_from


@pytest.mark.parametrize('begin_from', [None, 'stage_1.pth'])
def test_a_first_start_begins_from_what_the_config_begins_from(tmp_path, begin_from):
    assert chosen(tmp_path, begin_from=begin_from) == (False, begin_from)


@pytest.mark.parametrize('given', [
    dict(resume=False), dict(resume=False, load_from='stage_1.pth'), dict(load_from='epoch_1.pth'),
    dict(resume='epoch_1.pth')])  # FlexibleRunner takes a path there, too
def test_what_a_user_names_stays(tmp_path, given):
    (tmp_path / 'epoch_2.pth').mkdir()
    assert chosen(tmp_path, **given) == (given.get('resume', True), given.get('load_from'))


def test_a_path_and_restarts_do_not_go_together(tmp_path, monkeypatch):
    """Every restart would go back to that path."""
    monkeypatch.setenv('TORCHELASTIC_MAX_RESTARTS', '0')
    assert chosen(tmp_path, load_from='epoch_1.pth') == (True, 'epoch_1.pth')
    monkeypatch.setenv('TORCHELASTIC_MAX_RESTARTS', '3')
    with pytest.raises(ValueError, match='anew 3 times, and each time it would go back to epoch_1.pth'):
        chosen(tmp_path, load_from='epoch_1.pth')
    assert chosen(tmp_path, resume=False, load_from='stage_1.pth') == (False, 'stage_1.pth')
    (tmp_path / 'epoch_2.pth').mkdir()
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_2.pth'))  # as it advises
    assert chosen(tmp_path) == (True, str(tmp_path / 'epoch_2.pth'))


def test_a_folder_of_deepspeed(tmp_path):
    (tmp_path / 'epoch_2.pth').mkdir()
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_2.pth'))
    assert chosen(tmp_path) == (True, str(tmp_path / 'epoch_2.pth'))


@pytest.mark.parametrize('kind', [Runner, FlexibleRunner])
def test_a_torn_one_is_passed_over(kind, tmp_path):
    train_until(tmp_path, 13, checkpoint=dict(interval=1), kind=kind)
    (tmp_path / 'epoch_2.pth').write_bytes(b'torn')
    resume, load_from = chosen(tmp_path, begin_from='stage_1.pth')
    assert (resume, load_from) == (True, str(tmp_path / 'epoch_1.pth'))
    assert (tmp_path / 'epoch_2.pth.torn').read_bytes() == b'torn'
    note = Note()
    make_runner(tmp_path, note, kind=kind, resume=resume, load_from=load_from).train()
    assert min(note.steps) == 7


def choose_or_stop(work_dir):
    """Each process has its own folder, as if the others saw it late; that of the first counts."""
    try:
        return chosen(f'{work_dir}/{get_rank()}')
    except ValueError as error:
        return str(error)


def test_processes_go_on_from_the_same(tmp_path):
    for rank in range(2):
        (tmp_path / str(rank)).mkdir()
    (tmp_path / '0/epoch_2.pth').mkdir()
    assert run_processes(2, choose_or_stop, str(tmp_path)) == [(True, str(tmp_path / '0/epoch_2.pth'))] * 2


def test_all_processes_stop(tmp_path):
    for rank in range(2):
        (tmp_path / str(rank)).mkdir()
    (tmp_path / '0/epoch_2.pth').write_bytes(b'torn')
    said = run_processes(2, choose_or_stop, str(tmp_path))
    assert said[0] == said[1] and said[0].startswith(f'No checkpoint in {tmp_path}/0 can be resumed from')


def flags(resume):
    return SimpleNamespace(amp=False, sync_bn='none', auto_scale_lr=False, resume=resume)


def test_train_keeps_what_the_config_begins_from():
    cfg = Config(dict(load_from='stage_1.pth', resume=False))
    resumed = train.apply_flags(Config(cfg.to_dict()), flags('auto'))
    assert (resumed.resume, resumed.load_from, resumed.begin_from) == (True, None, 'stage_1.pth')
    named = train.apply_flags(Config(cfg.to_dict()), flags('epoch_3.pth'))
    assert (named.resume, named.load_from) == (True, 'epoch_3.pth')


@pytest.mark.parametrize(('strategy', 'kind'), [(None, 'Runner'), (dict(type='ShardedStrategy'), 'FlexibleRunner')])
def test_train_chooses_before_it_builds(strategy, kind, tmp_path, monkeypatch):
    """And after the processes have joined, which choose together."""
    (tmp_path / 'epoch_2.pth').mkdir()
    cfg = Config(dict(work_dir=str(tmp_path), strategy=strategy, load_from='stage_1.pth'))
    done = []
    monkeypatch.setattr(train, 'parse_args', lambda: flags('auto'))
    monkeypatch.setattr(train, 'load_config', lambda args, several_processes: cfg)
    monkeypatch.setattr(train, 'join_processes', lambda cfg: done.append(('join', cfg.load_from)))
    monkeypatch.setattr(train, kind, SimpleNamespace(
        from_cfg=lambda cfg: SimpleNamespace(train=lambda: done.append((cfg.resume, cfg.load_from)))))
    train.main()
    assert done == [('join', None), (True, str(tmp_path / 'epoch_2.pth'))]
