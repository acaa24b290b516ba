"""Projection, un-projection and rays against numbers worked out by hand."""
import cv2
import numpy as np
import pytest
import torch

from scene_qformer import geometry

# x right, y forward, z up (nuScenes' LiDAR) -> x right, y down, z forward; the camera stands at (2, 3, 5)
LIDAR2CAM = np.array([[1.0, 0, 0, -2], [0, 0, -1, 5], [0, 1, 0, -3], [0, 0, 0, 1]])
CAM2IMG = np.array([[7.0, 0, 11], [0, 13, 17], [0, 0, 1]])

KINDS = pytest.mark.parametrize('convert', [np.asarray, lambda a: torch.tensor(np.asarray(a))], ids=['numpy', 'torch'])


def random_cameras(rng, *batch):
    """Random rigid lidar2cam (*batch, 4, 4) and plausible cam2img (*batch, 4, 4)."""
    rotation, _ = np.linalg.qr(rng.normal(size=(*batch, 3, 3)))
    rotation *= np.sign(np.linalg.det(rotation))[..., None, None]
    lidar2cam = geometry.to_homogeneous(np.concatenate((rotation, rng.normal(size=(*batch, 3, 1))), -1))
    focal = rng.uniform(50, 90, (*batch, 2))
    cam2img = geometry.to_homogeneous(np.zeros((*batch, 3, 3)) + np.diag((1.0, 1, 1)))
    cam2img[..., 0, 0], cam2img[..., 1, 1] = focal[..., 0], focal[..., 1]
    cam2img[..., :2, 2] = rng.uniform(20, 40, (*batch, 2))
    return lidar2cam, cam2img


@KINDS
def test_to_homogeneous_pads_with_identity(convert):
    padded = geometry.to_homogeneous(convert(CAM2IMG))
    assert padded.tolist() == [[7, 0, 11, 0], [0, 13, 17, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert geometry.to_homogeneous(convert(LIDAR2CAM[:3])).tolist() == LIDAR2CAM.tolist()
    assert padded.dtype == convert(CAM2IMG).dtype


@pytest.mark.parametrize('shape', [(3, ), (2, 3), (4, 3), (5, 5)])
def test_to_homogeneous_refuses_other_shapes(shape):
    with pytest.raises(ValueError, match='Expected matrices of 3x3, 3x4 or 4x4, got shape'):
        geometry.to_homogeneous(np.zeros(shape))


@KINDS
def test_project_by_hand(convert):
    # LiDAR (5, 22, 4) - camera centre = (3, 19, -1) -> camera x 3, y 1, z 19
    # u = 7 * 3 / 19 + 11 = 230 / 19, v = 13 * 1 / 19 + 17 = 336 / 19
    points = convert([[5.0, 22, 4], [5.0, -22, 4]])  # the second is 25 m behind
    lidar2img = geometry.compose_lidar2img(convert(CAM2IMG), convert(LIDAR2CAM))[None]
    pixels, depth, valid = geometry.project(points, lidar2img)
    assert pixels.shape == (1, 2, 2)
    np.testing.assert_allclose(np.asarray(pixels[0, 0]), [230 / 19, 336 / 19], rtol=1e-12)
    assert depth.tolist() == [[19, -25]]
    assert valid.tolist() == [[True, False]]
    assert np.isfinite(np.asarray(pixels)).all()


@KINDS
def test_project_knows_the_image(convert):
    lidar2img = geometry.compose_lidar2img(convert(CAM2IMG), convert(LIDAR2CAM))[None]
    # one metre ahead: u = 7 dx + 11, v = -13 dz + 17
    points = convert([[2.0, 4, 5], [2 + 2 / 7, 4, 5], [2 - 11 / 7 - 1e-6, 4, 5], [2.0, 4, 5 - 6 / 13]])
    valid = geometry.project(points, lidar2img, image_size=(23, 13))[2]
    # u = 11 inside; u = 13 is the right edge: outside; u < 0; v = 23 is the lower edge: outside
    assert valid.tolist() == [[True, False, False, False]]


@KINDS
def test_project_and_unproject_round_trip_batched(convert):
    rng = np.random.default_rng(0)
    lidar2cam, cam2img = random_cameras(rng, 2, 3)
    lidar2img = convert(geometry.compose_lidar2img(cam2img, lidar2cam))
    points = rng.normal(size=(2, 5, 3)) * 20
    pixels, depth, valid = geometry.project(convert(points), lidar2img)
    assert pixels.shape == (2, 3, 5, 2) and depth.shape == valid.shape == (2, 3, 5)
    assert 0 < int(valid.sum()) < 30
    back = np.asarray(geometry.unproject(pixels, depth, lidar2img))
    expected = np.broadcast_to(points[:, None], (2, 3, 5, 3))
    mask = np.asarray(valid)
    np.testing.assert_allclose(back[mask], expected[mask], rtol=1e-9, atol=1e-9)


def test_batched_equals_single_and_torch_equals_numpy():
    rng = np.random.default_rng(1)
    lidar2cam, cam2img = random_cameras(rng, 2, 3)
    lidar2img = cam2img @ lidar2cam
    points = rng.normal(size=(2, 7, 3)) * 10
    together = geometry.project(points, lidar2img)
    tensors = geometry.project(torch.from_numpy(points), torch.from_numpy(lidar2img))
    for one, other in zip(together, tensors):
        np.testing.assert_allclose(one, other.numpy(), rtol=1e-12)
    for b in range(2):
        for n in range(3):
            single = geometry.project(points[b], lidar2img[b, n:n + 1])
            for one, whole in zip(single, together):
                np.testing.assert_allclose(one[0], whole[b, n], rtol=1e-12)


def test_project_has_finite_gradients_for_a_point_in_the_camera():
    points = torch.tensor([[2.0, 3.0, 5.0]], requires_grad=True)
    lidar2img = torch.tensor(geometry.compose_lidar2img(CAM2IMG, LIDAR2CAM), dtype=torch.float32)[None]
    pixels, _, valid = geometry.project(points, lidar2img)
    pixels.sum().backward()
    assert not valid.any() and torch.isfinite(points.grad).all()


def test_project_refuses_wrong_shapes():
    with pytest.raises(ValueError, match=r'Expected points \(..., P, 3\), got shape \(4, 2\)'):
        geometry.project(np.zeros((4, 2)), np.eye(4)[None])
    with pytest.raises(ValueError, match=r'Expected lidar2img \(..., N, 4, 4\), got shape \(4, 4\)'):
        geometry.project(np.zeros((4, 3)), np.eye(4))
    with pytest.raises(ValueError, match='Expected pixels'):
        geometry.unproject(np.zeros((1, 4, 2)), np.zeros((1, 3)), np.eye(4)[None])


def test_linear_increasing_depths_by_hand():
    # (13 - 1) / (3 * 4) = 1, so edge i lies at 1 + i (i + 1); widths 2, 4, 6
    assert geometry.linear_increasing_depths(3, 1., 13.).tolist() == [1, 3, 7, 13]
    # PETR's 64 bins: 60.2 / (64 * 65) = 0.0144712
    depths = geometry.linear_increasing_depths(64, 1., 61.2, dtype=torch.float64)
    assert len(depths) == 65
    np.testing.assert_allclose(depths[[0, 1, 2, 63, 64]],
                               [1, 1 + 2 * 60.2 / 4160, 1 + 6 * 60.2 / 4160, 1 + 63 * 64 * 60.2 / 4160, 61.2])


@pytest.mark.parametrize('arguments', [(0, 1., 13.), (3, 0., 13.), (3, 13., 13.), (3, 1., float('nan'))])
def test_linear_increasing_depths_refuses_what_is_no_range(arguments):
    with pytest.raises(ValueError, match='Expected num_bins >= 1 and depths 0 < start < end in metres, got num_bins='):
        geometry.linear_increasing_depths(*arguments)


def test_frustum_points_are_what_unproject_gives():
    rng = np.random.default_rng(3)
    lidar2cam, cam2img = random_cameras(rng, 2, 3)
    lidar2img = torch.from_numpy(cam2img @ lidar2cam)
    pixels, depths = torch.from_numpy(rng.uniform(0, 60, (5, 2))), torch.tensor([1.0, 7.0], dtype=torch.float64)
    points = geometry.frustum_points(pixels, depths, lidar2img)
    assert points.shape == (2, 3, 5, 2, 3)
    for index, depth in enumerate(depths):
        expected = geometry.unproject(pixels.expand(2, 3, 5, 2), depth.expand(2, 3, 5), lidar2img)
        torch.testing.assert_close(points[..., index, :], expected)


def test_frustum_points_refuses_wrong_shapes():
    with pytest.raises(ValueError, match=r'Expected pixels \(P, 2\) and depths \(D,\), got shapes \(5, 3\) and \(2,\)'):
        geometry.frustum_points(torch.zeros(5, 3), torch.ones(2), torch.eye(4)[None])
    with pytest.raises(ValueError, match=r'Expected lidar2img \(..., N, 4, 4\), got shape \(4, 4\)'):
        geometry.frustum_points(torch.zeros(5, 2), torch.ones(2), torch.eye(4))


def test_cell_centers_by_hand():
    centers = geometry.cell_centers(2, 3, 16)
    assert centers.shape == (2, 3, 2)
    assert centers[0, 0].tolist() == [8, 8]
    assert centers[1, 2].tolist() == [40, 24]  # ((2 + 0.5) * 16, (1 + 0.5) * 16)
    assert geometry.cell_centers(2, 3, (16, 8))[1, 2].tolist() == [40, 12]


@KINDS
def test_ray_directions_by_hand(convert):
    # pixel (18, 30) is (18 - 11) / 7 = 1 right and (30 - 17) / 13 = 1 down of the axis, one metre ahead
    rays = geometry.ray_directions(convert([[18.0, 30.0], [11.0, 17.0]]), convert(CAM2IMG)[None])
    np.testing.assert_allclose(np.asarray(rays), [[np.array([1, 1, 1]) / 3**0.5, [0, 0, 1]]], rtol=1e-12)
    # camera (x, y, z) = LiDAR (x, z, -y)
    rays = geometry.ray_directions(convert([[18.0, 30.0]]), convert(CAM2IMG)[None], convert(LIDAR2CAM)[None])
    np.testing.assert_allclose(np.asarray(rays), [[np.array([1, 1, -1]) / 3**0.5]], rtol=1e-12)
    assert geometry.camera_centers(convert(LIDAR2CAM)[None]).tolist() == [[2, 3, 5]]


def test_rays_pass_through_unprojected_points():
    rng = np.random.default_rng(2)
    lidar2cam, cam2img = random_cameras(rng, 2, 3)
    pixels = rng.uniform(0, 60, (5, 2))
    rays = geometry.ray_directions(pixels, cam2img, lidar2cam)
    assert rays.shape == (2, 3, 5, 3)
    points = geometry.unproject(np.broadcast_to(pixels, (2, 3, 5, 2)), np.full((2, 3, 5), 7.0), cam2img @ lidar2cam)
    along = points - geometry.camera_centers(lidar2cam)[..., None, :]
    np.testing.assert_allclose(along / np.linalg.norm(along, axis=-1, keepdims=True), rays, atol=1e-9)


@KINDS
def test_invert_names_the_singular_matrix(convert):
    matrices = np.stack([np.eye(3)] * 5)
    matrices[3, 1, 1] = 0.0
    with pytest.raises(ValueError, match=r'invertible cam2img, but the one at index \(3,\) is singular or not finite'):
        geometry.invert(convert(matrices), 'cam2img')
    matrices[3, 1, 1] = np.nan
    with pytest.raises(ValueError, match='nan'):
        geometry.invert(convert(matrices), 'cam2img')
    with pytest.raises(ValueError, match='the one is singular'):
        geometry.invert(convert(np.zeros((4, 4))))
    matrices[3, 1, 1] = 2.0
    np.testing.assert_allclose(np.asarray(geometry.invert(convert(matrices)))[3], np.diag([1, 0.5, 1]))


def test_invert_notices_a_matrix_that_is_singular_but_for_rounding():
    matrix = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, 0.9]])
    assert np.linalg.det(matrix) != 0
    with pytest.raises(ValueError, match='singular'):
        geometry.invert(matrix)


def test_real_intrinsics_count_as_invertible_in_float32():
    cam2img = torch.tensor([[1266.4, 0, 816.3], [0, 1266.4, 491.5], [0, 0, 1]])
    lidar2img = geometry.to_homogeneous(cam2img) @ torch.tensor(LIDAR2CAM, dtype=torch.float32)
    identity = geometry.invert(lidar2img) @ lidar2img
    torch.testing.assert_close(identity, torch.eye(4), atol=1e-3, rtol=0)


@KINDS
def test_image_edits_move_pixels_by_the_rule(convert):
    # resize by (2, 3), crop at (5, 1), mirror in an image of width 29: u -> 29 - (2 u - 5), v -> 3 v - 1
    pixel_map = geometry.mirror_matrix(29) @ geometry.crop_matrix(5, 1) @ geometry.resize_matrix(2, 3)
    cam2img = geometry.edit_cam2img(convert(CAM2IMG), convert(pixel_map))
    points = convert([[5.0, 22, 4]])
    before = geometry.project(points, geometry.compose_lidar2img(convert(CAM2IMG), convert(LIDAR2CAM))[None])[0]
    after = geometry.project(points, geometry.compose_lidar2img(cam2img, convert(LIDAR2CAM))[None])[0]
    u, v = before.reshape(2).tolist()
    np.testing.assert_allclose(np.asarray(after).reshape(2), [34 - 2 * u, 3 * v - 1], rtol=1e-12)


@pytest.mark.parametrize('interpolation', [cv2.INTER_AREA, cv2.INTER_LINEAR])
def test_the_resize_rule_is_what_cv2_does_to_pixels(interpolation):
    """The centre of mass of a blob, in edge coordinates, scales exactly with the image."""
    blob = cv2.GaussianBlur(np.eye(1, 60 * 44, 60 * 17 + 23).reshape(44, 60), (0, 0), 3)

    def center(image):
        i, j = np.mgrid[:image.shape[0], :image.shape[1]]
        return np.array([((j + 0.5) * image).sum(), ((i + 0.5) * image).sum()]) / image.sum()

    small = cv2.resize(blob, (30, 11), interpolation=interpolation)
    np.testing.assert_allclose(center(blob), [23.5, 17.5], atol=1e-6)
    np.testing.assert_allclose(center(small), [23.5 / 2, 17.5 / 4], atol=1e-2)


def test_pixel_map_between_centers_moves_pixels_as_the_map_says():
    """A mirror by cv2.warpAffine is exactly the array turned round."""
    image = np.arange(5 * 7, dtype=np.float32).reshape(5, 7)
    matrix = geometry.pixel_map_between_centers(geometry.mirror_matrix(7))
    np.testing.assert_array_equal(cv2.warpAffine(image, matrix[:2], (7, 5)), image[:, ::-1])


def test_points_are_pulled_along_their_way_into_the_range():
    point_range = torch.tensor([-10., -20, -5, 10, 20, 3])
    origin = torch.tensor([2., 0, -1])
    points = torch.tensor([
        [18., 8, 1],   # leaves through x = 10, at 8 / 16 of the way
        [6., 4, 7],    # leaves through z = 3, at 4 / 8
        [-46., 8, -9], # through z = -5 at 4 / 8, but through x = -10 at 12 / 48 already
        [2., 0, 99],   # straight up: 4 / 100
        [10., -20, 3], # on the corner
        [2., 0, -1],   # no way at all
    ])
    expected = [[10., 4, 0], [4, 2, 3], [-10, 2, -3], [2, 0, 3], [10, -20, 3], [2, 0, -1]]
    assert torch.allclose(geometry.pull_into_range(points, origin, point_range), torch.tensor(expected), atol=1e-5)


def test_points_inside_the_range_stay_to_the_bit():
    point_range = torch.tensor([-51.2, -51.2, -5, 51.2, 51.2, 3])
    points = torch.rand(1009, 3) * (point_range[3:] - point_range[:3]) + point_range[:3]
    points = torch.cat((points.clamp(point_range[:3], point_range[3:]), point_range.view(2, 3)))
    origins = torch.rand(7, 1, 3) * 4 - 2
    assert torch.equal(geometry.pull_into_range(points, origins, point_range), points.expand(7, -1, -1))
    far = torch.tensor([0., 0., 30.])  # an origin outside the range changes nothing about points inside
    assert torch.equal(geometry.pull_into_range(points, far, point_range), points)


def test_a_point_that_was_pulled_in_learns_to_come_nearer():
    """Way (4, 0, 2) d from the origin, out of the range at a quarter of d = 8: the end moves by (1, 0, 0.5) a metre."""
    depth = torch.tensor(8., requires_grad=True)
    point = torch.tensor([4., 0, 2]) * depth
    pulled = geometry.pull_into_range(point, torch.zeros(3), torch.tensor([-8., -8, -8, 8, 8, 8]))
    assert pulled.tolist() == [8., 0., 4.]
    pulled[0].backward()
    assert depth.grad == 1.


def test_autocast_does_not_blur_projection():
    lidar2img = torch.tensor([[0.7, -1.1, 0.3, 2.], [0.2, 0.4, -1.3, 5.], [0.9, 0.1, 0.2, 3.], [0., 0., 0., 1.]])[None]
    points = torch.tensor([[31.7, 4.3, -1.9]])
    pixels, depth, _ = geometry.project(points, lidar2img)
    with torch.autocast('cpu', torch.bfloat16):
        again, depth_again, _ = geometry.project(points, lidar2img)
        back = geometry.unproject(again, depth_again, lidar2img)
    assert torch.equal(pixels, again) and torch.equal(depth, depth_again)
    assert torch.allclose(back[0], points, atol=1e-4)
