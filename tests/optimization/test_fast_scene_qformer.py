"""Tokens and boxes of the whole optimised model beside those of its twin."""
import copy

import numpy as np
import pytest
import torch
from small_models import KINDS, C, build, images, relative_error, samples

from scene_qformer.optimization import optimize_model

# Norm of the difference over the norm, of tokens. Twice what these narrow random networks were seen to give: bfloat16
# has 8 bits of mantissa, INT8 rounds activations to 8 bits of their range. Trained networks: docs/fast_inference.md.
BOUNDS = {'float32': 1e-5, 'bfloat16': 0.05, 'int8': 0.2}
SIZES = [(1, 1, 37, 53), (2, 3, 48, 80), (1, 2, 64, 33)]
OWN_KEYS = ('proposals, deformable', 'joint encoder', "mmcv's attention", 'patches, no decoder')  # not merged
ALWAYS = {'fold_batch_norm', 'keep_constants'}


def tokens(model, imgs):
    with torch.no_grad():
        return model(dict(imgs=imgs), samples(imgs), mode='tensor')


@pytest.mark.parametrize('kind', list(KINDS))
def test_float32_equals_the_twin(kind):
    twin = build(kind)
    fast = optimize_model(twin, dict(precision='float32'))
    assert set(fast.applied) - {'merge_keys_values'} == ALWAYS | {'channels_last'}
    assert ('merge_keys_values' in fast.applied) == (kind not in OWN_KEYS)
    for number, size in enumerate(SIZES):
        imgs = images(*size, seed=number)
        assert relative_error(tokens(fast, imgs), tokens(twin, imgs)) < BOUNDS['float32']


@pytest.mark.parametrize('kind', ['learned, global', 'two levels', 'rays, no projector', 'joint encoder'])
def test_bfloat16_is_near_the_twin(kind):
    twin = build(kind)
    fast = optimize_model(twin, dict(precision='bfloat16'))
    for number, size in enumerate(SIZES):
        imgs = images(*size, seed=number)
        got, expected = tokens(fast, imgs), tokens(twin, imgs)
        assert got.dtype == torch.float32
        assert 1e-5 < relative_error(got, expected) < BOUNDS['bfloat16']


@pytest.mark.parametrize('kind', ['proposals, global, refined', 'proposals, deformable'])
def test_bfloat16_from_the_same_proposals(kind):
    """Rounded features may rank nearly equal peaks in another order, which is another order of tokens: given here."""
    twin = build(kind)
    fast = optimize_model(twin, dict(precision='bfloat16'))
    chosen = []
    twin.scene_queries.register_forward_hook(lambda module, inputs, query_set: chosen.append(query_set))
    fast.scene_queries.forward = lambda img_feats, cameras: chosen[-1]
    for number, size in enumerate(SIZES):
        imgs = images(*size, seed=number)
        expected = tokens(twin, imgs)
        assert 1e-5 < relative_error(tokens(fast, imgs), expected) < BOUNDS['bfloat16']


def test_int8_is_near_the_twin():
    pytest.importorskip('onnxruntime')
    twin = build('two levels')
    fast = optimize_model(twin, dict(precision='int8'), [images(seed=seed) for seed in range(7, 10)])
    assert 'int8' in fast.applied and 'channels_last' not in fast.applied
    for number, size in enumerate(SIZES):
        imgs = images(*size, seed=number)
        assert 1e-5 < relative_error(tokens(fast, imgs), tokens(twin, imgs)) < BOUNDS['int8']


@pytest.mark.parametrize('switch', ['fold_batch_norm', 'channels_last', 'merge_keys_values', 'keep_constants'])
def test_each_switch_alone(switch):
    twin, imgs = build(), images(2)
    others = dict.fromkeys(['fold_batch_norm', 'channels_last', 'merge_keys_values', 'keep_constants'], False)
    fast = optimize_model(twin, {**others, 'precision': 'float32', switch: True})
    assert fast.applied == (switch, )
    assert relative_error(tokens(fast, imgs), tokens(twin, imgs)) < BOUNDS['float32']


def test_all_off_is_the_twin():
    """Up to the memory's layout, which decides in which order numbers are added."""
    twin, imgs = build(), images(2)
    off = dict.fromkeys(['fold_batch_norm', 'channels_last', 'merge_keys_values', 'keep_constants'], False)
    fast = optimize_model(twin, {**off, 'precision': 'float32'})
    assert fast.applied == () and relative_error(tokens(fast, imgs), tokens(twin, imgs)) < BOUNDS['float32']
    assert optimize_model(twin, False) is twin


def test_tokens_follow_images_and_calibration():
    """Nothing that changes is kept between calls."""
    twin = build('proposals, deformable')
    fast = optimize_model(twin, dict(precision='float32'))
    first, second = images(seed=1), images(seed=2)
    tokens(fast, first)
    assert relative_error(tokens(fast, second), tokens(twin, second)) < BOUNDS['float32']
    turned = samples(second)
    for sample in turned:
        sample.set_metainfo({name: sample.metainfo[name][::-1].copy() for name in ('lidar2img', 'lidar2cam')})
    with torch.no_grad():
        got, expected = (model(dict(imgs=second), turned, mode='tensor') for model in (fast, twin))
    assert relative_error(got, expected) < BOUNDS['float32'] < relative_error(got, tokens(twin, second))


@pytest.mark.parametrize('kind', ['learned, global', 'proposals, global, refined', 'proposals, deformable'])
def test_boxes_equal_the_twins(kind):
    twin, imgs = build(kind), images(2)
    fast = optimize_model(twin, dict(precision='float32'))
    with torch.inference_mode():
        for got, expected in zip(*(model(dict(imgs=imgs), samples(imgs), mode='predict') for model in (fast, twin))):
            got, expected = got.pred_instances_3d, expected.pred_instances_3d
            torch.testing.assert_close(got.scores_3d, expected.scores_3d, rtol=0, atol=1e-5)
            torch.testing.assert_close(got.bboxes_3d.tensor, expected.bboxes_3d.tensor, rtol=0, atol=1e-3)


def test_groups_that_are_tokens_are_chosen():
    twin, imgs = build('groups, masked'), images()
    fast = optimize_model(twin, dict(precision='float32'))
    assert tokens(fast, imgs).shape == (1, 7, 19)
    with torch.no_grad():
        decoded = fast.decode_queries(imgs, [sample.metainfo for sample in samples(imgs)])
    assert decoded.queries.shape == (1, 1, 12, C) and decoded.query_set.group('map') == slice(5, 12)


def test_the_twin_is_untouched_and_trains():
    twin = build().train()
    before = copy.deepcopy(twin.state_dict())
    fast = optimize_model(twin, dict(precision='bfloat16'))
    tokens(fast, images())
    assert twin.training and not fast.training
    assert all(parameter.requires_grad for name, parameter in twin.named_parameters() if 'backbone' not in name)
    after = twin.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(after[name], value) for name, value in before.items())
    twin(images()).sum().backward()
    assert twin.decoder.layers[0].cross_attn.attn.in_proj_weight.grad.abs().sum() > 0
    build(seed=5).load_state_dict(before)  # a checkpoint has the names that it always had


def test_training_is_refused():
    fast = optimize_model(build(), dict(precision='float32'))
    fast.eval()
    imgs = images()
    for call in (fast.train, lambda: fast.loss(dict(imgs=imgs), samples(imgs)), lambda: fast.load_state_dict({})):
        with pytest.raises(RuntimeError, match='optimised for inference is not possible.*Take the SceneQFormer'):
            call()


@pytest.mark.parametrize('move', [
    lambda model: model.to('cpu'), lambda model: model.to(torch.float16), lambda model: model.half(),
    lambda model: model.cpu(), lambda model: model.cuda(), lambda model: model.double(),
    lambda model: torch.nn.Sequential(model).bfloat16()])
def test_to_move_or_cast_is_refused(move):
    """What is kept, and graphs, would lie on the old device; and nothing has moved when it is refused."""
    fast, imgs = optimize_model(build(), dict(precision='float32')), images()
    expected, device = tokens(fast, imgs), fast.data_preprocessor.device
    with pytest.raises(RuntimeError, match='To move or cast a model that was optimised.*Take the SceneQFormer'):
        move(fast)
    assert fast.data_preprocessor.device == device
    assert fast.eval() is fast and torch.equal(tokens(fast, imgs), expected)


class OneWord(torch.nn.Module):
    """A language model whose word is a number; it drops out in training."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(19))
        self.dropout = torch.nn.Dropout(0.5)

    def loss(self, scene_tokens, batch_text):
        return dict(loss_text=(self.dropout(scene_tokens) * self.weight).mean())

    def generate(self, scene_tokens, batch_text):
        return [[f'{float(tokens.detach().mean()):.3f}'] for tokens in scene_tokens]


def test_the_language_model_is_shared_and_trains_in_the_twin():
    twin = build()
    twin.language_model = OneWord()
    twin.train()
    fast, imgs = optimize_model(twin, dict(precision='float32')), images(2)
    fast.eval().requires_grad_(False)
    assert fast.language_model is twin.language_model
    assert twin.language_model.training and twin.language_model.dropout.training
    assert twin.language_model.weight.requires_grad and twin.projector is not fast.projector
    twin.eval()
    asked = [samples(imgs), samples(imgs)]
    for sample in (*asked[0], *asked[1]):
        sample.gt_text = [dict(id='a', type='x', turns=[('?', '!')])]
    with torch.inference_mode():
        got, expected = (model(dict(imgs=imgs), data, mode='predict') for model, data in zip((fast, twin), asked))
    assert [sample.pred_text for sample in got] == [sample.pred_text for sample in expected]
    assert len({sample.pred_text[0] for sample in got}) == 2

    twin.train().language_model.loss(twin(imgs), None)['loss_text'].backward()
    assert twin.language_model.weight.grad.abs().sum() > 0


def without_camera(imgs, index=1):
    masked = samples(imgs)
    masked[-1].set_metainfo(dict(camera_mask=np.arange(imgs.shape[1]) != index))
    return masked


def same(got, expected):
    """In float32; a copy's weights lie elsewhere, and are added in another order."""
    assert relative_error(got, expected) < 1e-6


@pytest.mark.parametrize('kind', ['learned, global', 'proposals, deformable'])
def test_frames_without_a_camera_go_through_the_twin(kind):
    twin, imgs = build(kind).train(), images(2)
    fast = optimize_model(twin, dict(precision='bfloat16', missing_cameras=True))
    assert twin.training
    twin.eval()
    with torch.no_grad():
        expected = twin(dict(imgs=imgs), without_camera(imgs), mode='tensor')
        same(fast(dict(imgs=imgs), without_camera(imgs), mode='tensor'), expected)
        metas = [sample.metainfo for sample in without_camera(imgs)]
        same(fast.decode_queries(imgs, metas).queries, twin.decode_queries(imgs, metas).queries)
        for got, wanted in zip(*(model(dict(imgs=imgs), without_camera(imgs), mode='predict')
                                 for model in (fast, twin)), strict=True):
            same(got.pred_instances_3d.bboxes_3d.tensor, wanted.pred_instances_3d.bboxes_3d.tensor)
        whole = samples(imgs)
        for sample in whole:
            sample.set_metainfo(dict(camera_mask=np.ones(2, dtype=bool)))
        got, wanted = (model(dict(imgs=imgs), whole, mode='tensor') for model in (fast, twin))
        assert relative_error(got, wanted) > 1e-4  # the fast way, rounded
    assert fast.state_dict().keys() == optimize_model(twin, dict(precision='bfloat16')).state_dict().keys()
    next(twin.projector.parameters()).data.zero_()  # it keeps a copy
    same(fast(dict(imgs=imgs), without_camera(imgs), mode='tensor'), expected)


def test_the_language_model_reads_frames_without_a_camera():
    twin, imgs = build(), images(2)
    twin.language_model = OneWord().train()
    fast = optimize_model(twin, dict(precision='bfloat16', missing_cameras=True))
    assert twin.language_model.training and twin.language_model.weight.requires_grad
    asked = [without_camera(imgs), without_camera(imgs)]
    for sample in (*asked[0], *asked[1]):
        sample.gt_text = [dict(id='a', type='x', turns=[('?', '!')])]
    got, expected = (model(dict(imgs=imgs), data, mode='predict') for model, data in zip((fast, twin), asked))
    assert [sample.pred_text for sample in got] == [sample.pred_text for sample in expected]


def test_frames_without_a_camera_are_refused():
    fast, imgs = optimize_model(build(), dict(precision='float32')), images(2)
    for mode in ('tensor', 'predict'):
        with pytest.raises(ValueError, match=r'here one is missing.*optimize=dict\(missing_cameras=True'):
            fast(dict(imgs=imgs), without_camera(imgs), mode=mode)


def test_only_a_scene_qformer_once():
    fast = optimize_model(build(), dict(precision='float32'))
    with pytest.raises(TypeError, match='Only a SceneQFormer can be optimised, got FastSceneQFormer'):
        optimize_model(fast)


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['learned, global', 'proposals, deformable'])
def test_compiled_equals_the_twin(kind):
    twin, imgs = build(kind), images(2)
    fast = optimize_model(twin, dict(precision='float32', capture='compile'))
    assert 'compile' in fast.applied
    for _ in range(2):
        assert relative_error(tokens(fast, imgs), tokens(twin, imgs)) < BOUNDS['float32']
