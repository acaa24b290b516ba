"""Scene tokens of any frame: images in memory or on disk, calibration from wherever it comes."""
from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmdet3d.registry import TRANSFORMS
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import DefaultScope
from torch import Tensor

from .dataset_config import is_transform
from .datasets import NUSCENES_CAMERAS
from .datasets.camera_faults import check_policy
from .datasets.single_frame import check_channel_order, frame_results
from .optimization import InferenceOptions, calibration_images, optimize_model
from .token_cache import plain_test_dataset


class SceneTokenizer:
    """A trained model as a function from a frame to its scene tokens. ::

        tokenizer = SceneTokenizer('config.py', 'epoch_24.pth')
        tokenizer(None, (nusc, sample_token))           # (Q, D): files and calibration as the devkit has them
        tokenizer(['front.jpg', ...], info)             # files, calibration of an info dict of mmdet3d
        tokenizer({'CAM_FRONT': array, ...}, dict(cam2img=..., lidar2cam=..., image_size=(1600, 900)))
        tokenizer([images, images], [cameras, cameras])  # (2, Q, D)

    The config's own test pipeline runs on what is given: from the same files (or their contents, as ``bytes``) and
    matrices come, bit by bit, the tokens of ``tools/extract_tokens.py``. An array goes the same way from its full size
    on. Only where the pipeline lets libjpeg decode a file to a part of its size (``LoadSurroundImages``), pixels of the
    array and of the file differ slightly.

    Args:
        config: Config file, or config, of a model that reads images.
        checkpoint: File written by training.
        device: ``cpu`` or ``cuda:0``.
        channel_order: Of images in memory: ``rgb``, or ``bgr`` as ``cv2.imread`` gives them.
        optimize: Make the model fast: True, or some of the switches of :class:`InferenceOptions` as a dict. None for
            what the config says under ``optimize``; nothing, if it says nothing. Tokens then differ within the bounds
            of ``docs/fast_inference.md``.
        on_fault: What happens where an image or the calibration of a camera is missing or broken: ``stop``, or
            ``mask``, which makes the tokens from the other cameras and warns, naming camera and reason. An image that
            is None is missing. With ``optimize``, such frames go through the model as it was, of which a copy is kept.
        calibration: For ``optimize=dict(precision='int8')``: frames such as will come, each a pair of what
            :meth:`__call__` takes. None for some of the config's training frames.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If the config's model reads no images, the checkpoint is of another model, or a switch is not known.
    """

    def __init__(self, config: str | Path | Config, checkpoint: str | Path, device: str = 'cpu',
                 channel_order: str = 'rgb', optimize: bool | Mapping[str, Any] | None = None,
                 calibration: Sequence[tuple] | None = None, on_fault: str = 'stop') -> None:
        check_policy(on_fault, test_mode=True)
        check_channel_order(channel_order)
        self.on_fault = on_fault
        # mmdet3d.apis, which loads half of mmdet3d, is needed here alone
        from .token_extraction import calibration_frames, load_encoder
        cfg = config if isinstance(config, Config) else Config.fromfile(str(config))
        options = InferenceOptions.read(cfg.get('optimize') if optimize is None else optimize)
        dataset = plain_test_dataset(cfg)
        self.cam_names = tuple(dataset.get('cam_names', NUSCENES_CAMERAS))
        self.channel_order = channel_order
        self.model = load_encoder(cfg, checkpoint, device)
        first, *rest = dataset['pipeline']
        self._takes_arrays = is_transform(first, 'LoadSurroundImages', subclasses=False)
        if self._takes_arrays:
            first = dict(first, type='TakeSurroundImages')
        with DefaultScope.overwrite_default_scope(cfg.get('default_scope', 'mmdet3d')):
            self._pipeline = Compose([TRANSFORMS.build(transform) for transform in (first, *rest)])
        if options is not None:
            images = None
            if options.precision == 'int8':
                images = calibration_images(self.model, calibration_frames(cfg) if calibration is None else (
                    self._prepare(*frame) for frame in calibration))
            if on_fault == 'mask':
                options = replace(options, missing_cameras=True)
            self.model = optimize_model(self.model, options, images)

    def __call__(self, images: Any, cameras: Any) -> Tensor:
        """Scene tokens of one frame, or of several.

        Args:
            images: Of each camera a file, its content as ``bytes``, or an array ``(H, W, 3)`` uint8 in
                ``channel_order``: a dict by camera name, or a list in the order of ``cam_names``. None for the files
                that ``cameras`` names.
            cameras: ``(nusc, sample_token)``, an info dict, or arrays: see
                :func:`scene_qformer.datasets.calibration.read_cameras`. A list of them for a batch; ``images`` then is
                a list of the same length, or None.

        Returns:
            ``(Q, D)``, or ``(B, Q, D)`` for a batch; float32 on the CPU.

        Raises:
            FileNotFoundError: If an image file is missing.
            ValueError: If a camera, an image or a matrix is missing, has another shape than it should, or an image has
                another size than that which the calibration is for.
            TypeError: If images or cameras are of another kind.
        """
        from .token_extraction import compute_tokens
        if isinstance(cameras, list):
            frames = self._pair(images, cameras)
            return compute_tokens(self.model, pseudo_collate([self._prepare(*frame) for frame in frames]))
        return compute_tokens(self.model, pseudo_collate([self._prepare(images, cameras)]))[0]

    def _prepare(self, images: Any, cameras: Any) -> dict:
        results = frame_results(images, cameras, self.cam_names, self.channel_order, self.on_fault)
        if not self._takes_arrays and not all(isinstance(camera.get('img_path'), str)
                                              for camera in results['images'].values()):
            raise ValueError("This config's test pipeline begins with another loader than LoadSurroundImages, which "
                             'reads files alone: give a path for each camera, or begin it with LoadSurroundImages.')
        packed = self._pipeline(results)
        for name, fault in packed['data_samples'].metainfo.get('camera_faults', {}).items():
            warnings.warn(f'{name} is masked: {fault}', stacklevel=3)
        return packed

    @staticmethod
    def _pair(images: Any, cameras: Sequence) -> list[tuple]:
        if images is None:
            images = [None] * len(cameras)
        if not isinstance(images, (list, tuple)) or len(images) != len(cameras) or not cameras:
            got = f'{len(images)} of images' if hasattr(images, '__len__') else f'images of {type(images).__name__}'
            raise ValueError(f'A batch needs images and cameras of each frame: got {len(cameras)} of cameras and '
                             f'{got}. For one frame, give its cameras as they are, not in a list.')
        return list(zip(images, cameras))
