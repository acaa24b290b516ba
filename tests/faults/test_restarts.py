"""Processes that torchrun has started anew, and whose others do not come. With real restarts: test_processes.py."""
from datetime import timedelta

import pytest
from mmengine.config import Config
from torch import distributed

from scene_qformer.engine import ProcessGroupError
from scene_qformer.engine.attempt import agree_on_attempt
from scene_qformer.engine.process_group import join_processes


@pytest.mark.fault(
    area='Processes', fault='torchrun starts the processes of one machine anew, and those of another do not come',
    expected='said after env_cfg.dist_cfg.timeout, instead of waiting for those before them',
    remedy='See in the output of torchrun on the other machines why not: MAX_RESTARTS has to be the same on all.')
@pytest.mark.parametrize('left', ['nothing', 'an earlier attempt'])
@pytest.mark.parametrize('rank', [0, 1])
def test_others_do_not_come(rank, left, monkeypatch, show):
    store = distributed.TCPStore('127.0.0.1', 0, None, is_master=True, timeout=timedelta(seconds=20))
    if left == 'an earlier attempt':
        agree_on_attempt(distributed.PrefixStore('scene_qformer', store), 0, 1, 1.)
    environment = dict(RANK=rank, WORLD_SIZE=2, LOCAL_RANK=0, MASTER_ADDR='127.0.0.1', MASTER_PORT=store.port,
                       GROUP_WORLD_SIZE=2, TORCHELASTIC_USE_AGENT_STORE=True)
    for name, value in environment.items():
        monkeypatch.setenv(name, str(value))
    cfg = Config(dict(launcher='pytorch', env_cfg=dict(dist_cfg=dict(backend='gloo', timeout=1))))
    with pytest.raises(ProcessGroupError, match='did not find each other within .*=1 s.* is rank') as error:
        join_processes(cfg)
    if rank:
        show(str(error.value).replace(str(store.port), '29500'))
