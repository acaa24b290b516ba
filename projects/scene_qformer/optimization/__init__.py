"""A trained model made fast for inference, each fast way beside its readable twin in ``models/``.

==================  ==================================================  ==============================================
file                makes                                               twin
==================  ==================================================  ==============================================
batch_norm          batch norm part of the convolution before it        the backbone and neck as they are
image_branch        one module of both, channels last                   ``extract_surround_feats``
reduced_precision   weights of products in bfloat16 or float16          the same parts in float32
int8_branch         the image branch in INT8 by ONNX Runtime            ``ImageBranch``
kept_constants      position codes of shapes once                       the positional encoding
memory_layout       the decoder's memory without waiting                ``flatten_memory``
shared_keys         keys and values of all layers in one product        ``SceneQueryDecoder`` with ``GlobalAttention``
head_attention      attention head by head, bfloat16 on a CPU           ``scaled_dot_product_attention``
captured            a CUDA graph of static shapes                       the function that is recorded
==================  ==================================================  ==============================================
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from ..models.scene_qformer import SceneQFormer
from .calibration_images import calibration_images
from .fast_scene_qformer import FastSceneQFormer
from .optimize_model_hook import OptimizeModelHook
from .options import InferenceOptions

__all__ = ['FastSceneQFormer', 'InferenceOptions', 'OptimizeModelHook', 'calibration_images', 'optimize_model']


def optimize_model(model: SceneQFormer, optimize: bool | Mapping[str, Any] | InferenceOptions | None = True,
                   calibration: Iterable[Tensor] | None = None) -> SceneQFormer:
    """A model for inference that gives the same scene tokens, within the bounds of ``docs/fast_inference.md``, faster.

    Args:
        model: Trained, with its weights loaded, on the device where it will run; it stays as it is.
        optimize: True, or some of the switches of :class:`InferenceOptions` as a dict; False or None for ``model``.
        calibration: Normalised images ``(B, N, 3, H, W)``, batch by batch; ``precision='int8'`` needs them.

    Raises:
        TypeError: If the model is not a ``SceneQFormer``.
        ValueError: If a switch is not known or does not go with the device, or calibration images are missing.
    """
    options = InferenceOptions.read(optimize)
    return model if options is None else FastSceneQFormer(model, options, calibration)
