"""FSDP on two processes trains as data-parallel training does, and its checkpoints come back."""
import copy
from pathlib import Path

import pytest
import torch
from mmdet3d.registry import MODELS
from mmdet3d.utils import register_all_modules
from mmengine._strategy import DDPStrategy
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.optim.optimizer import amp_optimizer_wrapper
from torch import nn

from scene_qformer.engine import ShardedStrategy, load_from_safe_file
from tests.models.test_joint_gradients import DETECTOR, LLM, sample
from tests.processes import run_processes

STRATEGIES = Path(__file__).parents[2] / 'configs/_base_/strategies'
SHARES = ([0, 2, 4], [1, 3])
STEPS = 3
OPTIMIZER = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, fused=True),
    clip_grad=dict(max_norm=0.1, norm_type=2),  # far below the gradients' norm: each step is scaled by it
    paramwise_cfg=dict(custom_keys={'backbone.': dict(lr_mult=0.1)}))


def build(kind, work_dir):
    settings = Config.fromfile(STRATEGIES / 'fsdp.py').strategy.to_dict()
    wrapper = settings.pop('model_wrapper')
    if kind == 'ddp':
        return DDPStrategy(work_dir=work_dir, model_wrapper=dict(
            type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False, find_unused_parameters=True))
    assert settings.pop('type') == 'ShardedStrategy'
    return ShardedStrategy(work_dir=work_dir, model_wrapper=wrapper, **settings)


def train(kind, model, work_dir, steps, resume=None, save=None):
    """Joint losses of some steps on the same samples."""
    register_all_modules(init_default_scope=True)
    torch.manual_seed(0)
    strategy = build(kind, work_dir)
    network = MODELS.build(copy.deepcopy(model))
    network.init_weights()
    strategy.prepare(network, optim_wrapper=copy.deepcopy(OPTIMIZER), dispatch_kwargs=dict(max_iters=STEPS))
    if resume:
        strategy.resume(resume, resume_param_scheduler=False)
    strategy.model.train()
    images, _, data_samples = zip(*(sample(index) for index in SHARES[torch.distributed.get_rank()]))
    losses = []
    for _ in range(steps):
        data = dict(inputs=dict(img=list(images)), data_samples=copy.deepcopy(list(data_samples)))
        losses.append(strategy.model.train_step(data, strategy.optim_wrapper)['loss'].item())
    if save:
        strategy.save_checkpoint(save, extra_ckpt=dict(meta=dict(epoch=0, iter=steps)))
    return losses


def joint(results):
    return [sum(step) / len(step) for step in zip(*results)]


@pytest.fixture(scope='module')
def with_language_model(tmp_path_factory):
    from scene_qformer.models.language.word_tokenizer import save_word_tokenizer
    from tests.models.test_joint_gradients import ANSWERS
    folder = save_word_tokenizer([*ANSWERS, 'How many cars are ahead?'], tmp_path_factory.mktemp('tokenizer'))
    return {**DETECTOR, 'projector': dict(type='MLPProjector', in_channels=12, hidden_channels=13),
            'language_model': dict(type='SceneLanguageModel', model={**LLM, 'tokenizer': str(folder)}, trainable=True)}


def test_as_data_parallel_training_and_back_again(with_language_model, tmp_path):
    """The language model's layers are units of their own; the rest is one."""
    arguments = with_language_model, str(tmp_path)
    expected = joint(run_processes(2, train, 'ddp', *arguments, STEPS))
    checkpoint = str(tmp_path / 'whole.pth')
    sharded = joint(run_processes(2, train, 'fsdp', *arguments, STEPS - 1, None, checkpoint))
    assert sharded == pytest.approx(expected[:-1], rel=1e-5)
    assert expected[-1] < expected[0]
    resumed = joint(run_processes(2, train, 'fsdp', *arguments, 1, checkpoint))
    assert resumed == pytest.approx(expected[-1:], rel=1e-5)  # optimizer's moments included
    content = load_from_safe_file(checkpoint)
    assert content['optimizer']['state']  # by name, of whole parameters
    whole = MODELS.build(copy.deepcopy(with_language_model))
    whole.load_state_dict(content['state_dict'])  # strictly: every name and shape as without FSDP


def test_pieces_of_checkpoints_are_refused():
    with pytest.raises(ValueError, match="writes whole checkpoints, state_dict_cfg='full', got 'local'"):
        ShardedStrategy(state_dict_cfg='local')


class MostlyFrozen(BaseModel):
    """The 18 numbers that are trained are the last of 256, so of two processes the second has all of them."""

    def __init__(self):
        super().__init__()
        self.frozen, self.adapter = nn.Linear(13, 17).requires_grad_(False), nn.Linear(17, 1)

    def forward(self, inputs, mode='loss'):
        return dict(loss=self.adapter(self.frozen(inputs).tanh()).square().sum() * 16)


def train_adapter(kind, work_dir, options, resume=None, save=None):
    """Losses and norms of some steps; the scales of losses, if they are scaled."""
    torch.manual_seed(0)
    # the test's, for AmpOptimWrapper; its scaler and autocast are told of the CPU
    amp_optimizer_wrapper.is_cuda_available = lambda: True
    strategy = build(kind, work_dir)
    settings = {**dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.1, fused=True)), **copy.deepcopy(options)}
    strategy.prepare(MostlyFrozen(), optim_wrapper=settings, dispatch_kwargs=dict(max_iters=STEPS))
    wrapper = strategy.optim_wrapper
    if resume:
        strategy.resume(resume, resume_param_scheduler=False)
    generator = torch.Generator().manual_seed(torch.distributed.get_rank())
    steps = []
    for _ in range(STEPS):
        data = dict(inputs=torch.randn(3, 13, generator=generator))
        loss = strategy.model.train_step(data, wrapper)['loss'].item()
        norm = wrapper.message_hub.get_scalar('train/grad_norm').current() if 'clip_grad' in options else None
        steps.append((loss, norm, wrapper.loss_scaler.get_scale() if hasattr(wrapper, 'loss_scaler') else None))
    if save:
        strategy.save_checkpoint(save, extra_ckpt=dict(meta=dict(epoch=0, iter=STEPS)))
    return steps


@pytest.mark.parametrize('norm_type', [2, 'inf'])
def test_where_a_process_has_none_of_the_trained_weights(norm_type, tmp_path):
    """It must take part in the norm of all: the others wait for it."""
    options = dict(clip_grad=dict(max_norm=0.1, norm_type=norm_type))
    checkpoint = str(tmp_path / 'whole.pth')
    expected = run_processes(2, train_adapter, 'ddp', str(tmp_path), options, None, checkpoint, timeout=60)
    again = run_processes(2, train_adapter, 'ddp', str(tmp_path), options, checkpoint, timeout=60)
    checkpoint = str(tmp_path / 'sharded.pth')
    sharded = run_processes(2, train_adapter, 'fsdp', str(tmp_path), options, None, checkpoint, timeout=60)
    resumed = run_processes(2, train_adapter, 'fsdp', str(tmp_path), options, checkpoint, timeout=60)
    for rank in range(2):
        for found, wanted in zip(sharded[rank] + resumed[rank], expected[rank] + again[rank]):
            assert found[:2] == pytest.approx(wanted[:2], rel=1e-4)


@pytest.mark.parametrize('clip', [{}, dict(clip_grad=dict(max_norm=0.1))], ids=['not clipped', 'clipped'])
@pytest.mark.parametrize('fused', [False, True])
def test_processes_leave_out_the_same_steps(clip, fused, tmp_path):
    """At first the scaled losses overflow; that is seen by the process that has the gradients."""
    options = dict(type='AmpOptimWrapper', dtype='bfloat16', loss_scale=dict(device='cpu', init_scale=2.**127),
                   optimizer=dict(type='AdamW', lr=0.1, fused=fused), **clip)
    checkpoint = str(tmp_path / 'sharded.pth')
    first, second = run_processes(2, train_adapter, 'fsdp', str(tmp_path), options, None, checkpoint, timeout=60)
    assert [scale for _, _, scale in first] == [scale for _, _, scale in second]
    assert first[0][2] == 2.**126
    options['loss_scale'] = dict(device='cpu', init_scale=2.**64)  # of a training that begins
    resumed, _ = run_processes(2, train_adapter, 'fsdp', str(tmp_path), options, checkpoint, timeout=60)
    assert resumed[0][2] in (first[-1][2], first[-1][2] / 2)
