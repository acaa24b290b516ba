"""Transforms: load the cameras' images, edit them with their intrinsics, edit the scene with its cameras, pack."""
from .loading import LoadSurroundImages
from .packing import PackSceneInputs

__all__ = ['LoadSurroundImages', 'PackSceneInputs']
