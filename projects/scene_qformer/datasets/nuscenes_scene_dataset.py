"""nuScenes as frames of several cameras."""
from __future__ import annotations

from collections.abc import Callable, Sequence

from mmdet3d.datasets import NuScenesDataset
from mmdet3d.registry import DATASETS

from .camera_faults import TolerantFrames, check_some_frame_has
from .info_file import (
    check_cameras,
    check_once,
    check_paths,
    check_version,
    keep_usable_cameras,
    load_info_file,
    parts_of_their_own,
)
from .seeded_samples import SeededSamples
from .settings import check_names
from .transforms.cached_tokens import LoadSceneTokens

# The order in which mmdet3d's converter lists the cameras; camera IDs count in this order.
NUSCENES_CAMERAS = ('CAM_FRONT', 'CAM_FRONT_RIGHT', 'CAM_FRONT_LEFT', 'CAM_BACK', 'CAM_BACK_LEFT', 'CAM_BACK_RIGHT')


@DATASETS.register_module()
class NuScenesSceneDataset(SeededSamples, TolerantFrames, NuScenesDataset):
    """Frames of nuScenes (or of a synthetic set in its format) with all their cameras.

    It reads the info files that mmdet3d 1.x and ``tools/create_data.py`` write, from any ``data_root``. Boxes are
    ``LiDARInstance3DBoxes`` with velocity (9 numbers); boxes of other classes than the configured ones are left out.
    ``metainfo['version']``, which ``NuScenesMetric`` needs, is read from the info file. With cached scene tokens in the
    pipeline, ``metainfo['scene_tokens']`` says which encoder made them; mmengine writes it into checkpoints.

    Args:
        data_root: The nuScenes root, the folder with ``samples``.
        ann_file: Info file, absolute or in ``data_root``.
        pipeline: Transforms.
        cam_names: The cameras to use, in the order that the images shall have.
        data_prefix: Folder of each camera's files in ``data_root``. Defaults to ``samples/<camera>``.
        modality: As in mmdet3d. Defaults to the cameras alone.
        use_valid_flag: Train on boxes with a lidar *or* radar point instead of those with a lidar point.
        filter_empty_gt: In training, replace frames without boxes by random others. Off, unlike in mmdet3d: an empty
            road is something to learn.
        paths_outside_root: Allow the info file to name files outside of the data root. Off: a file from elsewhere must
            not choose what is read. Links in the data root are always followed.
        on_fault: What happens where a camera's file, entry or calibration is broken: ``stop``, in training ``skip``, or
            ``mask``; see ``camera_faults.py``.
        each_sample_once: Refuse an info file that lists a sample more than once. Defaults to ``test_mode``: in an
            evaluation it would count twice, and in training it may be repeated on purpose.
        **kwargs: As in :class:`mmdet3d.datasets.NuScenesDataset`.

    Raises:
        FileNotFoundError: If there is no data root or no info file.
        ValueError: If the info file is damaged, empty, of another era, of another version than ``metainfo`` says, or
            lacks a camera or, in a test, lists a sample twice; the pipeline reads cached tokens of other frames;
            ``cam_names`` or the classes are none; frames without boxes are to be replaced, and all are without; or
            samples of a test are to be skipped.
    """

    METAINFO = {key: value for key, value in NuScenesDataset.METAINFO.items() if key != 'version'}

    def __init__(self,
                 data_root: str,
                 ann_file: str,
                 pipeline: Sequence[dict | Callable] = (),
                 cam_names: Sequence[str] = NUSCENES_CAMERAS,
                 data_prefix: dict | None = None,
                 modality: dict | None = None,
                 use_valid_flag: bool = True,
                 filter_empty_gt: bool = False,
                 paths_outside_root: bool = False,
                 on_fault: str = 'stop',
                 each_sample_once: bool | None = None,
                 **kwargs) -> None:
        self.cam_names = check_names(cam_names, 'cam_names of NuScenesSceneDataset')
        self.set_policy(on_fault, kwargs.get('test_mode', False))
        self.paths_outside_root = paths_outside_root
        self.each_sample_once = kwargs.get('test_mode', False) if each_sample_once is None else each_sample_once
        self._check_classes((kwargs.get('metainfo') or {}).get('classes'))
        if data_prefix is None:
            data_prefix = {name: f'samples/{name}' for name in self.cam_names}
            data_prefix['pts'] = 'samples/LIDAR_TOP'
        super().__init__(
            data_root=data_root,
            ann_file=ann_file,
            pipeline=list(pipeline),
            data_prefix=data_prefix,
            modality=dict(use_camera=True, use_lidar=False) if modality is None else modality,
            use_valid_flag=use_valid_flag,
            filter_empty_gt=filter_empty_gt,
            **kwargs)
        for step in self.pipeline.transforms:
            if isinstance(step, LoadSceneTokens):
                step.check_frames(self.ann_file)
                self._metainfo['scene_tokens'] = step.source

    def load_data_list(self) -> list[dict]:
        """Read and check the info file; see :class:`mmengine.dataset.BaseDataset`."""
        content = load_info_file(self.ann_file, self.backend_args)
        check_version(content['metainfo'].get('version'), self._metainfo.get('version'), self.ann_file)
        if not content['data_list']:
            raise ValueError(f'The info file {self.ann_file} holds no frames: the root it was made from has no scene '
                             'of this split. Use another ann_file or a root with such scenes.')
        if self.each_sample_once:
            check_once(content['data_list'], self.ann_file)
        for key, value in content['metainfo'].items():
            self._metainfo.setdefault(key, value)
        frames = [self.parse_data_info(info) for info in parts_of_their_own(content['data_list'])]
        check_some_frame_has(frames, self.cam_names, self.ann_file)
        if self.filter_empty_gt and not self.test_mode and not any(
                len(frame['ann_info']['gt_labels_3d']) for frame in frames):
            raise ValueError(f'No frame of {self.ann_file} has a box of the classes '
                             f'{", ".join(self._metainfo["classes"])}, and filter_empty_gt=True would look for one for '
                             'ever. Set it to False, or name other classes in metainfo.')
        return frames

    def _check_classes(self, classes: Sequence[str] | None) -> None:
        """What mmdet3d would only find missing in a tuple, without saying where it looked."""
        if classes is None:
            return
        known = self.METAINFO['classes']
        names = check_names(classes, 'metainfo.classes of NuScenesSceneDataset')
        if set(names) - set(known):
            raise ValueError(f'Expected metainfo.classes of NuScenesSceneDataset to be some of {", ".join(known)}; got '
                             f'{", ".join(names)}.')

    def parse_data_info(self, info: dict) -> dict:
        """Keep the configured cameras, in their order; join paths and parse annotations as mmdet3d does."""
        if self.on_fault == 'stop':
            check_cameras(info, self.cam_names, self.ann_file)
            info['images'] = {name: info['images'][name] for name in self.cam_names}
        else:
            keep_usable_cameras(info, self.cam_names, self.ann_file)
        if not self.paths_outside_root:
            check_paths(info, self.data_root, self.ann_file)
        # The larger half of an info, used by monocular detectors only: left out of memory and of each frame's copy.
        info.pop('cam_instances', None)
        return super().parse_data_info(info)

    def parse_ann_info(self, info: dict) -> dict:
        """As mmdet3d, less the boxes of no configured class (label -1)."""
        return self._remove_dontcare(super().parse_ann_info(info))
