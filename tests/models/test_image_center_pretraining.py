"""The image branch taught alone, and a detector that starts from it."""
import numpy as np
import pytest
import torch
from mmdet3d.registry import MODELS
from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes
from mmdet3d.utils import register_all_modules
from mmengine.runner.checkpoint import load_checkpoint
from mmengine.structures import InstanceData

from scene_qformer.models import NonFiniteLossError

register_all_modules(init_default_scope=True)

BRANCH = dict(
    backbone=dict(type='mmdet.ResNet', depth=18, base_channels=4, out_indices=(2, 3), norm_eval=False),
    neck=dict(type='SingleLevelFPN', in_channels=[16, 32], out_channels=12))
PRETRAINING = dict(type='ImageCenterPretraining', center_head=dict(num_classes=3, embed_dims=12), **BRANCH)
DETECTOR = dict(
    type='SceneQFormer',
    positional_encoding=dict(type='Sine2DEncoding', embed_dims=12),
    scene_queries=dict(type='SceneQueries', num_queries=5, embed_dims=12),
    decoder=dict(type='SceneQueryDecoder', num_layers=1, embed_dims=12, feedforward_channels=13,
                 self_attn_cfg=dict(type='GlobalAttention', num_heads=3),
                 cross_attn_cfg=dict(type='GlobalAttention', num_heads=3)),
    **BRANCH)


def build(config):
    torch.manual_seed(0)
    model = MODELS.build(config)
    model.init_weights()
    return model


def one_sample():
    """One camera that looks along the LiDAR frame's x axis, and one object 10 m ahead of it, in the middle."""
    cam2img = np.diag([20., 20., 1., 1.])
    cam2img[:2, 2] = (40, 24)
    lidar2cam = np.array([[0., -1, 0, 0], [0, 0, -1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    box = torch.tensor([[10., 0, -0.5, 2, 2, 1, 0, 0, 0]])
    return Det3DDataSample(
        metainfo=dict(sample_token='here', cam2img=cam2img[None], lidar2cam=lidar2cam[None],
                      lidar2img=(cam2img @ lidar2cam)[None]),
        gt_instances_3d=InstanceData(bboxes_3d=LiDARInstance3DBoxes(box, box_dim=9), labels_3d=torch.tensor([1])))


def imgs():
    return torch.randn(1, 1, 3, 48, 80, generator=torch.Generator().manual_seed(1))


def test_it_learns_where_the_object_is():
    model, sample, course = build(PRETRAINING).train(), one_sample(), []
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(40):
        losses = model(dict(imgs=imgs()), [sample], mode='loss')
        assert set(losses) == {'loss_heatmap', 'loss_offset', 'loss_depth'}
        loss = sum(losses.values())
        course.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        assert all(value.grad is not None for value in model.parameters())
        optimizer.step()
    assert course[-1] < 0.2 * course[0]


def test_a_detector_starts_from_its_checkpoint(tmp_path):
    pretrained, detector = build(PRETRAINING), build(DETECTOR)
    with torch.no_grad():
        for value in pretrained.parameters():
            value.add_(1)
    torch.save(dict(state_dict=pretrained.state_dict()), tmp_path / 'branch.pth')
    load_checkpoint(detector, str(tmp_path / 'branch.pth'))
    for part in ('backbone', 'neck'):
        for name, value in getattr(pretrained, part).state_dict().items():
            assert torch.equal(getattr(detector, part).state_dict()[name], value)


def test_features_are_the_detectors():
    pretrained, detector = build(PRETRAINING).eval(), build(DETECTOR).eval()
    for part in ('backbone', 'neck'):
        getattr(detector, part).load_state_dict(getattr(pretrained, part).state_dict())
    for ours, theirs in zip(pretrained(dict(imgs=imgs()), mode='tensor'), detector.extract_feat(imgs()), strict=True):
        assert ours.shape == (1, 1, 12, 3, 5) and torch.equal(ours, theirs)


def test_nan_stops_and_there_are_no_boxes():
    model = build(PRETRAINING)
    with pytest.raises(NonFiniteLossError, match='here'):
        model(dict(imgs=imgs() * float('nan')), [one_sample()], mode='loss')
    with pytest.raises(RuntimeError, match='no boxes to predict.*load_from'):
        model(dict(imgs=imgs()), [one_sample()], mode='predict')
