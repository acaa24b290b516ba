"""Properties that hold for whatever is drawn: the splice, the transforms, the geometry."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from scene_qformer.datasets.transforms.image_geometry import (
    CropSurroundImages,
    PadSurroundImages,
    RandomWarpSurroundImages,
    ResizeSurroundImages,
)
from scene_qformer.datasets.transforms.scene_geometry import RandomMirrorScene, RandomRotateScaleScene
from scene_qformer.geometry import compose_lidar2img, invert, project, ray_directions, unproject
from scene_qformer.models.language.splice import IGNORE_INDEX, IMAGE_TOKEN_INDEX, splice_scene_tokens

AREA = 'Any values'
BUG = 'Nothing to do: a result that is wrong here is an error of the project. Report the values that are shown.'
# Repeatable, and bounded by the number of examples: a slow machine must not fail.
EXAMPLES = dict(derandomize=True, deadline=None, database=None)
RIG = ('CAM_FRONT', 'CAM_FRONT_LEFT', 'CAM_FRONT_RIGHT')


def counted(test, count, number):
    """Run a property and count its examples."""
    test()
    count(generated=number)


@st.composite
def texts(draw):
    """A ragged batch for the splice."""
    batch, length = draw(st.integers(1, 5)), draw(st.integers(1, 11))
    ids = st.lists(st.integers(0, 12) | st.just(IMAGE_TOKEN_INDEX), min_size=length, max_size=length)
    bits = st.lists(st.booleans(), min_size=length, max_size=length)
    rows = [(draw(ids), draw(bits)) for _ in range(batch)]
    number = sum(index == IMAGE_TOKEN_INDEX and used for row in rows for index, used in zip(*row))
    lengths = draw(st.lists(st.integers(0, 5), min_size=number, max_size=number))
    return rows, lengths, draw(st.sampled_from(['left', 'right']))


@pytest.mark.fault(area=AREA, fault='ragged batches in the splice', expected='as token by token', remedy=BUG)
def test_splice(count):
    embed = nn.Embedding(13, 3)

    @settings(max_examples=150, **EXAMPLES)
    @given(texts())
    def holds(drawn):
        rows, lengths, side = drawn
        blocks = [torch.full((length, 3), 100. + number) for number, length in enumerate(lengths)]
        ids, mask = torch.tensor([row[0] for row in rows]), torch.tensor([row[1] for row in rows])
        spliced = splice_scene_tokens(ids, blocks, embed, mask, ids.clamp_min(0), side)
        left = iter(blocks)
        for row, (indices, used) in enumerate(rows):
            expected: list = []  # (vector, label), token by token
            for index in (index for index, kept in zip(indices, used) if kept):
                expected += ([(vector, IGNORE_INDEX) for vector in next(left)] if index == IMAGE_TOKEN_INDEX
                             else [(embed.weight[index], index)])
            there = spliced.attention_mask[row].bool()
            assert there.sum() == len(expected) and spliced.position_ids[row][there].tolist() == [*range(len(expected))]
            assert spliced.labels[row][there].tolist() == [label for _, label in expected]
            assert all(map(torch.equal, spliced.inputs_embeds[row][there], [vector for vector, _ in expected]))
            assert not spliced.inputs_embeds[row][~there].any() and (spliced.labels[row][~there] == IGNORE_INDEX).all()
            padded = there.int().diff()
            assert (padded >= 0).all() if side == 'left' else (padded <= 0).all()

    counted(holds, count, 150)


def rotation(angles) -> np.ndarray:
    """From three angles, in radians."""
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        i, j = [(1, 2), (0, 2), (0, 1)][axis]
        turn = np.eye(3)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    return matrix


@st.composite
def rigs(draw):
    """``cam2img`` and ``lidar2cam`` (3, 4, 4), and points (7, 3) in the LiDAR frame."""
    def numbers(low, high):
        return st.floats(low, high, allow_nan=False)
    intrinsics, extrinsics = np.tile(np.eye(4), (3, 1, 1)), np.tile(np.eye(4), (3, 1, 1))
    for camera in range(3):
        intrinsics[camera, 0, 0], intrinsics[camera, 1, 1] = draw(numbers(20, 2000)), draw(numbers(20, 2000))
        intrinsics[camera, :2, 2] = draw(numbers(-50, 500)), draw(numbers(-50, 500))
        extrinsics[camera, :3, :3] = rotation([draw(numbers(-3.2, 3.2)) for _ in range(3)])
        extrinsics[camera, :3, 3] = [draw(numbers(-5, 5)) for _ in range(3)]
    points = np.array([[draw(numbers(-60, 60)) for _ in range(3)] for _ in range(7)])
    return intrinsics, extrinsics, points


@pytest.mark.fault(area=AREA, fault='rigs and points in the geometry', expected='there and back, to a millimetre',
                   remedy=BUG)
@pytest.mark.parametrize('kind', ['project and unproject', 'rays', 'invert'])
def test_geometry(count, kind):

    @settings(max_examples=100, **EXAMPLES)
    @given(rigs())
    def holds(drawn):
        cam2img, lidar2cam, points = drawn
        lidar2img = compose_lidar2img(cam2img, lidar2cam)
        pixels, depth, valid = project(points, lidar2img)
        before = depth > 0.1
        assert np.isfinite(pixels).all() and (valid == (depth > 0))[np.abs(depth) > 0.1].all()
        if kind == 'project and unproject':
            back = unproject(pixels, depth, lidar2img)
            assert np.abs(back - points)[before].max(initial=0) < 1e-3
            in_tensors = project(torch.from_numpy(points), torch.from_numpy(lidar2img))
            assert np.abs(in_tensors[0].numpy() - pixels)[before].max(initial=0) < 1e-3
        elif kind == 'rays':
            for camera in range(3):
                if before[camera].any():
                    seen = pixels[camera][before[camera]]
                    rays = ray_directions(seen, cam2img[camera:camera + 1], lidar2cam[camera:camera + 1])[0]
                    centre = invert(lidar2cam[camera])[:3, 3]
                    way = points[before[camera]] - centre
                    across = way - (way * rays).sum(-1, keepdims=True) * rays
                    assert np.abs(np.linalg.norm(rays, axis=-1) - 1).max() < 1e-9 and np.abs(across).max() < 1e-3
        else:
            assert np.abs(invert(lidar2img) @ lidar2img - np.eye(4)).max() < 1e-6

    counted(holds, count, 100)


SIDES = st.integers(8, 40)
TRANSFORMS = {
    'resize': st.builds(lambda width, height, keep: ResizeSurroundImages((width, height), keep), SIDES, SIDES,
                        st.booleans()),
    'crop': st.builds(lambda width, height, left, top: CropSurroundImages((width, height), (left, top)),
                      st.integers(1, 24), st.integers(1, 16), st.floats(0, 1), st.floats(0, 1)),
    'pad': st.builds(PadSurroundImages, st.integers(1, 17)),
    'warp': st.builds(lambda low, more, shift, turn, mirror: RandomWarpSurroundImages(
        (low, low + more), (shift, shift), turn, mirror), st.floats(0.5, 1), st.floats(0, 1), st.floats(0, 0.5),
                      st.floats(0, 180), st.sampled_from([0.0, 0.5, 1.0])),
    'rotate': st.builds(lambda angle, low, more: RandomRotateScaleScene((-angle, angle), (low, low + more)),
                        st.floats(0, 3.2), st.floats(0.5, 1), st.floats(0, 1)),
    'mirror': st.just(RandomMirrorScene(1.0)),
}


@pytest.mark.fault(area=AREA, fault='arguments of image and scene transforms',
                   expected='points keep their place in the picture', remedy=BUG)
@pytest.mark.parametrize('kind', TRANSFORMS)
def test_transforms(count, kind):
    """The matrices after a transform put points where the pixels went: a bright dot is followed through the picture."""
    height, width = 17, 25

    @settings(max_examples=60, **EXAMPLES)
    @given(TRANSFORMS[kind], rigs(), st.integers(0, 1000))
    def holds(transform, rig, seed):
        np.random.seed(seed)
        cam2img, lidar2cam, points = rig
        ramp = np.broadcast_to((10 * np.arange(width) + 5).astype(np.uint8)[None, :, None], (height, width, 3))
        results = dict(img=[ramp.copy() for _ in RIG], img_path=list(RIG), cam_names=list(RIG), token='a',
                       img_shape=(height, width), pad_shape=(height, width), cam2img=cam2img.copy(),
                       ori_cam2img=cam2img.copy(), lidar2cam=lidar2cam.copy())
        pixels, depth, _ = project(points, compose_lidar2img(cam2img, lidar2cam))
        results = transform.transform(results)
        scene = results.get('lidar_aug_matrix', np.eye(4))
        moved = points @ scene[:3, :3].T + scene[:3, 3]
        new_pixels, new_depth, _ = project(moved, compose_lidar2img(results['cam2img'], results['lidar2cam']))
        before = depth > 0.5
        size = results['img'][0].shape[:2]
        assert all(image.shape[:2] == size for image in results['img']) and results['pad_shape'] == size
        if kind == 'rotate':  # the picture stays, and all is as much larger
            assert np.abs(new_pixels - pixels)[before].max(initial=0) < 1e-3
            scale = np.cbrt(np.linalg.det(scene[:3, :3]))
            assert np.allclose(new_depth, depth * scale, atol=1e-6)
        elif kind == 'mirror':  # left and right cameras trade places, and every picture is turned round
            order = [0, 2, 1]
            assert np.abs(new_pixels[..., 0] - (width - pixels[order][..., 0]))[before[order]].max(initial=0) < 1e-3
            assert np.abs(new_pixels[..., 1] - pixels[order][..., 1])[before[order]].max(initial=0) < 1e-3
            assert all(np.array_equal(image, ramp[:, ::-1]) for image in results['img'])
        else:
            assert np.allclose(new_depth, depth, atol=1e-6)
            # A pixel map takes a camera's old pixels to its new ones: the grey of a new pixel is its old column's.
            for camera, image in enumerate(results['img']):
                to_old = cam2img[camera] @ invert(results['cam2img'][camera])
                rows, columns = np.indices(size)
                old = to_old[:2, :2] @ np.stack((columns + 0.5, rows + 0.5)).reshape(2, -1) + to_old[:2, 2:3]
                inside = (old[0] > 2) & (old[0] < width - 2) & (old[1] > 2) & (old[1] < height - 2)
                shrink = max(1.0, np.abs(to_old[:2, :2]).sum(1).max())
                grey = image[..., 0].reshape(-1)[inside].astype(float)
                assert np.abs(grey - 10 * old[0][inside]).max(initial=0) <= 2 + (shrink - 1) * 10

    counted(holds, count, 60)
