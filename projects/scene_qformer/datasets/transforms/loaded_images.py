"""The images that a transform edits."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


def loaded_images(results: Mapping, transform: str) -> Sequence[np.ndarray]:
    """``results['img']``, images (H, W, 3).

    Args:
        results: Of a pipeline.
        transform: Who asks, for the error.

    Raises:
        ValueError: If no image has been loaded yet.
    """
    images = results.get('img')
    if images is None or not len(images):
        raise ValueError(f'{transform} found no images in sample {results.get("token")}. Put it behind the transform '
                         'that loads them, LoadSurroundImages, and before the one that packs them.')
    return images


def check_loader_left(results: Mapping, keys: Sequence[str], transform: str) -> None:
    """What ``LoadSurroundImages`` adds beside the images, and mmdet3d's loader does not.

    Raises:
        ValueError: Names what is missing.
    """
    if missing := [key for key in keys if key not in results]:
        raise ValueError(f'{transform} needs {", ".join(missing)}, which sample {results.get("token")} does not have. '
                         'Load its images with LoadSurroundImages.')
