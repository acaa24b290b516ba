"""DeepSpeed's ZeRO on two processes trains as data-parallel training does, and its checkpoints come back.

Needs DeepSpeed, which is not among the packages of this project: see docs/several_machines.md.
"""
import copy
from pathlib import Path

import pytest
import torch
from mmdet3d.registry import MODELS
from mmdet3d.utils import register_all_modules
from mmengine.config import Config
from mmengine.registry import STRATEGIES as STRATEGY_CLASSES

from scene_qformer.engine import ZeroOptimWrapper, ZeroStrategy
from tests.engine import test_sharded_strategy as sharded
from tests.models.test_joint_gradients import DETECTOR, sample
from tests.processes import run_processes

CONFIG = Path(__file__).parents[2] / 'configs/_base_/strategies/deepspeed_zero2.py'
OPTIMIZER = {**sharded.OPTIMIZER, 'type': 'ZeroOptimWrapper'}
OPTIMIZER.pop('clip_grad')  # the strategy's


def train(work_dir, steps, resume=None, save=None, begin_from=None):
    """Joint losses of some steps on the same samples, in float32; and what hooks were handed of the checkpoint."""
    register_all_modules(init_default_scope=True)
    settings = Config.fromfile(CONFIG).strategy.to_dict()
    settings['config'] = {}  # without autocast
    settings.update(work_dir=work_dir, gradient_clipping=sharded.OPTIMIZER['clip_grad']['max_norm'])
    torch.manual_seed(0)
    strategy = STRATEGY_CLASSES.build(settings)
    network = MODELS.build(copy.deepcopy(DETECTOR))
    network.init_weights()
    strategy.prepare(network, optim_wrapper=copy.deepcopy(OPTIMIZER),
                     dispatch_kwargs=dict(max_iters=sharded.STEPS, train_micro_batch_size_per_gpu=2))
    handed = []
    if begin_from:
        strategy.load_checkpoint(begin_from, callback=lambda content: content['state_dict'])
    if resume:
        strategy.resume(resume, resume_param_scheduler=False, callback=lambda extra: handed.append(dict(extra)))
    strategy.model.train()
    images, _, data_samples = zip(*(sample(index) for index in sharded.SHARES[torch.distributed.get_rank()]))
    losses = []
    for _ in range(steps):
        data = dict(inputs=dict(img=list(images)), data_samples=copy.deepcopy(list(data_samples)))
        losses.append(strategy.model.train_step(data, strategy.optim_wrapper)['loss'].item())
    if save:
        def keep(extra):
            assert extra['optimizer'] == {} and extra['meta']['iter'] == steps
            extra['samples_done'] = 7

        strategy.save_checkpoint(save, extra_ckpt=dict(meta=dict(epoch=0, iter=steps)), callback=keep)
    return losses, [(extra['samples_done'], extra['optimizer'], extra['meta']['iter']) for extra in handed]


def test_as_data_parallel_training_and_back_again(tmp_path, monkeypatch):
    pytest.importorskip('deepspeed')
    monkeypatch.setenv('DS_ACCELERATOR', 'cpu')
    expected = sharded.joint(run_processes(2, sharded.train, 'ddp', DETECTOR, str(tmp_path), sharded.STEPS))
    checkpoint = str(tmp_path / 'epoch_1.pth')
    losses, _ = zip(*run_processes(2, train, str(tmp_path), sharded.STEPS - 1, None, checkpoint))
    assert sharded.joint(losses) == pytest.approx(expected[:-1], rel=1e-5)
    losses, handed = zip(*run_processes(2, train, str(tmp_path), 1, checkpoint))
    assert sharded.joint(losses) == pytest.approx(expected[-1:], rel=1e-5)  # optimizer's moments included
    assert handed == ([(7, {}, sharded.STEPS - 1)], ) * 2


def test_a_stage_before_this_one_is_a_file(tmp_path, monkeypatch):
    """Its steps are those of data-parallel training from the same weights: the copies that are stepped on, too."""
    pytest.importorskip('deepspeed')
    monkeypatch.setenv('DS_ACCELERATOR', 'cpu')
    torch.manual_seed(11)
    register_all_modules(init_default_scope=True)
    before = MODELS.build(copy.deepcopy(DETECTOR))
    before.init_weights()
    for parameter in before.parameters():
        parameter.data.add_(0.01 * torch.randn_like(parameter))
    stage_1 = str(tmp_path / 'stage_1.pth')
    torch.save(dict(state_dict=before.state_dict(), meta={}), stage_1)
    expected = run_processes(2, train_from, stage_1, str(tmp_path))
    losses, _ = zip(*run_processes(2, train, str(tmp_path), 2, None, None, stage_1))
    assert sharded.joint(losses) == pytest.approx(sharded.joint(expected), rel=1e-5)
    assert sharded.joint(losses) != pytest.approx(sharded.joint(run_processes(
        2, sharded.train, 'ddp', DETECTOR, str(tmp_path), 2)), rel=1e-5)


def train_from(weights, work_dir):
    """Data-parallel."""
    build = MODELS.build

    def with_weights(config):
        network = build(config)
        network.init_weights = lambda: network.load_state_dict(torch.load(weights)['state_dict'])
        return network

    MODELS.build = with_weights
    return sharded.train('ddp', DETECTOR, work_dir, 2)


class Base:
    """What mmengine's strategy does with a checkpoint, and no more."""

    def save_checkpoint(self, filename, **options):
        self.saved = options

    def resume(self, filename, **options):
        return dict(meta=dict(iter=5), samples_done=7)

    load_checkpoint = resume


class Tried(ZeroStrategy):
    def __init__(self):
        pass


@pytest.mark.parametrize('save_optimizer', [True, False])
def test_hooks_are_handed_what_is_kept(monkeypatch, save_optimizer):
    """Without DeepSpeed."""
    for name in ('save_checkpoint', 'resume', 'load_checkpoint'):
        monkeypatch.setattr(f'mmengine._strategy.deepspeed.DeepSpeedStrategy.{name}', getattr(Base, name))
    strategy, seen = Tried(), []

    def keep(extra):
        seen.append('optimizer' in extra)
        extra['samples_done'] = 7

    strategy.save_checkpoint('a.pth', save_optimizer=save_optimizer, extra_ckpt=dict(meta={}), callback=keep)
    assert seen == [save_optimizer]
    assert strategy.saved['extra_ckpt'] == dict(meta={}, samples_done=7)  # DeepSpeed has `optimizer` for itself
    assert strategy.saved['save_optimizer'] == save_optimizer
    handed = []
    strategy.resume('a.pth', resume_optimizer=save_optimizer, callback=handed.append)
    strategy.load_checkpoint('a.pth', callback=handed.append)
    assert handed[0]['samples_done'] == 7 and ('optimizer' in handed[0]) == save_optimizer
    assert 'optimizer' not in handed[1]


def test_steps_record_no_gradients():
    wrapper = ZeroOptimWrapper.__new__(ZeroOptimWrapper)
    recording = []
    wrapper._model = type('Engine', (), dict(step=lambda self: recording.append(torch.is_grad_enabled())))()
    wrapper.step()
    assert recording == [False] and torch.is_grad_enabled()
