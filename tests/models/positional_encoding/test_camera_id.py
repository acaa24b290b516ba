import pytest
import torch

from scene_qformer.models import CameraIDEncoding

FEATS = [torch.zeros(2, 3, 8, 5, 7), torch.zeros(2, 3, 8, 3, 4)]


def test_camera_id_differs_by_camera_and_not_by_place():
    encoding = CameraIDEncoding(embed_dims=8, num_cameras=3)
    level = encoding(FEATS, {})[1].expand_as(FEATS[1])
    for camera in range(3):
        assert torch.equal(level[1, camera, :, 2, 3], encoding.camera_embedding.weight[camera])


def test_camera_id_takes_fewer_cameras_and_refuses_more():
    assert CameraIDEncoding(8, num_cameras=5)(FEATS, {})[0].shape == (1, 3, 8, 1, 1)
    with pytest.raises(ValueError, match='knows 2 cameras, but 3 images.*num_cameras=3'):
        CameraIDEncoding(8, num_cameras=2)(FEATS, {})
