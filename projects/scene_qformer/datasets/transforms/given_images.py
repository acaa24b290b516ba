"""Images that are in memory already."""
from __future__ import annotations

import tempfile

import cv2
import numpy as np
from mmdet3d.registry import TRANSFORMS

from .loading import LoadSurroundImages, reduction


@TRANSFORMS.register_module()
class TakeSurroundImages(LoadSurroundImages):
    """As :class:`LoadSurroundImages`, where an ``img_path`` may also be the image itself.

    That is the content of an image file, as ``bytes``, which is decoded as the file would be; or an array ``(H, W, 3)``
    uint8, BGR. Where a JPEG file would be decoded to 1/2, 1/4 or 1/8, an array is averaged to that size, which comes
    near to what libjpeg does (0.2 grey levels on average; resized at once, 0.4). Arrays are never written to.

    Args:
        size: As in :class:`LoadSurroundImages`.
        backend_args: Likewise, for files.
    """

    def __init__(self, size: tuple[int, int] | None = None, backend_args: dict | None = None) -> None:
        super().__init__(size=size, backend_args=backend_args)

    def transform(self, results: dict) -> dict:
        """Take the images of ``results['images']``; for errors see :class:`LoadSurroundImages`."""
        results = super().transform(results)
        results['img_path'] = [path if isinstance(path, str) else '' for path in results['img_path']]
        return results

    def _decode(self, path: str | bytes | np.ndarray, where: str) -> tuple[np.ndarray, tuple[int, int]]:
        if isinstance(path, np.ndarray):
            height, width = path.shape[:2]
            factor = 1 if self.size is None else reduction((height, width), self.size)
            if factor == 1:
                return path.view(), (height, width)  # the view is made read-only, not the array
            return cv2.resize(path, (width // factor, height // factor), interpolation=cv2.INTER_AREA), (height, width)
        if isinstance(path, bytes):
            with tempfile.NamedTemporaryFile() as file:  # the way of files, and no second one that could part from it
                file.write(path)
                file.flush()
                return super()._decode(file.name, where)
        return super()._decode(path, where)
