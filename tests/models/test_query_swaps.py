"""Scene queries are chosen by one dict of the default config: every member trains a step."""
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet3d.registry import MODELS
from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes
from mmdet3d.utils import register_all_modules
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.structures import InstanceData
from two_cameras import cameras

register_all_modules(init_default_scope=True)

DEFAULT = Path(__file__).parents[2] / 'configs' / 'scene_qformer' / 'scene-qformer_r50_8xb4-24e_nus-336.py'
SMALL = {
    'model.backbone': dict(_delete_=True, type='mmdet.ResNet', depth=18, base_channels=4, out_indices=(2, 3)),
    'model.neck.in_channels': [16, 32],
    'model.decoder.num_layers': 2,
    'model.decoder.feedforward_channels': 64,
    'model.projector.out_channels': 19,
}
FEW = dict(type='SceneQueries', num_queries=16)
QUERIES = dict(
    unified=dict(num_queries=23),
    few=dict(num_queries=16),
    groups=dict(
        _delete_=True, type='GroupedSceneQueries', blind=dict(det=['ego']),
        groups=dict(det=dict(num_queries=13), ego=dict(num_queries=1), map=dict(num_queries=7))),
    adaptive=dict(type='AdaptiveSceneQueries', num_queries=16),
    selected=dict(
        type='SelectedSceneQueries', num_queries=16, positional_encoding=dict(type='CameraIDEncoding', num_cameras=2)),
    proposals=dict(type='ProposalQueries', num_queries=16, num_proposals=11),
    multi_granularity=dict(
        _delete_=True, type='GroupedSceneQueries',
        groups=dict(whole=dict(num_queries=7), local=dict(type='CameraGridQueries', grid=(2, 3), num_cameras=2))),
    residual=dict(_delete_=True, type='ResidualSceneQueries', queries=FEW),
    residual_of_groups=dict(
        _delete_=True, type='ResidualSceneQueries',
        queries=dict(
            type='GroupedSceneQueries', groups=dict(a=FEW, b=dict(type='AdaptiveSceneQueries', num_queries=5)))),
)


def samples():
    boxes = torch.rand(3, 9, generator=torch.Generator().manual_seed(2)) * 20 + 0.5
    boxes[0, :3] = torch.tensor([10., 1., -boxes[0, 5] / 2])  # centred before the first camera
    return [
        Det3DDataSample(
            metainfo=dict(sample_token=str(index), box_type_3d=LiDARInstance3DBoxes, **{
                name: np.asarray(matrices[0]) for name, matrices in cameras().items() if name != 'image_size'}),
            gt_instances_3d=InstanceData(
                bboxes_3d=LiDARInstance3DBoxes(boxes, box_dim=9), labels_3d=torch.tensor([0, 4, 9])))
        for index in range(2)
    ]


def config(name):
    cfg = Config.fromfile(DEFAULT)
    cfg.merge_from_dict(SMALL)
    cfg.merge_from_dict({'model.scene_queries': QUERIES[name]})
    return cfg


@pytest.mark.parametrize('name', QUERIES)
def test_trains_a_step_by_changing_one_dict(name):
    cfg = config(name)
    model = MODELS.build(cfg.model)
    model.init_weights()
    queries = model.scene_queries
    for parameter_name, parameter in queries.named_parameters():
        if parameter_name.endswith(('gate', 'attention.attn.out_proj.weight')):
            torch.nn.init.normal_(parameter, std=0.1)  # these start at zero and let no gradient through at first
    before = {key: value.clone() for key, value in queries.named_parameters()}
    optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    inputs = dict(imgs=torch.randn(2, 2, 3, 48, 64))

    losses = model.train()(inputs, samples(), mode='loss')
    loss, _ = model.parse_losses(losses)
    optim_wrapper.backward(loss)
    without = {key for key, value in queries.named_parameters() if value.grad is None or not value.grad.any()}
    assert without == set()
    optim_wrapper.step()
    assert not any(torch.equal(value, before[key]) for key, value in queries.named_parameters())

    with torch.no_grad():
        tokens = model.eval()(inputs, samples())
        assert tokens.shape == (2, getattr(queries, 'num_tokens', queries.num_queries), 19)
        assert len(model(inputs, samples(), mode='predict')[0].pred_instances_3d) > 0


@pytest.mark.parametrize('name', QUERIES)
def test_half_precision(name):
    model = MODELS.build(config(name).model)
    model.init_weights()
    inputs, data_samples = dict(imgs=torch.randn(2, 2, 3, 48, 64)), samples()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        losses = model.train()(inputs, data_samples, mode='loss')
    sum(losses.values()).backward()
    gradients = [parameter.grad for parameter in model.scene_queries.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
