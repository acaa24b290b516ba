"""nuScenes-format data: info files, the dataset and its transforms. Importing this registers them."""
from .nuscenes_scene_dataset import NUSCENES_CAMERAS, NuScenesSceneDataset
from .transforms import *  # noqa: F403

__all__ = ['NUSCENES_CAMERAS', 'NuScenesSceneDataset']
