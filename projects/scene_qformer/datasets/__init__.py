"""nuScenes-format data: info files, the dataset and its transforms. Importing this registers them."""
from .driving_images_dataset import DrivingImagesDataset
from .driving_questions_dataset import DrivingQuestionsDataset
from .joint_batch_sampler import JointBatchSampler
from .nuscenes_scene_dataset import NUSCENES_CAMERAS, NuScenesSceneDataset
from .resumable_sampler import ResumableSampler
from .seeded_samples import SeededDataset
from .transforms import *  # noqa: F403

__all__ = ['NUSCENES_CAMERAS', 'DrivingImagesDataset', 'DrivingQuestionsDataset', 'JointBatchSampler',
           'NuScenesSceneDataset', 'ResumableSampler', 'SeededDataset']
