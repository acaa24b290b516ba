"""What encodings that read the calibration share: their input checked, the pixels of all cells, and back to levels."""
from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...geometry import cell_centers

Cameras = dict[str, Tensor]


def require_matrices(encoding: str, names: Sequence[str], img_feats: Sequence[Tensor], cameras: Cameras) -> None:
    """Check that the camera matrices are there, one for each image.

    Args:
        encoding: Who asks, for the error.
        names: Keys of ``cameras`` that are needed beside ``image_size``, which is always there.
        img_feats: ``(B, N, C, Hl, Wl)`` per level.
        cameras: See the package.

    Raises:
        ValueError: Names the missing metas, or the matrices of another shape than the images ask for.
    """
    missing = [name for name in names if name not in cameras]
    if missing:
        given = ', '.join(sorted(cameras.keys() - {'image_size'})) or 'none'
        raise ValueError(f'{encoding} needs {" and ".join(missing)} (B, N, 4, 4) in the metas of the data samples; '
                         f'the camera matrices that came: {given}. Use PackSceneInputs in the pipeline, and call the '
                         'model with data_samples.')
    expected = (*img_feats[0].shape[:2], 4, 4)
    for name in names:
        if tuple(cameras[name].shape) != expected:
            raise ValueError(f'{encoding} expected {name} {expected} (B, N, 4, 4), one matrix an image, got '
                             f'{tuple(cameras[name].shape)}: load as many images as matrices.')


def cell_pixels(img_feats: Sequence[Tensor], image_size: Tensor) -> Tensor:
    """Where the cells of all levels lie in the padded image.

    A level's strides in u and v are the image's width and height over the level's. They are the network's own strides
    if the image is padded to a multiple of the coarsest one (``pad_size_divisor``), else a fraction of a cell off at
    the far edges.

    Args:
        img_feats: ``(B, N, C, Hl, Wl)`` per level.
        image_size: ``(2,)`` width and height in pixels.

    Returns:
        ``(P, 2)`` float32 pixels u, v, P = sum(Hl * Wl): level by level, row by row.
    """
    fractions = [cell_centers(height, width, (1 / width, 1 / height), device=image_size.device).flatten(0, 1)
                 for height, width in (feat.shape[-2:] for feat in img_feats)]
    return torch.cat(fractions) * image_size.float()


def split_levels(codes: Tensor, img_feats: Sequence[Tensor]) -> list[Tensor]:
    """Vectors of the cells of all levels, ``(B, N, P, C)``, as one ``(B, N, C, Hl, Wl)`` per level in its dtype."""
    sizes = [feat.shape[-2:] for feat in img_feats]
    levels = codes.split([height * width for height, width in sizes], dim=2)
    return [level.unflatten(2, size).movedim(-1, 2).to(feat.dtype)  # (B, N, Hl*Wl, C) -> (B, N, C, Hl, Wl)
            for level, size, feat in zip(levels, sizes, img_feats)]
