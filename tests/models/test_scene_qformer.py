import copy

import pytest
import torch
from mmdet3d.registry import MODELS
from mmdet3d.structures import Det3DDataSample, LiDARInstance3DBoxes
from mmdet3d.utils import register_all_modules
from mmengine.structures import InstanceData

from scene_qformer.models import NonFiniteLossError

register_all_modules(init_default_scope=True)

ATTENTION = dict(type='GlobalAttention', num_heads=3)
TINY = dict(
    type='SceneQFormer',
    backbone=dict(type='mmdet.ResNet', depth=18, base_channels=4, out_indices=(2, 3)),
    neck=dict(type='SingleLevelFPN', in_channels=[16, 32], out_channels=12),
    positional_encoding=dict(
        type='SumEncoding',
        encodings=[
            dict(type='Sine2DEncoding', embed_dims=12),
            dict(type='CameraIDEncoding', embed_dims=12, num_cameras=6)
        ]),
    scene_queries=dict(type='SceneQueries', num_queries=7, embed_dims=12),
    decoder=dict(
        type='SceneQueryDecoder',
        num_layers=2,
        embed_dims=12,
        self_attn_cfg=ATTENTION,
        cross_attn_cfg=ATTENTION,
        feedforward_channels=17),
    projector=dict(type='MLPProjector', in_channels=12, hidden_channels=13, out_channels=19),
    bbox_head=dict(type='SceneDetectionHead', num_classes=3, embed_dims=12),
    data_preprocessor=dict(type='Det3DDataPreprocessor', mean=[10.] * 3, std=[20.] * 3, pad_size_divisor=16))


def build(**changes):
    torch.manual_seed(0)
    model = MODELS.build({**copy.deepcopy(TINY), **changes})
    model.init_weights()
    return model


def images(batch_size=2, num_cameras=3, height=48, width=80):
    return torch.randn(batch_size, num_cameras, 3, height, width, generator=torch.Generator().manual_seed(1))


def samples(batch_size=2):
    boxes = torch.rand(4, 9, generator=torch.Generator().manual_seed(2)) * 3 + 0.5
    return [
        Det3DDataSample(
            metainfo=dict(sample_token=f'token{index}', box_type_3d=LiDARInstance3DBoxes),
            gt_instances_3d=InstanceData(
                bboxes_3d=LiDARInstance3DBoxes(boxes, box_dim=9), labels_3d=torch.tensor([0, 1, 2, 1])))
        for index in range(batch_size)
    ]


@pytest.mark.parametrize(('num_cameras', 'height', 'width'), [(1, 48, 80), (5, 37, 53), (6, 16, 16)])
def test_any_number_of_cameras_and_any_size(num_cameras, height, width):
    assert build().eval()(images(2, num_cameras, height, width)).shape == (2, 7, 19)


def test_tensor_mode_takes_a_tensor_or_the_inputs_dict():
    model = build().eval()
    assert torch.equal(model(images()), model(dict(imgs=images()), mode='tensor'))


def test_without_projector_tokens_are_the_queries():
    assert build(projector=None).eval()(images()).shape == (2, 7, 12)


def test_batched_equals_single():
    model = build().eval()
    batched = model(images())
    assert torch.allclose(batched[1:], model(images()[1:]), atol=1e-5)
    assert not torch.allclose(batched[0], batched[1], atol=1e-3)


def test_camera_order_matters_with_camera_ids():
    model = build().eval()
    assert not torch.allclose(model(images()), model(images().flip(1)), atol=1e-4)


def test_loss_reaches_every_part_that_it_uses():
    model = build().train()
    losses = model(dict(imgs=images()), samples(), mode='loss')
    sum(losses.values()).backward()
    without = {name for name, parameter in model.named_parameters() if parameter.grad is None}
    assert without == {name for name, _ in model.named_parameters() if name.startswith('projector.')}  # tokens only
    # the box branch and each residual branch start with zeros at their end, so their first layers move from the
    # second step on
    still = {name for name, parameter in model.named_parameters()
             if parameter.grad is not None and not parameter.grad.abs().sum()}
    assert {name for name in still if not name.startswith(('bbox_head.reg_branch.', 'backbone.layer'))} == set()


def test_predict_fills_the_samples():
    model = build().eval()
    results = model(dict(imgs=images()), samples(), mode='predict')
    assert [result.sample_token for result in results] == ['token0', 'token1']
    predicted = results[0].pred_instances_3d
    assert set(predicted.keys()) == {'bboxes_3d', 'scores_3d', 'labels_3d'}
    assert len(predicted) == 21 and predicted.bboxes_3d.tensor.shape == (21, 9)


def test_preprocessor_gives_what_the_model_takes():
    model = build()
    raw = torch.randint(0, 256, (5, 3, 37, 53), dtype=torch.uint8)
    data = model.data_preprocessor(dict(inputs=dict(img=[raw, raw]), data_samples=samples()))
    imgs = data['inputs']['imgs']
    assert imgs.shape == (2, 5, 3, 48, 64)
    assert torch.equal(imgs[1, 2, :, :37, :53], (raw[2].float() - 10) / 20)
    assert data['data_samples'][0].pad_shape == (48, 64)


def test_nan_stops_with_the_samples_before_any_update():
    model = build().train()
    broken = images()
    broken[0, 0, 0, 0, 0] = float('nan')
    with pytest.raises(NonFiniteLossError, match='token0, token1'):
        model(dict(imgs=broken), samples(), mode='loss')


def test_modes_that_need_a_head_say_so():
    model = build(bbox_head=None)
    for mode in ('loss', 'predict'):
        with pytest.raises(RuntimeError, match=f"'{mode}' needs a head.*SceneDetectionHead"):
            model(dict(imgs=images()), samples(), mode=mode)


def test_wrong_image_shape_is_explained():
    with pytest.raises(ValueError, match=r'\(B, N, 3, H, W\).*got \(3, 3, 48, 80\)'):
        build()(images()[0])


def test_checkpoint_of_another_shape_is_refused():
    other = build(scene_queries=dict(type='SceneQueries', num_queries=11, embed_dims=12)).state_dict()
    with pytest.raises(ValueError, match=r'2 tensors have another shape(.|\n)*query_embedding.weight: '
                       r'checkpoint \(11, 12\), model \(7, 12\)'):
        build().load_state_dict(other, strict=False)


def test_checkpoint_of_another_model_is_refused():
    with pytest.raises(ValueError, match='holds no weight of this model'):
        build().load_state_dict({'encoder.weight': torch.zeros(3)}, strict=False)


def test_weights_of_another_backbone_are_refused(tmp_path):
    """mmengine's PretrainedInit loads the backbone alone, and would only log that nothing fitted."""
    torch.save({f'encoder_q.{name}': tensor for name, tensor in build().backbone.state_dict().items()},
               tmp_path / 'other.pth')
    backbone = dict(TINY['backbone'], init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'other.pth')))
    with pytest.raises(ValueError, match='none of its .* names occurs in ResNet'):
        build(backbone=backbone)


def test_a_part_may_be_missing_from_a_checkpoint():
    """Stage 2 may start from a checkpoint without a head; what is missing keeps its initial weights."""
    state = {name: tensor + 1 for name, tensor in build().state_dict().items() if not name.startswith('backbone.')}
    model = build()
    model.load_state_dict(state, strict=False)
    assert torch.equal(model.scene_queries.query_embedding.weight, state['scene_queries.query_embedding.weight'])


def test_parts_must_agree_on_the_space():
    denoising = dict(type='QueryDenoising', embed_dims=12, point_cloud_range=(-1., -1., -1., 1., 1., 1.))
    with pytest.raises(ValueError, match=r'different point_cloud_range(.|\n)*bbox_head: (.|\n)*denoising: '):
        build(denoising=denoising)


def test_settings_in_the_wrong_place_are_refused():
    with pytest.raises(ValueError, match='no train_cfg or test_cfg: give assigner'):
        build(train_cfg=dict(assigner=dict(type='mmdet.HungarianAssigner')))


def test_own_checkpoint_loads():
    model = build()
    state = {name: tensor + 1 for name, tensor in model.state_dict().items()}
    model.load_state_dict(state)
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


def test_learned_queries_do_not_see_the_denoising_ones():
    model = build(denoising=dict(type='QueryDenoising', embed_dims=12, num_groups=2)).eval()
    plain = model.decode_queries(images()).queries
    denoising = model.denoising([torch.rand(3, 3), torch.rand(2, 3)])
    joint, points, *_ = model.decode_queries(images(), denoising=denoising)
    assert joint.shape == (2, 2, 6 + 7, 12) and points.shape == (2, 2, 13, 3)
    assert torch.allclose(joint[:, :, 6:], plain, atol=1e-5)


def test_denoising_adds_its_losses_and_nothing_at_test_time():
    model = build(denoising=dict(type='QueryDenoising', embed_dims=12, num_groups=2))
    losses = model.train()(dict(imgs=images()), samples(), mode='loss')
    assert set(losses) == {f'{layer}{kind}{loss}' for layer in ('', 'd0.') for kind in ('', 'dn_')
                           for loss in ('loss_cls', 'loss_bbox')}
    empty = samples()
    for sample in empty:
        sample.gt_instances_3d = sample.gt_instances_3d[:0]
    assert all(loss.isfinite() for loss in model(dict(imgs=images()), empty, mode='loss').values())
    assert model.eval()(images()).shape == (2, 7, 19)


def test_decoders_hear_of_padding_where_there_is_some():
    """One of others need not know the argument, as long as all samples have as many objects."""
    model, seen = build(denoising=dict(type='QueryDenoising', embed_dims=12, num_groups=2)), []
    model.decoder.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs.get('query_padding_mask')), with_kwargs=True)
    even, uneven = samples(), samples()
    uneven[1].gt_instances_3d = uneven[1].gt_instances_3d[:3]
    for data_samples in (even, uneven):
        model(dict(imgs=images()), data_samples, mode='loss')
    assert seen[0] is None and seen[1].sum(dim=1).tolist() == [0, 2]


def test_frozen_parts_rest_and_the_others_learn():
    model = build(frozen_parts=('backbone', 'decoder')).train()
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD([value for value in model.parameters() if value.requires_grad], lr=0.1)
    sum(model(dict(imgs=images()), samples(), mode='loss').values()).backward()
    optimizer.step()
    moved = {name.split('.')[0] for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {'neck', 'positional_encoding', 'scene_queries', 'bbox_head'}  # statistics of BatchNorm among them
    assert not model.backbone.training and not model.decoder.training and model.neck.training


def test_frozen_parts_must_exist():
    with pytest.raises(ValueError, match="frozen_parts names 'bakbone', .* Its parts are .*backbone, neck"):
        build(frozen_parts=['bakbone'])
