"""Transforms: load the cameras' images, edit them with their intrinsics, edit the scene with its cameras, pack."""
from .image_geometry import CropSurroundImages, PadSurroundImages, RandomWarpSurroundImages, ResizeSurroundImages
from .loading import LoadSurroundImages
from .packing import PackSceneInputs
from .scene_geometry import RandomMirrorScene, RandomRotateScaleScene

__all__ = [
    'CropSurroundImages', 'LoadSurroundImages', 'PackSceneInputs', 'PadSurroundImages', 'RandomMirrorScene',
    'RandomRotateScaleScene', 'RandomWarpSurroundImages', 'ResizeSurroundImages'
]
