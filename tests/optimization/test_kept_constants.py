import torch
from small_models import KINDS, build, images

from scene_qformer.models.surround_memory import flatten_memory, stack_cameras
from scene_qformer.optimization.kept_constants import Kept, KeptEncoding
from scene_qformer.optimization.memory_layout import StaticShapes, lay_out_memory
from scene_qformer.random_batch import camera_ring


def feats(kind, imgs):
    model = build(kind)
    with torch.no_grad():
        return model, model.extract_feat(imgs)


def test_codes_equal_the_twins_and_follow_shapes():
    for kind in ('learned, global', 'rays, no projector'):
        fast = None
        for number, size in enumerate([(37, 53), (48, 80), (37, 53)]):
            imgs = images(2, 3, *size, seed=number)
            model, levels = feats(kind, imgs)
            # another calibration each time: rays must not be kept
            rig = {name: matrices * (1 + 0.01 * number) if name == 'cam2img' else matrices
                   for name, matrices in camera_ring(3, (53, 37)).items()}
            cameras = stack_cameras([rig, rig], imgs)
            twin = model.positional_encoding
            fast = fast or KeptEncoding(twin)
            for expected, got in zip(twin(levels, cameras), fast(levels, cameras), strict=True):
                torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)


def test_computed_once():
    imgs = images()
    model, levels = feats('learned, global', imgs)
    fast, calls = KeptEncoding(model.positional_encoding), []
    fast.constant[0].register_forward_hook(lambda *args: calls.append(args))
    with torch.inference_mode():
        first = fast(levels, {})
    second = fast(levels, {})
    assert first[0] is second[0] and len(calls) == 1
    assert not first[0].is_inference() and not first[0].requires_grad
    fast([level.double() for level in levels], {})
    assert len(calls) == 2


def test_kept_by_key():
    kept = Kept()
    assert [kept.get(key, lambda key=key: [key]) for key in (1, 2, 1)] == [[1], [2], [1]]
    assert kept.get(1, lambda: 'not called') == [1]


def test_memory_is_laid_out_as_by_the_twin():
    assert 'two levels' in KINDS
    for size in ((48, 80), (37, 53)):
        imgs = images(2, 3, *size)
        model, levels = feats('two levels', imgs)
        shapes = StaticShapes()
        codes = model.positional_encoding(levels, {})
        expected, got = flatten_memory(levels, codes), lay_out_memory(levels, codes, shapes)
        assert expected.keys() == got.keys()
        assert got.pop('level_shapes') == expected.pop('level_shapes') == tuple(level.shape[-2:] for level in levels)
        assert all(torch.equal(got[name], expected[name]) and got[name].dtype == expected[name].dtype for name in got)
        value_only = lay_out_memory(levels, codes, shapes, value_only=True)
        assert value_only.keys() - {'level_shapes'} == got.keys() - {'key', 'key_pos'}
        assert torch.equal(value_only['value'], expected['value'])
        assert value_only['spatial_shapes'] is got['spatial_shapes']
        assert torch.equal(shapes.image_size(imgs), stack_cameras(None, imgs)['image_size'])
