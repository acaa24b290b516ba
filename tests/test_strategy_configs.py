"""Configs that spread a model over processes are what mmengine's FlexibleRunner and the libraries take."""
import inspect
from pathlib import Path

import pytest
from mmengine._strategy import DeepSpeedStrategy
from mmengine.config import Config
from mmengine.registry import FUNCTIONS
from torch.distributed.fsdp import FullyShardedDataParallel, ShardingStrategy
from transformers.models.llama.modeling_llama import LlamaDecoderLayer

from scene_qformer.engine import ZeroOptimWrapper
from scene_qformer.engine.muon_adamw import MuonAdamW

CONFIGS = Path(__file__).parents[1] / 'configs'
LEAVES = sorted(path for path in CONFIGS.glob('scene_*/*.py') if '-fsdp_' in path.stem or '-zero' in path.stem)


@pytest.mark.parametrize('path', LEAVES, ids=lambda path: path.stem)
def test_leaves_have_a_strategy_and_an_optimizer_that_it_takes(path):
    cfg = Config.fromfile(path)
    assert cfg.strategy.type == ('ShardedStrategy' if 'fsdp' in path.stem else 'ZeroStrategy')
    assert cfg.optim_wrapper.optimizer.type != MuonAdamW.__name__
    assert any(name.startswith('backbone') for name in cfg.optim_wrapper.paramwise_cfg.custom_keys)  # the schedule's


def test_all_of_the_language_model_at_llavas_rate():
    cfg = Config.fromfile(CONFIGS / 'scene_language/scene-language_r50_stage2-fsdp_8xb2-6e_nus-qa-336.py')
    assert cfg.model.language_model.trainable and cfg.model.language_model.lora is None
    rate = cfg.optim_wrapper.paramwise_cfg.custom_keys['language_model.'].lr_mult * cfg.optim_wrapper.optimizer.lr
    assert rate == pytest.approx(2e-5)


def test_fsdp_units_are_the_layers_alone():
    wrapper = Config.fromfile(CONFIGS / '_base_/strategies/fsdp.py').strategy.model_wrapper.to_dict()
    policy = wrapper['auto_wrap_policy']
    wrap = FUNCTIONS.get(policy.pop('type'))
    layer = LlamaDecoderLayer.__new__(LlamaDecoderLayer)
    assert wrap(layer, recurse=False, nonwrapped_numel=0, **policy)
    assert not wrap(MuonAdamW.__new__(MuonAdamW), recurse=False, nonwrapped_numel=0, **policy)
    assert ShardingStrategy[wrapper['sharding_strategy']] is ShardingStrategy.FULL_SHARD
    known = inspect.signature(FullyShardedDataParallel.__init__).parameters
    assert wrapper.keys() - {'type'} <= known.keys()


def test_deepspeeds_keys():
    """It cannot be installed everywhere: at least, no key is one that mmengine or DeepSpeed does not know."""
    cfg = Config.fromfile(CONFIGS / 'scene_language/scene-language_r50_stage2-zero2_8xb2-6e_nus-qa-336.py')
    strategy = cfg.strategy.to_dict()
    known = inspect.signature(DeepSpeedStrategy.__init__).parameters
    assert strategy.keys() - {'type'} <= known.keys()
    # https://www.deepspeed.ai/docs/config-json, ZeRO optimizations
    assert strategy['zero_optimization'].keys() <= {
        'stage', 'overlap_comm', 'contiguous_gradients', 'reduce_scatter', 'cpu_offload', 'allgather_bucket_size'}
    assert strategy['zero_optimization']['stage'] == 2
    assert strategy['config'] == dict(torch_autocast=dict(enabled=True, dtype='bfloat16'))
    assert not {'bf16', 'fp16', 'inputs_to_half'} & strategy.keys()  # weights stay float32
    allowed = inspect.signature(ZeroOptimWrapper.__init__).parameters.keys()
    assert cfg.optim_wrapper.keys() - {'type', 'paramwise_cfg', 'constructor'} <= allowed
