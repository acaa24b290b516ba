"""The scores of the optimised model: ``tools/test.py`` with the fast ways on."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmdet3d.registry import HOOKS
from mmengine.dataset import pseudo_collate
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from .fast_scene_qformer import FastSceneQFormer
from .options import InferenceOptions


@HOOKS.register_module()
class OptimizeModelHook(Hook):
    """Tests a :class:`FastSceneQFormer` in the place of the model, with the weights of the checkpoint.

    A config of two lines, for ``tools/test.py``::

        _base_ = 'CONFIG.py'
        custom_hooks = [dict(type='OptimizeModelHook', optimize=dict(precision='bfloat16'))]

    INT8 is calibrated on some of the config's training frames.

    Args:
        optimize: True, or some of the switches of :class:`InferenceOptions`.
    """

    def __init__(self, optimize: bool | Mapping[str, Any] = True) -> None:
        self.options = InferenceOptions.read(optimize)
        self._twin: Any = None

    def before_test(self, runner: Runner) -> None:
        """The weights are loaded: optimise."""
        if self.options is None:
            return
        images = calibration_images(runner) if self.options.precision == 'int8' else None
        self._twin = runner.model
        runner.model = FastSceneQFormer(runner.model, self.options, images)
        runner.logger.info(f'The model is optimised for inference: {", ".join(runner.model.applied)}.')

    def after_test(self, runner: Runner) -> None:
        """Give the model back."""
        if self._twin is not None:
            runner.model, self._twin = self._twin, None


def calibration_images(runner: Runner) -> Iterator[Tensor]:
    """Normalised images ``(1, N, 3, H, W)`` of training frames, frame by frame."""
    from ..token_extraction import calibration_frames  # brings mmdet3d.apis
    for frame in calibration_frames(runner.cfg):
        yield runner.model.data_preprocessor(pseudo_collate([frame]), training=False)['inputs']['imgs']
