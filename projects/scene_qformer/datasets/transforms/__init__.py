"""Transforms: load the cameras' images, edit them with their intrinsics, edit the scene with its cameras, pack."""
from .cached_tokens import LoadSceneTokens, PackSceneTokens
from .choose_questions import ChooseQuestions
from .drop_cameras import DropCameras, RandomDropCameras
from .given_images import TakeSurroundImages
from .image_geometry import CropSurroundImages, PadSurroundImages, RandomWarpSurroundImages, ResizeSurroundImages
from .loading import LoadSurroundImages
from .packing import PackSceneInputs
from .scene_geometry import RandomMirrorScene, RandomRotateScaleScene

__all__ = [
    'ChooseQuestions', 'CropSurroundImages', 'DropCameras', 'LoadSceneTokens', 'LoadSurroundImages',
    'PackSceneInputs', 'PackSceneTokens', 'PadSurroundImages', 'RandomDropCameras', 'RandomMirrorScene',
    'RandomRotateScaleScene', 'RandomWarpSurroundImages', 'ResizeSurroundImages', 'TakeSurroundImages'
]
