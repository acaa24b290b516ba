"""Tokens of a frame that comes as files, arrays, devkit sample or info dict: those of the tools, bit by bit."""
from __future__ import annotations

import ast
import inspect
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate

from scene_qformer import SceneTokenizer
from scene_qformer.datasets import NUSCENES_CAMERAS
from scene_qformer.datasets.nuscenes_infos import open_nuscenes
from scene_qformer.token_extraction import build_split, compute_tokens, load_encoder
from tests.small_encoder import LLM_WIDTH, NUM_QUERIES, SmallEncoder, make_small_encoder


@pytest.fixture(scope='module')
def encoder(tmp_path_factory: pytest.TempPathFactory) -> SmallEncoder:
    return make_small_encoder(tmp_path_factory.mktemp('encoder'))


@pytest.fixture(scope='module')
def tokenizer(encoder: SmallEncoder) -> SceneTokenizer:
    return SceneTokenizer(encoder.config, encoder.checkpoint)


@pytest.fixture(scope='module')
def dataset(encoder: SmallEncoder):
    return build_split(encoder.cfg, 'val')


@pytest.fixture(scope='module')
def expected(encoder: SmallEncoder, dataset) -> list[torch.Tensor]:
    """As tools/extract_tokens.py computes them."""
    model = load_encoder(encoder.cfg, encoder.checkpoint)
    return [compute_tokens(model, pseudo_collate([dataset[index]]))[0] for index in range(2)]


@pytest.fixture
def info(dataset) -> dict:
    return dataset.get_data_info(1)


@pytest.fixture
def files(info: dict) -> list[str]:
    return [info['images'][name]['img_path'] for name in NUSCENES_CAMERAS]


@pytest.fixture
def arrays(info: dict) -> dict:
    cameras = [info['images'][name] for name in NUSCENES_CAMERAS]
    return dict(cam2img=np.array([camera['cam2img'] for camera in cameras]),
                lidar2cam=np.array([camera['lidar2cam'] for camera in cameras]))


def same(tokens: torch.Tensor, expected: torch.Tensor) -> None:
    assert tokens.shape == (NUM_QUERIES, LLM_WIDTH) and tokens.dtype == torch.float32
    torch.testing.assert_close(tokens, expected, rtol=0, atol=0)


def test_frames_differ(expected):
    assert (expected[0] - expected[1]).abs().max() > 1e-4


def test_info_dict(tokenizer, expected, info):
    same(tokenizer(None, info), expected[1])
    same(tokenizer(None, info['images']), expected[1])


def test_files_as_a_list_and_by_name(tokenizer, expected, info, files, arrays):
    same(tokenizer(files, info), expected[1])
    same(tokenizer([Path(file) for file in files], arrays), expected[1])
    by_name = dict(reversed(list(zip(NUSCENES_CAMERAS, files))), CAM_ROOF='not read')
    same(tokenizer(by_name, arrays), expected[1])


def test_devkit_sample(tokenizer, expected, encoder, info):
    nusc = open_nuscenes(encoder.root, 'v1.0-mini')
    same(tokenizer(None, (nusc, info['token'])), expected[1])
    with pytest.raises(ValueError, match="has no sample 'no-such-sample'"):
        tokenizer(None, (nusc, 'no-such-sample'))


def test_arrays_in_rgb_and_bgr(tokenizer, encoder, expected, files, arrays):
    """Images of 296x184 are not decoded at a part of their size for 224x126, so files and arrays are the same."""
    bgr = [cv2.imread(file) for file in files]
    before = [image.copy() for image in bgr]
    same(tokenizer([image[..., ::-1] for image in bgr], arrays), expected[1])
    other = SceneTokenizer(encoder.cfg, encoder.checkpoint, channel_order='bgr')
    same(other(dict(zip(NUSCENES_CAMERAS, bgr)), dict(arrays, image_size=(296, 184))), expected[1])
    assert all(image.flags.writeable and np.array_equal(image, old) for image, old in zip(bgr, before))
    assert not torch.equal(tokenizer(bgr, arrays), expected[1])  # colours swapped


def test_matrices_of_any_shape(tokenizer, expected, files, arrays):
    intrinsics = np.tile(np.eye(4), (6, 1, 1))
    intrinsics[:, :3, :3] = arrays['cam2img']
    cameras = dict(cam2img=torch.from_numpy(intrinsics), lidar2cam=arrays['lidar2cam'][:, :3])
    same(tokenizer(files, cameras), expected[1])


def test_calibration_matters(tokenizer, expected, files, arrays):
    arrays['cam2img'][2, 0, 0] *= 1.3
    assert not torch.equal(tokenizer(files, arrays), expected[1])


def test_a_batch(tokenizer, expected, dataset):
    infos = [dataset.get_data_info(index) for index in range(2)]
    tokens = tokenizer(None, infos)
    assert tokens.shape == (2, NUM_QUERIES, LLM_WIDTH)
    torch.testing.assert_close(tokens, torch.stack(expected), rtol=0, atol=1e-5)  # sums run in another order
    images = [[info['images'][name]['img_path'] for name in NUSCENES_CAMERAS] for info in infos]
    torch.testing.assert_close(tokenizer(images, infos), tokens, rtol=0, atol=0)
    with pytest.raises(ValueError, match='got 2 of cameras and 1 of images'):
        tokenizer(images[:1], infos)


def test_a_file_that_changes_is_read_anew(tokenizer, files, arrays, tmp_path):
    """The config's loader keeps images in memory; a tokenizer must not."""
    first = tmp_path / 'front.png'
    cv2.imwrite(str(first), cv2.imread(files[0]))
    before = tokenizer([first, *files[1:]], arrays)
    cv2.imwrite(str(first), 255 - cv2.imread(files[0]))
    assert not torch.equal(tokenizer([first, *files[1:]], arrays), before)


def test_where_files_are_decoded_at_half_size(encoder, info, files, arrays):
    """Their contents give the same tokens, and arrays nearly the same."""
    cfg = encoder.cfg
    cfg.test_dataloader.dataset.pipeline[:2] = [dict(type='LoadSurroundImages', size=(112, 64))]
    tokenizer = SceneTokenizer(cfg, encoder.checkpoint)
    from_files = tokenizer(None, info)
    same(tokenizer([Path(file).read_bytes() for file in files], arrays), from_files)
    from_arrays = tokenizer([cv2.imread(file)[..., ::-1] for file in files], arrays)
    assert not torch.equal(from_files, from_arrays)
    differences = (from_files - from_arrays).norm(dim=-1) / from_files.norm(dim=-1)
    assert differences.median() < 0.05  # not the largest: where proposals trade places, so do tokens


def test_contents_of_files_are_checked_as_files_are(tokenizer, files, arrays):
    content = Path(files[2]).read_bytes()
    for wrong, message in ((content[:-500], 'camera CAM_FRONT_LEFT of sample in_memory. is truncated'),
                           (b'no image', 'Cannot decode .*CAM_FRONT_LEFT')):
        with pytest.raises(ValueError, match=message):
            tokenizer([*files[:2], wrong, *files[3:]], arrays)


def test_missing_cameras_are_named(tokenizer, info, files, arrays):
    with pytest.raises(ValueError, match='no image of CAM_BACK, .*: the model reads CAM_FRONT, .*there are CAM_FRONT'):
        tokenizer(dict(zip(NUSCENES_CAMERAS[:3], files)), arrays)
    with pytest.raises(ValueError, match='Expected 6 images, of CAM_FRONT, .* in this order; got 5'):
        tokenizer(files[:5], arrays)
    del info['images']['CAM_BACK_LEFT']
    with pytest.raises(ValueError, match='calibration lacks CAM_BACK_LEFT: the model reads .* and it has CAM_FRONT, '):
        tokenizer(files, info)


def test_missing_calibration_is_named(tokenizer, info, files, arrays):
    with pytest.raises(ValueError, match='calibration has cam2img, but lacks lidar2cam'):
        tokenizer(files, dict(cam2img=arrays['cam2img']))
    del info['images']['CAM_BACK_LEFT']['cam2img']
    with pytest.raises(ValueError, match='calibration of CAM_BACK_LEFT lacks cam2img; it has img_path'):
        tokenizer(files, info)
    with pytest.raises(ValueError, match='no images: none were given, and the cameras name no file of CAM_FRONT'):
        tokenizer(None, arrays)
    with pytest.raises(TypeError, match=r'Expected cameras as \(nusc, sample_token\).*got NoneType'):
        tokenizer(files, None)
    with pytest.raises(TypeError, match='got tuple of dict, dict. A batch is a list of them, not a tuple'):
        tokenizer(None, (info, info))


def test_wrong_shapes_are_named(tokenizer, info, files, arrays):
    with pytest.raises(ValueError, match=r'Expected cam2img of shape \(6, 3, 3\) or .*got \(5, 3, 3\)'):
        tokenizer(files, dict(arrays, cam2img=arrays['cam2img'][:5]))
    with pytest.raises(ValueError, match=r'Expected lidar2cam of shape \(6, 3, 4\) or \(6, 4, 4\).*got \(6, 3, 3\)'):
        tokenizer(files, dict(arrays, lidar2cam=arrays['lidar2cam'][:, :3, :3]))
    info['images']['CAM_BACK']['lidar2cam'] = np.eye(3)
    with pytest.raises(ValueError, match=r'Expected lidar2cam of CAM_BACK as one of \(3, 4\), \(4, 4\), got \(3, 3\)'):
        tokenizer(files, info)
    arrays['cam2img'][4, 0] = 0
    with pytest.raises(ValueError, match='Expected an invertible cam2img of CAM_BACK_LEFT'):
        tokenizer(files, arrays)


def test_wrong_images_are_named(tokenizer, files, arrays):
    images = [cv2.imread(file) for file in files]
    for wrong, message in ((images[3] / 255, r'CAM_BACK as uint8 \(H, W, 3\), got float64 \(184, 296, 3\)'),
                           (images[3][..., 0], r'CAM_BACK as uint8 \(H, W, 3\), got uint8 \(184, 296\)')):
        with pytest.raises(ValueError, match=message):
            tokenizer([*images[:3], wrong, *images[4:]], arrays)
    with pytest.raises(TypeError, match='image of CAM_FRONT as a file, bytes of one, or a NumPy array, got Tensor'):
        tokenizer([torch.zeros(3, 184, 296), *images[1:]], arrays)
    with pytest.raises(TypeError, match='Expected images as a dict by camera name, or as a list; got str'):
        tokenizer(files[0], arrays)
    with pytest.raises(FileNotFoundError, match='no image file nowhere.jpg .camera CAM_FRONT of sample in_memory'):
        tokenizer(['nowhere.jpg', *files[1:]], arrays)


def test_images_of_another_size_than_the_calibration_is_for(tokenizer, encoder, info, files, arrays, tmp_path):
    half = [cv2.resize(cv2.imread(file), None, fx=0.5, fy=0.5) for file in files]
    with pytest.raises(ValueError, match=r'CAM_FRONT is 148x92, but the principal point .* is at \(151.0, 87.0\)'):
        tokenizer(half, arrays)
    with pytest.raises(ValueError, match='CAM_FRONT is 148x92, but its calibration is for 296x184'):
        tokenizer(half, dict(arrays, image_size=(296, 184)))
    doubled = [cv2.resize(cv2.imread(file), None, fx=2, fy=2) for file in files]
    with pytest.raises(ValueError, match='CAM_FRONT is 592x368, but the principal point'):
        tokenizer(doubled, arrays)
    small = tmp_path / 'small.jpg'
    cv2.imwrite(str(small), half[0])
    nusc = open_nuscenes(encoder.root, 'v1.0-mini')
    with pytest.raises(ValueError, match='CAM_FRONT is 148x92, but its calibration is for 296x184'):
        tokenizer([small, *files[1:]], (nusc, info['token']))
    arrays['cam2img'][0, 0, 2] += 100  # a crop: far from the middle, and meant so
    tokenizer(files, dict(arrays, image_size=(296, 184)))


def test_wrong_models_and_settings_are_refused(encoder, files, arrays):
    with pytest.raises(ValueError, match="Expected channel_order 'rgb' or 'bgr', got 'grey'"):
        SceneTokenizer(encoder.config, encoder.checkpoint, channel_order='grey')(files, arrays)
    cfg = encoder.cfg
    cfg.test_dataloader.dataset.pipeline[0] = dict(type='LoadMultiViewImageFromFiles')
    with pytest.raises(ValueError, match='begins with another loader than LoadSurroundImages'):
        SceneTokenizer(cfg, encoder.checkpoint)([cv2.imread(file) for file in files], arrays)


@pytest.mark.parametrize('without', [(), ('out_channels', )])  # whose width then is the language model's, as in recipes
def test_a_language_model_is_not_needed(encoder, info, expected, without):
    cfg = encoder.cfg
    cfg.model.language_model = dict(type='ModelThatIsNotThere')
    for key in without:
        del cfg.model.projector[key]
    same(SceneTokenizer(cfg, encoder.checkpoint)(None, info), expected[1])
    assert cfg.model.language_model.type == 'ModelThatIsNotThere'  # the caller's config stays as it is
    assert 'out_channels' not in cfg.model.projector or not without


def test_tokens_can_be_trained_on(tokenizer, info):
    tokens = tokenizer(None, info)
    assert not tokens.is_inference() and not tokens.requires_grad
    reader = torch.nn.Linear(LLM_WIDTH, 3)
    reader(tokens).sum().backward()  # which keeps the tokens: forbidden for those of torch.inference_mode
    torch.testing.assert_close(reader.weight.grad, tokens.sum(0).expand(3, -1))


def test_a_checkpoint_without_the_encoder_is_refused(encoder, tmp_path):
    """As of ImageCenterPretraining, which has a backbone but no decoder, and of a TokenReader."""
    weights = torch.load(encoder.checkpoint)['state_dict']
    for parts, message in ((('backbone.', 'neck.'), 'lacks .* weights of .*decoder.*such as .*it has backbone, neck'),
                           (('projector.', ), 'lacks .* weights of backbone, .*it has projector.*join_checkpoints.py')):
        torch.save(dict(state_dict={name: value for name, value in weights.items() if name.startswith(parts)}),
                   tmp_path / 'part.pth')
        with pytest.raises(ValueError, match=message):
            SceneTokenizer(encoder.config, tmp_path / 'part.pth')


def test_importing_the_package_stays_light():
    """The package imports the tokenizer; mmdet3d.apis, which half of mmdet3d comes with, waits until one is built."""
    module = sys.modules[SceneTokenizer.__module__]
    imported = {node.module for node in ast.parse(inspect.getsource(module)).body if isinstance(node, ast.ImportFrom)}
    assert 'token_cache' in imported and not imported & {'inference', 'token_extraction'}


def test_real_frame(real_nuscenes_root, encoder, tmp_path):
    """From the devkit and from arrays; 1600x900, which is decoded at a quarter for 224x126."""
    nusc = open_nuscenes(real_nuscenes_root, 'v1.0-trainval')
    sample = next(sample for sample in nusc.sample
                  if all(Path(nusc.get_sample_data_path(sample['data'][name])).is_file() for name in NUSCENES_CAMERAS))
    tokenizer = SceneTokenizer(encoder.config, encoder.checkpoint)
    tokens = tokenizer(None, (nusc, sample['token']))
    files = [nusc.get_sample_data_path(sample['data'][name]) for name in NUSCENES_CAMERAS]
    same(tokenizer(files, (nusc, sample['token'])), tokens)
    with pytest.raises(ValueError, match='CAM_FRONT is 800x450, but its calibration is for 1600x900'):
        tokenizer([cv2.resize(cv2.imread(file), (800, 450)) for file in files], (nusc, sample['token']))


class TestMissingCameras:
    """With ``on_fault='mask'`` the other cameras make the tokens, whatever is wrong with one, and it is said."""

    @pytest.fixture(scope='class')
    def tolerant(self, encoder) -> SceneTokenizer:
        return SceneTokenizer(encoder.config, encoder.checkpoint, on_fault='mask')

    def test_all_ways_to_lose_a_camera_are_one(self, tolerant, tokenizer, expected, files, arrays, info, tmp_path):
        same(tolerant(files, arrays), expected[1])  # nothing is lost yet
        broken = tmp_path / 'broken.jpg'
        broken.write_bytes(Path(files[2]).read_bytes()[:700])
        lost = {name: arrays[name].copy() for name in arrays}
        lost['lidar2cam'][2] = np.nan
        without = dict(info['images'])
        del without[NUSCENES_CAMERAS[2]]
        by_name = dict(zip(NUSCENES_CAMERAS, files))
        del by_name[NUSCENES_CAMERAS[2]]
        tokens = []
        for images, cameras, reason in (
                ([*files[:2], broken, *files[3:]], arrays, 'truncated'),
                ([*files[:2], None, *files[3:]], arrays, 'There is no image of'),
                (by_name, arrays, 'There is no image of'),
                ([*files[:2], tmp_path / 'none.jpg', *files[3:]], arrays, 'There is no image file'),
                (files, lost, 'singular or not finite'),
                (None, without, 'The calibration lacks')):
            with pytest.warns(UserWarning, match=rf'(?s){NUSCENES_CAMERAS[2]} is masked: .*{reason}'):
                tokens.append(tolerant(images, cameras))
            with pytest.raises((ValueError, OSError, TypeError), match=NUSCENES_CAMERAS[2]):
                tokenizer(images, cameras)
        assert all(torch.equal(other, tokens[0]) for other in tokens) and not torch.equal(tokens[0], expected[1])

    def test_no_camera(self, tolerant, arrays):
        with pytest.raises(ValueError, match='None of the 6 cameras'):
            tolerant([None] * 6, arrays)

    def test_an_optimised_model_has_the_readable_one_beside_it(self, tolerant, tokenizer, encoder, files, arrays):
        fast = SceneTokenizer(encoder.config, encoder.checkpoint, on_fault='mask', optimize=dict(precision='bfloat16'))
        with pytest.warns(UserWarning, match='is masked'):
            got = fast([None, *files[1:]], arrays)
        with pytest.warns(UserWarning, match='is masked'):
            torch.testing.assert_close(got, tolerant([None, *files[1:]], arrays), rtol=1e-6, atol=1e-6)
        assert (fast(files, arrays) - tokenizer(files, arrays)).abs().max() > 1e-5  # the fast way, rounded

    def test_skip_is_for_training(self, encoder):
        with pytest.raises(ValueError, match="on_fault='skip' is for training"):
            SceneTokenizer(encoder.config, encoder.checkpoint, on_fault='skip')
