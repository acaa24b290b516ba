"""FSDP and DeepSpeed with settings that they do not go with: refused, and it is said why."""
import sys
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import STRATEGIES

from scene_qformer.engine import ShardedStrategy, ZeroStrategy
from tests.engine.test_sharded_strategy import train_adapter
from tests.processes import run_processes
from tests.tools.test_launch_scripts import ROOT

AREA = 'Processes'
STRATEGY_FILES = ROOT / 'configs/_base_/strategies'


@pytest.mark.fault(
    area=AREA, fault='checkpoints of FSDP in pieces are asked for', expected='refused',
    remedy="Leave strategy.state_dict_cfg='full'.")
@pytest.mark.parametrize('given', ['local', 'sharded', None])
def test_checkpoints_in_pieces(given, show):
    with pytest.raises(ValueError, match='writes whole checkpoints') as error:
        ShardedStrategy(state_dict_cfg=given)
    show(str(error.value))


def build_sharded(work_dir, options):
    try:
        train_adapter('fsdp', work_dir, options)
    except ValueError as error:
        return str(error)


@pytest.mark.fault(
    area=AREA, fault='gradients are to be clipped, or losses scaled, in a way that FSDP does not know',
    expected='refused', remedy='Correct optim_wrapper in the config, as the message says.')
@pytest.mark.parametrize(('options', 'message'), [
    (dict(clip_grad=dict(max_norm=1, error_if_nonfinite=False)), 'got error_if_nonfinite, too'),
    (dict(type='AmpOptimWrapper', use_fsdp=False), 'AmpOptimWrapper needs use_fsdp=True')], ids=['clip', 'scaler'])
def test_settings_that_fsdp_does_not_know(options, message, tmp_path, show):
    said = run_processes(2, build_sharded, str(tmp_path), options)
    assert said[0] == said[1] and message in said[0]
    show(said[0])


def build_muon(work_dir):
    strategy = ShardedStrategy(work_dir=work_dir)
    try:
        strategy.prepare(torch.nn.Linear(3, 5), optim_wrapper=dict(
            type='OptimWrapper', constructor='MuonOptimWrapperConstructor', optimizer=dict(type='MuonAdamW', lr=1e-3)))
    except ValueError as error:
        return str(error)


@pytest.mark.fault(
    area=AREA, fault='an optimizer that needs whole matrices, under FSDP', expected='refused',
    remedy='Take AdamW, or train without `strategy`.')
def test_muon_in_pieces(tmp_path, show):
    said = run_processes(2, build_muon, str(tmp_path))
    assert said[0] == said[1] and said[0].startswith('MuonAdamW needs whole matrices')
    show(said[0])


@pytest.mark.fault(
    area=AREA, fault='DeepSpeed is not installed', expected='said', remedy='pip install deepspeed, or take fsdp.py.')
def test_no_deepspeed(show):
    pytest.importorskip('mmengine._strategy.deepspeed')
    if 'deepspeed' in sys.modules:
        pytest.skip('DeepSpeed is installed here')
    with pytest.raises(AssertionError, match='DeepSpeed is not installed') as error:
        STRATEGIES.build(Config.fromfile(STRATEGY_FILES / 'deepspeed_zero2.py').strategy)
    show(str(error.value))


@pytest.mark.fault(
    area=AREA, fault='stage 3 of DeepSpeed is to begin from the weights in a file', expected='refused',
    remedy='Begin with zero_optimization.stage=2.')
def test_whole_weights_for_pieces(tmp_path, show):
    (tmp_path / 'stage_1.pth').write_bytes(b'never read')
    strategy = ZeroStrategy.__new__(ZeroStrategy)
    strategy.model = SimpleNamespace(model=SimpleNamespace(zero_optimization_partition_weights=lambda: True))
    with pytest.raises(ValueError, match='holds whole weights, and in stage 3 of ZeRO') as error:
        strategy.load_checkpoint(str(tmp_path / 'stage_1.pth'))
    show(str(error.value))
