"""Frames that consist of images and questions alone."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath

import mmengine.fileio as fileio
from mmdet3d.registry import DATASETS
from mmdet3d.structures import get_box_type
from mmengine.dataset import BaseDataset

from ..inside_folder import check_inside
from .camera_faults import TolerantFrames, absent_camera, check_some_frame_has
from .nuscenes_scene_dataset import NUSCENES_CAMERAS
from .questions import DrivingQuestion
from .questions.by_frame import load_by_sample, name_of
from .seeded_samples import SeededSamples
from .settings import check_names


@DATASETS.register_module()
class DrivingImagesDataset(SeededSamples, TolerantFrames, BaseDataset):
    """Frames as a question file lists them, for who has its images but no info file: DriveLM-nuScenes' own download.

    There is no calibration and there are no boxes: image transforms work, the data samples have no matrices, and parts
    that need one (e.g. attention that projects 3D points) say so. With nuScenes itself at hand, use
    :class:`DrivingQuestionsDataset`.

    ``results``: ``images`` (camera name to ``dict(img_path=str)``), ``token``, ``sample_idx``, and ``gt_text``, a list
    of ``dict(id=str, type=str, turns=[(question, answer), ...])``.

    Args:
        questions: ``dict(type=..., path=...)`` of a source whose questions have ``image_paths``.
        data_root: The folder with ``samples``. Of a path such as ``../nuscenes/samples/CAM_FRONT/x.jpg``, the part from
            ``samples`` on is looked for here; one without ``samples`` is looked for here as it is.
        pipeline: Transforms.
        cam_names: The cameras to use, in the order that the images shall have.
        check_images: Look for every image first, so that a missing one shows at once. Where images are not read, as
            with cached tokens, they need not be there.
        box_type_3d: Of the boxes that a detection head may predict.
        backend_args: For mmengine's file backend.
        on_fault: What happens where an image is missing or broken: ``stop``, in training ``skip``, or ``mask``; see
            ``camera_faults.py``. But for ``stop``, images are looked for when they are loaded.
        **kwargs: As in :class:`mmengine.dataset.BaseDataset`.

    Raises:
        FileNotFoundError: If there is no question file, or an image is missing; names the first.
        ValueError: If ``cam_names`` is no such list, the question file is damaged, a frame lacks a camera or has no
            image paths, or, but for ``test_mode``, a question has no answer.
    """

    def __init__(self,
                 questions: dict,
                 data_root: str,
                 pipeline: Sequence[dict | Callable] = (),
                 cam_names: Sequence[str] = NUSCENES_CAMERAS,
                 check_images: bool = True,
                 box_type_3d: str = 'LiDAR',
                 backend_args: dict | None = None,
                 on_fault: str = 'stop',
                 **kwargs) -> None:
        self.set_policy(on_fault, kwargs.get('test_mode', False))
        self.questions = questions
        self.cam_names = check_names(cam_names, 'cam_names of DrivingImagesDataset')
        self.check_images = check_images
        self.backend_args = backend_args
        self.box_type_3d, self.box_mode_3d = get_box_type(box_type_3d)
        super().__init__(data_root=data_root, pipeline=list(pipeline), **kwargs)

    def load_data_list(self) -> list[dict]:
        """Read the questions and look for every image; see :class:`mmengine.dataset.BaseDataset`."""
        frames: list[dict] = []
        for token, questions in load_by_sample(self.questions, self.test_mode).items():
            frames.append(
                dict(sample_idx=len(frames), token=token, images=self._images(questions[0]),
                     gt_text=[question.as_text() for question in questions],
                     box_type_3d=self.box_type_3d, box_mode_3d=self.box_mode_3d))
        if self.check_images and self.on_fault == 'stop':
            self._check_files(frames)
        check_some_frame_has(frames, self.cam_names, name_of(self.questions))
        return frames

    def _images(self, question: DrivingQuestion) -> dict[str, dict]:
        """Camera name to ``dict(img_path=...)``, in the order of ``cam_names``."""
        paths: Mapping[str, str] | None = question.image_paths
        where = f'Sample {question.sample_token} of {name_of(self.questions)}'
        if paths is None:
            raise ValueError(f'{where} has no image paths, and images are all that {type(self).__name__} knows. Use '
                             'DrivingQuestionsDataset with an info file.')
        missing = [name for name in self.cam_names if name not in paths]
        fault = (f'{where} has no image of {", ".join(missing)}; it has {", ".join(paths) or "none"}.\nCorrect '
                 'cam_names in the config.')
        if missing and self.on_fault == 'stop':
            raise ValueError(fault)
        below = {name: check_inside(_below_root(paths[name]), self.data_root, f'{where}, image of {name}')
                 for name in self.cam_names if name in paths}
        there = {name: dict(img_path=fileio.join_path(self.data_root, path, backend_args=self.backend_args))
                 for name, path in below.items()}
        return {name: there.get(name) or absent_camera(fault) for name in self.cam_names}

    def _check_files(self, frames: list[dict]) -> None:
        wanted = [(name, image['img_path'], frame['token']) for frame in frames
                  for name, image in frame['images'].items()]
        missing = [item for item in wanted if not fileio.exists(item[1], backend_args=self.backend_args)]
        if missing:
            name, path, token = missing[0]
            raise FileNotFoundError(f'{len(missing)} of {len(wanted)} images are missing, first {path} (camera {name} '
                                    f'of sample {token}).\ndata_root, now {self.data_root}, has to be the folder that '
                                    'holds samples/; unpack all image archives there.')


def _below_root(path: str) -> str:
    """``../nuscenes/samples/CAM_FRONT/x.jpg`` -> ``samples/CAM_FRONT/x.jpg``."""
    parts = PurePosixPath(path).parts
    if 'samples' not in parts:
        return path
    return '/'.join(parts[len(parts) - 1 - parts[::-1].index('samples'):])
