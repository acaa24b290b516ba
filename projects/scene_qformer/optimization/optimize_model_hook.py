"""The scores of the optimised model: ``tools/test.py`` with the fast ways on."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmdet3d.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..engine.runner_parts import unwrapped_model
from .calibration_images import calibration_images
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
        model = unwrapped_model(runner)
        images = None
        if self.options.precision == 'int8':
            from ..token_extraction import calibration_frames  # brings mmdet3d.apis
            images = calibration_images(model, calibration_frames(runner.cfg))
        fast = FastSceneQFormer(model, self.options, images)
        self._twin, runner.model = runner.model, fast
        runner.logger.info(f'The model is optimised for inference: {", ".join(fast.applied)}.')

    def after_test(self, runner: Runner) -> None:
        """Give the model back."""
        if self._twin is not None:
            runner.model, self._twin = self._twin, None
