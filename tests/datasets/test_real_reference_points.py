"""3D reference points on a real nuScenes scene: attention looks where the objects appear. (Here, for its info files.)

Centres and pixels are the devkit's: boxes in the LiDAR frame become reference points, their projections the truth.
"""
from pathlib import Path

import numpy as np
import pytest
import torch
from mmdet3d.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from nuscenes.nuscenes import NuScenes
from nuscenes.utils.geometry_utils import BoxVisibility, view_points
from scipy.spatial import ConvexHull

from scene_qformer.models import SurroundDeformableAttention
from scene_qformer.models.surround_memory import stack_cameras

CONFIG = Path(__file__).parents[2] / 'configs/_base_/datasets/nus-3d-scene_336.py'
RANGE = (-51.2, -51.2, -5.0, 51.2, 51.2, 3.0)
SIZE, STRIDE = 336, 16
SCALE = np.array([SIZE / 1600, SIZE / 900])  # the default pipeline's resize


@pytest.fixture(scope='module')
def frames(real_nuscenes_root, real_infos):
    """Three frames: stacked cameras, reference points (1, Q, 3), and the devkit's centres and corners in each camera.

    Those are (N, Q, 3) pixels and depth of the centres, and (N, Q, 8, 3) of the corners, in the resized image.
    """
    init_default_scope('mmdet3d')
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv('NUSCENES_ROOT', str(real_nuscenes_root))
        environment.setenv('NUSCENES_INFO_ROOT', str(real_infos))
        dataset = DATASETS.build(Config.fromfile(CONFIG).val_dataloader.dataset)
    nusc = NuScenes('v1.0-trainval', str(real_nuscenes_root), verbose=False)
    result = []
    for index in (0, 17, 39):
        packed = dataset[index]
        sample = packed['data_samples']
        record = nusc.get('sample', sample.sample_token)
        centers = np.array([box.center for box in nusc.get_sample_data(record['data']['LIDAR_TOP'])[1]])
        fractions = (centers - RANGE[:3]) / np.subtract(RANGE[3:], RANGE[:3])
        inside = ((fractions >= 0) & (fractions <= 1)).all(1)
        in_cameras = []
        for camera in sample.cam_names:
            _, boxes, intrinsic = nusc.get_sample_data(record['data'][camera], box_vis_level=BoxVisibility.NONE)
            points = np.array([np.vstack((box.center, box.corners().T)) for box in boxes])[inside]  # (Q, 9, 3)
            with np.errstate(divide='ignore'):
                pixels = view_points(points.reshape(-1, 3).T, intrinsic, normalize=True)[:2].T.reshape(-1, 9, 2)
            in_cameras.append(np.concatenate((pixels * SCALE, points[..., 2:]), axis=-1))
        in_cameras = np.stack(in_cameras)
        cameras = stack_cameras([sample.metainfo], packed['inputs']['img'][None])
        assert cameras['image_size'].tolist() == [SIZE, SIZE]
        points = torch.from_numpy(fractions[inside][None]).float()
        result.append((cameras, points, in_cameras[:, :, 0], in_cameras[:, :, 1:]))
    return result


def in_view(centers):
    """By the devkit: before the camera and inside the image; and how far from the image's border, in pixels."""
    pixels, depth = centers[..., :2], centers[..., 2]
    margin = np.minimum(pixels, SIZE - pixels).min(-1)
    return (depth > 0) & (margin > 0), np.abs(margin)


def test_centres_are_projected_to_the_devkits_pixels(frames):
    attention = SurroundDeformableAttention(embed_dims=8, point_cloud_range=RANGE)
    compared, worst = 0, 0.
    for cameras, points, centers, _ in frames:
        locations, visible = attention.project_reference_points(points, cameras['lidar2img'], cameras['image_size'])
        expected, margin = in_view(centers)
        assert (visible[0].numpy() == expected)[margin > 0.01].all()
        assert expected.any(1).all()  # every camera sees some
        error = np.abs(locations[0].numpy() * SIZE - centers[..., :2])[expected & visible[0].numpy()]
        compared += len(error)
        worst = max(worst, float(error.max()))
    assert compared > 100
    assert worst < 0.01, worst


def test_centres_fall_inside_the_projected_boxes(frames):
    """In every camera that sees them, among the pixels of the object itself."""
    attention = SurroundDeformableAttention(embed_dims=8, point_cloud_range=RANGE)
    compared = 0
    for cameras, points, _, corners in frames:
        locations, visible = attention.project_reference_points(points, cameras['lidar2img'], cameras['image_size'])
        for camera, query in visible[0].nonzero().tolist():
            box = corners[camera, query]
            if (box[:, 2] > 0.1).all():
                hull = ConvexHull(box[:, :2])
                pixel = locations[0, camera, query].numpy() * SIZE
                assert (hull.equations[:, :2] @ pixel + hull.equations[:, 2] < 0).all(), (camera, query)
                compared += 1
    assert compared > 100


def test_attention_reads_the_cells_at_the_objects(frames):
    """Feature maps that hold their own pixel coordinates tell where attention has looked: at the mean of the views."""
    attention = SurroundDeformableAttention(embed_dims=2, num_heads=1, num_points=1, point_cloud_range=RANGE)
    with torch.no_grad():
        for projection in (attention.value_proj, attention.output_proj):
            projection.weight.copy_(torch.eye(2))
    rows = SIZE // STRIDE
    coordinates = (torch.arange(rows) + 0.5) * STRIDE
    cells = torch.stack(torch.meshgrid(coordinates, coordinates, indexing='xy'), dim=-1).flatten(0, 1)  # (cells, 2)
    compared = 0
    for cameras, points, centers, _ in frames:
        looked_at = attention(
            torch.zeros(1, points.shape[1], 2),
            value=cells.repeat(6, 1)[None],
            reference_points=points,
            spatial_shapes=torch.tensor([[rows, rows]] * 6),
            level_start_index=torch.arange(6) * rows * rows,
            cameras=cameras)[0].detach().numpy()
        seen, margin = in_view(centers)
        for query in range(points.shape[1]):
            views = seen[:, query]
            if views.any() and margin[views, query].min() > STRIDE / 2:  # nearer, half of the sample is outside
                expected = centers[views, query, :2].mean(0)
                np.testing.assert_allclose(looked_at[query], expected, atol=0.02)
                compared += 1
    assert compared > 50
