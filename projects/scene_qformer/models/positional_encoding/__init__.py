"""Positional encodings: where an image feature lies, as a vector that is added to it.

An encoding is a module called with ``(img_feats, cameras)`` that returns one tensor per level which broadcasts to
``(B, N, C, Hl, Wl)``:

- ``img_feats``: list of ``(B, N, C, Hl, Wl)``, finest level first; encodings read shapes, dtype and device from it.
- ``cameras``: dict of float32 tensors: ``image_size`` ``(2,)``, width and height of the padded image in pixels, and,
  where the model is called with metas, ``lidar2img``, ``lidar2cam``, ``cam2img`` ``(B, N, 4, 4)``, stacked once by the
  detector.

==================  ==========================================  =====================================
encoding            tells                                       reads
==================  ==========================================  =====================================
Sine2DEncoding      where in its image                          shapes
CameraIDEncoding    which camera, by its place in the list      shapes
RayEncoding         in which direction it looks                 ``cam2img``, ``lidar2cam`` if LiDAR frame
DepthBinEncoding    which points in space it may show           ``lidar2img``
SumEncoding         the sum of several of them
==================  ==========================================  =====================================
"""
from .camera_id import CameraIDEncoding
from .depth_bins import DepthBinEncoding
from .rays import RayEncoding
from .sine import Sine2DEncoding, sine_embedding
from .sum_encoding import SumEncoding

__all__ = [
    'CameraIDEncoding', 'DepthBinEncoding', 'RayEncoding', 'Sine2DEncoding', 'SumEncoding', 'sine_embedding'
]
