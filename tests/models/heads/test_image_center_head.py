import math

import pytest
import torch
from two_cameras import COLUMNS, OBJECTS, ROWS, cameras, features, sample

from scene_qformer.geometry import project
from scene_qformer.models import ImageCenterHead


@pytest.fixture
def head():
    torch.manual_seed(0)
    head = ImageCenterHead(num_classes=3, embed_dims=8)
    head.init_weights()
    return head


def test_targets_by_hand(head):
    predicted = head(features(), cameras())
    targets = head.targets(predicted, cameras(), [OBJECTS])
    # u = 28 - 20 * 4 / 10 = 20 and v = 20 + 20 * (1 - 0.75) / 10 = 20.5: column 2.5, row 2.5625
    # u = 28 and v = 20 - 20 * 0.5 / 16 = 19.375: column 3.5, row 2.421875
    assert [index.tolist() for index in targets.cells] == [[0, 0], [0, 1], [2, 2], [2, 3]]
    assert torch.allclose(targets.offset, torch.tensor([[0., 0.0625], [0., -0.078125]]), atol=1e-5)
    assert torch.allclose(targets.depth, torch.tensor([10., 16.]))
    peaks = (targets.heatmap == 1).nonzero().tolist()
    assert peaks == [[0, 0, 2, 2, 2], [0, 1, 0, 2, 3]]
    # mean size (4 + 2 + 1.5) / 3 = 2.5 m spans 2.5 * 20 / 10 / 8 = 0.625 cells: a sixth is below the least, 0.3
    assert targets.heatmap[0, 0, 2, 2, 3].item() == pytest.approx(math.exp(-1 / (2 * 0.3**2)), rel=1e-4)


def test_two_spots_do_not_add_up(head):
    near = sample([[10., 0, -10, 20, 20, 20, 0, 0, 0], [10., 4, -10, 20, 20, 20, 0, 0, 0]], [1, 1])
    heatmap = head.targets(head(features(), cameras()), cameras(), [near]).heatmap
    assert heatmap[0, 0, 1, 2, 2:4].tolist() == [1., 1.]


def test_true_values_cost_nothing_and_come_back_as_points(head):
    predicted = head(features(), cameras())
    targets = head.targets(predicted, cameras(), [OBJECTS])
    offset, depth = torch.zeros_like(predicted.offset), torch.ones_like(predicted.depth)
    batch, camera, row, column = targets.cells
    offset[batch, camera, :, row, column] = targets.offset
    depth[batch, camera, row, column] = targets.depth
    perfect = predicted._replace(
        heatmap=torch.where(targets.heatmap == 1, 50., -50.), offset=offset, depth=depth)
    losses = head.loss(perfect, cameras(), [OBJECTS])
    assert all(abs(loss) < 1e-4 for loss in losses.values())
    points = head.points(perfect, cameras())[batch, camera, row, column]
    expected = OBJECTS.gt_instances_3d.bboxes_3d.gravity_center[:2]
    assert torch.allclose(points, expected, atol=1e-4)


def test_loss_by_hand(head):
    """Untrained, offsets are 0 and depths 0.04 m a pixel of focal length."""
    losses = head.loss(head(features(), cameras()), cameras(), [OBJECTS])
    assert losses['loss_offset'].item() == pytest.approx(0.5 * (0.0625 + 0.078125) / 2, rel=1e-4)
    logs = abs(math.log(10 / 0.8)) + abs(math.log(16 / 0.8))
    assert losses['loss_depth'].item() == pytest.approx(2.0 * logs / 2, rel=1e-4)


def test_depth_grows_with_the_focal_length(head):
    torch.nn.init.normal_(head.place_conv.weight)
    head.ray_proj.weight.data.zero_()
    depth = head(features(), cameras()).depth
    assert torch.allclose(head(features(), cameras(focal=40.)).depth, 2 * depth)


def test_every_point_projects_into_its_own_cell(head):
    predicted = head(features(), cameras())
    points = head.points(predicted, cameras()).flatten(1, 3)
    pixels, _, valid = project(points, cameras()['lidar2img'])
    cells = ROWS * COLUMNS
    for camera in range(2):
        own = slice(camera * cells, (camera + 1) * cells)
        place = pixels[0, camera, own].view(ROWS, COLUMNS, 2) / 8
        assert valid[0, camera, own].all()
        assert torch.allclose(place[3, 4], torch.tensor([4.5, 3.5]), atol=1e-4)


def test_no_objects_give_finite_losses_and_gradients(head):
    losses = head.loss(head(features(2), cameras(2)), cameras(2), [sample([], [])] * 2)
    sum(losses.values()).backward()
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert losses['loss_depth'] == 0 and head.place_conv.weight.grad is not None


@pytest.mark.parametrize(('name', 'purpose'), [
    ('cam2img', 'depth in focal lengths'), ('lidar2cam', 'steeply'), ('lidar2img', 'back to the LiDAR frame')])
def test_missing_matrices_are_named(head, name, purpose):
    without = {key: value for key, value in cameras().items() if key != name}
    with pytest.raises(ValueError, match=f'{purpose}.*and needs {name}.*PackSceneInputs'):
        head(features(), without)


@pytest.mark.parametrize('label', [-1, 3])
def test_labels_that_are_no_class_are_named(head, label):
    broken = sample([[10., 4, -1, 4, 2, 1.5, 0, 0, 0], [-16., 0, 0, 1, 1, 1, 0, 0, 0]], [2, label])
    broken.set_metainfo(dict(sample_token='token5'))
    with pytest.raises(ValueError, match=f'classes 0 to 2, but .* token5 has the label {label}.*ObjectNameFilter'):
        head.loss(head(features(2), cameras(2)), cameras(2), [OBJECTS, broken])
