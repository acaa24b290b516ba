"""The one place for projection, un-projection, rays and ``lidar2img``. NumPy arrays and tensors both work, batched.

Frames, as mmdet3d draws them (``structures/bbox_3d/lidar_box3d.py``, ``cam_box3d.py``), in metres:

.. code-block:: none

    LiDAR                              camera                             image, pixels

          up z    x                          z front (optical axis)       (0, 0) ------> u
             ^   ^                          /                                |
             |  /                          /                                 |
             | /                          0 ------> x right                  v
    y <----- 0                            |                                  v
                                          v
    right-handed; yaw 0 along x,          y down
    grows from x towards y

nuScenes mounts its LiDAR so that x points to the car's right and y to its front. ``lidar2cam`` (4, 4) takes
homogeneous LiDAR points to the camera frame, ``cam2img`` (4, 4) takes those to ``(u d, v d, d, 1)`` with the depth
``d`` in metres along the optical axis, and ``lidar2img = cam2img @ lidar2cam``. Matrices are 4x4, so that they invert;
3x3 intrinsics are padded with identity.

Pixel rule: pixel coordinates are *edge* coordinates. The pixel in column j, row i of an image covers
``[j, j + 1) x [i, i + 1)`` and its centre is ``(j + 0.5, i + 0.5)``. The u, v that a nuScenes intrinsic gives are taken
as edge coordinates of the 1600x900 image. Hence

- resizing an image by ``(sx, sy)`` takes u to exactly ``sx * u`` (what ``cv2.resize`` and PIL do to the pixels),
- cropping at ``(left, top)`` takes u to ``u - left``; padding on the right and below changes nothing,
- mirroring an image of width W takes u to ``W - u``,
- cell (i, j) of a stride-s map is centred at pixel ``((j + 0.5) s, (i + 0.5) s)`` of the padded image.

Letters: B any batch dimensions, N cameras, P points.
"""
from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from torch import Tensor

Array = TypeVar('Array', np.ndarray, Tensor)
P = ParamSpec('P')
R = TypeVar('R')

MIN_DEPTH = 1e-5  # metres; nearer points, and those behind the camera, have no projection


def in_full_precision(function: Callable[P, R]) -> Callable[P, R]:
    """Switch autocast off inside a function: in half precision, products of matrices miss by pixels and metres."""

    @wraps(function)
    def precise(*args: P.args, **kwargs: P.kwargs) -> R:
        tensor = next((arg for arg in (*args, *kwargs.values()) if isinstance(arg, Tensor)), None)
        if tensor is None:
            return function(*args, **kwargs)
        with torch.autocast(tensor.device.type, enabled=False):
            return function(*args, **kwargs)

    return precise


def to_homogeneous(matrix: Array) -> Array:
    """Pad 3x3 or 3x4 matrices with identity to 4x4.

    Args:
        matrix: ``(..., 3, 3)``, ``(..., 3, 4)`` or ``(..., 4, 4)``.

    Returns:
        ``(..., 4, 4)`` of the same kind and dtype.

    Raises:
        ValueError: If the last two dimensions are others.
    """
    rows_columns = tuple(matrix.shape[-2:])
    if rows_columns not in ((3, 3), (3, 4), (4, 4)):
        raise ValueError(f'Expected matrices of 3x3, 3x4 or 4x4, got shape {tuple(matrix.shape)}.')
    rows, columns = rows_columns
    shape = (*matrix.shape[:-2], 4, 4)
    if isinstance(matrix, Tensor):
        padded: Any = torch.eye(4, dtype=matrix.dtype, device=matrix.device).repeat(*shape[:-2], 1, 1)
    else:
        padded = np.broadcast_to(np.eye(4, dtype=matrix.dtype), shape).copy()
    padded[..., :rows, :columns] = matrix
    return padded


@in_full_precision
def compose_lidar2img(
    cam2img: Array,  # (..., 3, 3) or (..., 4, 4) pixels
    lidar2cam: Array,  # (..., 4, 4) metres
) -> Array:
    """``lidar2img = cam2img @ lidar2cam``, ``(..., 4, 4)``."""
    return to_homogeneous(cam2img) @ to_homogeneous(lidar2cam)


def invert(matrix: Array, name: str = 'matrix') -> Array:
    """Invert matrices, and say which one is singular instead of returning infinities.

    A matrix counts as singular if its determinant, relative to Hadamard's bound (the product of its rows' lengths), is
    below ten times the dtype's precision. The check reads the result on the host.

    Args:
        matrix: ``(..., M, M)``, floating point.
        name: What the matrices are, for the error.

    Returns:
        ``(..., M, M)``.

    Raises:
        ValueError: If an entry is not finite or a matrix is singular; the message names its index and its values.
        TypeError: If the matrices are of whole numbers.
    """
    if not (matrix.is_floating_point() if isinstance(matrix, Tensor) else matrix.dtype.kind == 'f'):
        raise TypeError(f'Expected {name} in floating point, got {str(matrix.dtype).removeprefix("torch.")}. '
                        'Convert it first.')
    linalg: Any = torch.linalg if isinstance(matrix, Tensor) else np.linalg
    precision = torch.finfo(matrix.dtype).eps if isinstance(matrix, Tensor) else np.finfo(matrix.dtype).eps
    bound = (matrix**2).sum(-1)**0.5
    with np.errstate(invalid='ignore'):  # NaN is reported below
        volume = abs(linalg.det(matrix))
    singular = ~(volume > 10 * precision * bound.prod(-1))  # written so that NaN counts as singular
    if bool(singular.any()):
        flat = np.flatnonzero(np.asarray(singular.cpu() if isinstance(singular, Tensor) else singular))
        index = np.unravel_index(int(flat[0]), tuple(singular.shape)) if singular.ndim else ()
        values = matrix[tuple(int(i) for i in index)]
        where = f' at index {tuple(int(i) for i in index)}' if singular.ndim else ''
        raise ValueError(f'Expected an invertible {name}, but the one{where} is singular or not finite:\n'
                         f'{values.tolist()}\nCheck the calibration it comes from (a focal length of 0 or a missing '
                         'row is the usual cause).')
    return linalg.inv(matrix)


@in_full_precision
def project(
    points: Array,  # (*B, P, 3) LiDAR frame (or any frame that the matrices start from), metres
    lidar2img: Array,  # (*B, N, 4, 4)
    image_size: tuple[int, int] | None = None,  # (height, width), pixels
) -> tuple[Array, Array, Array]:
    """Project every point into every camera.

    Returns:
        - pixels ``(*B, N, P, 2)``: u, v in edge coordinates. Where a point is not before the camera they are finite but
          mean nothing.
        - depth ``(*B, N, P)``: metres along the optical axis; negative behind the camera.
        - valid ``(*B, N, P)`` bool: before the camera and, with ``image_size``, inside the image.

    Raises:
        ValueError: If the last dimensions are not as above.
    """
    _check_matrices(lidar2img, 'lidar2img')
    if points.ndim < 2 or points.shape[-1] != 3:
        raise ValueError(f'Expected points (..., P, 3), got shape {tuple(points.shape)}.')
    rotation = lidar2img[..., :3, :3]
    homogeneous = points[..., None, :, :] @ rotation.swapaxes(-1, -2) + lidar2img[..., None, :3, 3]
    depth = homogeneous[..., 2]
    valid = depth > MIN_DEPTH
    # 1 instead of a depth near 0 keeps values, and gradients, finite where the projection does not exist
    divisor = torch.where(valid, depth, 1) if isinstance(depth, Tensor) else np.where(valid, depth, depth.dtype.type(1))
    pixels = homogeneous[..., :2] / divisor[..., None]
    if image_size is not None:
        height, width = image_size
        u, v = pixels[..., 0], pixels[..., 1]
        valid = valid & (u >= 0) & (u < width) & (v >= 0) & (v < height)
    return pixels, depth, valid


@in_full_precision
def unproject(
    pixels: Array,  # (*B, N, P, 2) edge coordinates
    depth: Array,  # (*B, N, P) metres along the optical axis
    lidar2img: Array,  # (*B, N, 4, 4)
) -> Array:
    """The points ``(*B, N, P, 3)`` in the LiDAR frame, metres, that :func:`project` takes to these pixels and depths.

    Raises:
        ValueError: If a matrix is singular or shapes are not as above.
    """
    _check_matrices(lidar2img, 'lidar2img')
    if pixels.shape[-1] != 2 or tuple(pixels.shape[:-1]) != tuple(depth.shape):
        raise ValueError('Expected pixels (..., N, P, 2) and depth (..., N, P), got shapes '
                         f'{tuple(pixels.shape)} and {tuple(depth.shape)}.')
    img2lidar = invert(lidar2img, 'lidar2img')
    ones = torch.ones_like(depth) if isinstance(depth, Tensor) else np.ones_like(depth)
    columns = [pixels[..., 0] * depth, pixels[..., 1] * depth, depth, ones]
    homogeneous: Any = torch.stack(columns, -1) if isinstance(depth, Tensor) else np.stack(columns, -1)
    return (homogeneous @ img2lidar.swapaxes(-1, -2))[..., :3]


def linear_increasing_depths(
    num_bins: int,
    start: float,
    end: float,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Tensor:
    """Edges of depth bins whose width grows linearly: near ones, of which an image sees more, are narrow.

    Linear-increasing discretisation (LID), CaDDN (Reading et al., arXiv 2103.01100, section 3.2): edge i lies at
    ``start + (end - start) i (i + 1) / (D (D + 1))``, so that bin i is ``2 (i + 1) (end - start) / (D (D + 1))`` wide.

    Args:
        num_bins: Number of bins D.
        start: Where the first bin begins, metres.
        end: Where the last one ends, metres.

    Returns:
        ``(D + 1,)`` metres, from ``start`` to ``end``.

    Raises:
        ValueError: If there is no bin, or not ``0 < start < end``.
    """
    if num_bins < 1 or not 0 < start < end:
        raise ValueError('Expected num_bins >= 1 and depths 0 < start < end in metres, '
                         f'got num_bins={num_bins}, start={start}, end={end}.')
    index = torch.arange(num_bins + 1, dtype=dtype, device=device)
    return start + (end - start) / (num_bins * (num_bins + 1)) * index * (index + 1)


@in_full_precision
def frustum_points(
    pixels: Tensor,  # (P, 2) edge coordinates, the same for all cameras
    depths: Tensor,  # (D,) metres along the optical axis, the same for all pixels
    lidar2img: Tensor,  # (*B, N, 4, 4)
) -> Tensor:
    """Every pixel at every depth: ``(*B, N, P, D, 3)`` in the LiDAR frame, metres.

    What :func:`unproject` gives, cheaper where pixels share their depths: a pixel's points lie on one line, so only
    its direction is multiplied with the matrix.

    Raises:
        ValueError: If a matrix is singular or shapes are not as above.
    """
    _check_matrices(lidar2img, 'lidar2img')
    if pixels.ndim != 2 or pixels.shape[-1] != 2 or depths.ndim != 1:
        raise ValueError('Expected pixels (P, 2) and depths (D,), got shapes '
                         f'{tuple(pixels.shape)} and {tuple(depths.shape)}.')
    img2lidar = invert(lidar2img, 'lidar2img')
    homogeneous = torch.cat((pixels, torch.ones_like(pixels[:, :1])), -1)
    a_metre_further = homogeneous @ img2lidar[..., :3, :3].swapaxes(-1, -2)  # (*B, N, P, 3)
    origin = img2lidar[..., None, None, :3, 3]  # (*B, N, 1, 1, 3), at depth 0
    return origin + depths[:, None] * a_metre_further[..., None, :]


def cell_centers(
    height: int,
    width: int,
    stride: float | tuple[float, float],
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Tensor:
    """Where the cells of a feature map lie in the padded image.

    Args:
        height: Rows of the map, Hl.
        width: Columns of the map, Wl.
        stride: Pixels a cell; ``(stride_u, stride_v)`` where the two differ.

    Returns:
        ``(Hl, Wl, 2)``: cell (i, j) is centred at pixel ``((j + 0.5) stride_u, (i + 0.5) stride_v)``.
    """
    stride_u, stride_v = stride if isinstance(stride, tuple) else (stride, stride)
    u = (torch.arange(width, dtype=dtype, device=device) + 0.5) * stride_u
    v = (torch.arange(height, dtype=dtype, device=device) + 0.5) * stride_v
    return torch.stack((u.expand(height, width), v[:, None].expand(height, width)), -1)


@in_full_precision
def ray_directions(
    pixels: Array,  # (*B, P, 2) or (P, 2), edge coordinates, the same for all cameras
    cam2img: Array,  # (*B, N, 3, 3) or (*B, N, 4, 4)
    lidar2cam: Array | None = None,  # (*B, N, 4, 4)
) -> Array:
    """Unit vectors ``(*B, N, P, 3)`` from each camera's centre through the pixels.

    They are in the camera frame, or, if ``lidar2cam`` is given, in the LiDAR frame. :func:`camera_centers` gives the
    origins.

    Raises:
        ValueError: If an intrinsic matrix is singular or pixels have another shape.
    """
    if pixels.ndim < 2 or pixels.shape[-1] != 2:
        raise ValueError(f'Expected pixels (P, 2) or (..., P, 2), got shape {tuple(pixels.shape)}.')
    img2cam = invert(to_homogeneous(cam2img)[..., :3, :3], 'cam2img')
    ones = torch.ones_like(pixels[..., :1]) if isinstance(pixels, Tensor) else np.ones_like(pixels[..., :1])
    homogeneous: Any = torch.cat((pixels, ones), -1) if isinstance(pixels, Tensor) else np.concatenate(
        (pixels, ones), -1)
    directions = homogeneous[..., None, :, :] @ img2cam.swapaxes(-1, -2)
    if lidar2cam is not None:
        cam2lidar = invert(lidar2cam[..., :3, :3], 'lidar2cam')
        directions = directions @ cam2lidar.swapaxes(-1, -2)
    return directions / (directions**2).sum(-1)[..., None]**0.5


@in_full_precision
def camera_centers(lidar2cam: Array) -> Array:
    """Where the cameras stand: ``(..., 3)`` in the LiDAR frame, metres, from ``lidar2cam`` ``(..., 4, 4)``."""
    return invert(to_homogeneous(lidar2cam), 'lidar2cam')[..., :3, 3]


@in_full_precision
def pull_into_range(
    points: Tensor,  # (..., 3) LiDAR frame, metres
    origins: Tensor,  # broadcastable to them: from where each point is seen, camera centres
    point_range: Tensor,  # (6,) x_min, y_min, z_min, x_max, y_max, z_max
) -> Tensor:
    """Shorten the way from an origin to its point until it ends within an axis-aligned range.

    The largest share of the way that stays inside is the least, over the axes, of what leads to the side that the way
    leaves through. What is pulled in stays on its ray, and so at its pixel, while a clamp of each axis would move it
    sideways. Gradients flow as if the share were a constant: a point beyond the range still learns to come nearer.

    Returns:
        ``(..., 3)``. Points inside come back as they are, to the bit; the others lie on the border, but for rounding. A
        way that never is inside (which takes an origin outside) ends outside.
    """
    low, high = point_range.split(3)
    way = points - origins
    with torch.no_grad():
        share = (torch.where(way > 0, high, low) - origins) / way
        share = torch.where(way == 0, torch.inf, share).amin(-1, keepdim=True).clamp(min=0)  # (..., 1)
    return torch.where(share < 1, origins + share * way, points)


def from_ray_frame(
    vectors: Tensor,  # (..., 2) along and across the ray
    points: Tensor,  # (..., 2) x, y of where each vector stands, seen from the origin
) -> Tensor:
    """Turn ground-plane vectors from the frame of the ray that leads to a point into the frame of the points.

    .. code-block:: none

        y ^      across ^ . along
          |              \\/          a point that the origin sees under the azimuth a:
          |             . point       x = along cos a - across sin a
          |        . ray              y = along sin a + across cos a
          |   .
          0 ---------> x

    An object looks the same in a camera wherever the camera looks, and so do its vectors in this frame.

    Returns:
        ``(..., 2)`` x, y. At the origin, where there is no ray, the frame of the points itself.
    """
    azimuth = torch.atan2(points[..., 1], points[..., 0])
    cosine, sine = azimuth.cos(), azimuth.sin()
    along, across = vectors.unbind(-1)
    return torch.stack((along * cosine - across * sine, along * sine + across * cosine), dim=-1)


def resize_matrix(scale_u: float, scale_v: float) -> np.ndarray:
    """The 3x3 float64 map of pixels when an image is resized by ``(scale_u, scale_v)``."""
    return np.diag((scale_u, scale_v, 1.0)).astype(np.float64)


def crop_matrix(left: float, top: float) -> np.ndarray:
    """The 3x3 float64 map of pixels when an image is cropped at ``(left, top)``; negative values pad on that side."""
    return np.array([[1.0, 0.0, -left], [0.0, 1.0, -top], [0.0, 0.0, 1.0]])


def mirror_matrix(width: float) -> np.ndarray:
    """The 3x3 float64 map of pixels when an image of this width is mirrored left to right."""
    return np.array([[-1.0, 0.0, width], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


def edit_cam2img(cam2img: Array, pixel_map: Array) -> Array:
    """The intrinsics of an edited image.

    Args:
        cam2img: ``(..., 3, 3)`` or ``(..., 4, 4)``.
        pixel_map: ``(..., 3, 3)``, takes homogeneous pixels of the old image to the new one; products of
            :func:`resize_matrix`, :func:`crop_matrix` and :func:`mirror_matrix`, the last edit leftmost.

    Returns:
        ``(..., 4, 4)``.
    """
    return to_homogeneous(pixel_map) @ to_homogeneous(cam2img)


def pixel_map_between_centers(pixel_map: np.ndarray) -> np.ndarray:
    """The same 3x3 map for coordinates that put a pixel's centre at whole numbers, as ``cv2.warpAffine`` does."""
    half = crop_matrix(-0.5, -0.5)  # from centre to edge coordinates
    return np.linalg.inv(half) @ pixel_map @ half


def _check_matrices(matrix: Array, name: str) -> None:
    if matrix.ndim < 3 or tuple(matrix.shape[-2:]) != (4, 4):
        raise ValueError(f'Expected {name} (..., N, 4, 4), got shape {tuple(matrix.shape)}.')
