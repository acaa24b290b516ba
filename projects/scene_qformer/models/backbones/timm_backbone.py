"""Any model of timm as an image backbone."""
from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from mmdet3d.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .resampling import pad_to_multiple, resample_to_stride
from .timm_library import create_timm_model, create_timm_skeleton, import_timm
from .timm_weights import load_timm_weights


@MODELS.register_module()
class TimmBackbone(BaseModule):
    """A timm model by name (ConvNeXt, Swin, ViT, EVA, EVA-02 ...) that gives features like an mmdet backbone.

    Images may have any size that the net allows: they are padded at the right and at the bottom to its stride. For
    each wanted stride the deepest stage of that stride is taken, else the deepest of the next finer one, else the
    finest; a plain ViT has only its last block. What has another stride is resampled
    (:func:`~.resampling.resample_to_stride`). Parts behind the features (further stages, classifier) are left out.

    Args:
        name: timm's name of the model, e.g. ``eva02_base_patch14_448``; a tag of weights behind a dot may follow.
        out_strides: Strides of the returned levels in pixels, finest first.
        out_indices: Take these stages or blocks instead, one for each stride; negative ones count from the end.
        img_size: Height and width (or one number for both) of the images that are to come. Position embeddings of
            this size are made once; an image of another size costs resampling them each time. None for timm's size.
        final_norm: Norm the features with the norm in which the net ends, where it has one that fits them (blocks of
            ViT, the last stage of Swin; ConvNeXt and most EVA nets have none).
        frozen: Keep all weights and, in training too, eval mode.
        frozen_stages: Do so with the stem (0), the stem and the first stage (1) ...; -1 for none. The blocks of a
            plain ViT are its stages.
        norm_eval: Keep the statistics of all batch norms.
        drop_path_rate: Stochastic depth, rising linearly to this rate in the last block.
        with_cp: Recompute activations in the backward pass: less memory, more time.
        model_kwargs: Further arguments of ``timm.create_model``, e.g. ``dict(depth=6)``.
        init_cfg: ``dict(type='Pretrained', checkpoint=<local file>)``, a ``.safetensors`` or torch file; see
            :func:`~.timm_weights.load_timm_weights`. None for timm's random initialisation. Nothing is downloaded.

    Attributes:
        out_channels: Channels of the returned levels, for the neck.

    Raises:
        ModuleNotFoundError: If timm is not installed.
        ValueError: If timm knows no such name, or a setting does not fit the model.
    """

    def __init__(self,
                 name: str,
                 out_strides: Sequence[int] = (16, ),
                 out_indices: Sequence[int] | None = None,
                 img_size: int | Sequence[int] | None = None,
                 final_norm: bool = True,
                 frozen: bool = False,
                 frozen_stages: int = -1,
                 norm_eval: bool = False,
                 drop_path_rate: float = 0.,
                 with_cp: bool = False,
                 model_kwargs: dict | None = None,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if init_cfg is not None and (init_cfg.get('type') != 'Pretrained' or set(init_cfg) - {'type', 'checkpoint'}):
            raise ValueError("TimmBackbone takes init_cfg=dict(type='Pretrained', checkpoint=<local file>) or None (as "
                             f'timm initialises it); got {init_cfg}.')
        self.name = name
        self.out_strides = tuple(out_strides)
        self.final_norm = final_norm
        self.norm_eval = norm_eval
        kwargs = dict(model_kwargs or {})
        if drop_path_rate:
            kwargs['drop_path_rate'] = drop_path_rate
        skeleton = create_timm_skeleton(name, **kwargs)
        self.model_kwargs = kwargs | any_size_kwargs(skeleton, img_size)
        self.model = create_timm_model(name, **self.model_kwargs)

        info = self.model.feature_info
        self.strides = [level['reduction'] for level in info]
        self.taken = check_indices(name, out_indices, self.out_strides, len(info)) if out_indices is not None else [
            deepest_stage(self.strides, stride) for stride in self.out_strides]
        self.out_channels = tuple(channels_of(info[index], final_norm) for index in self.taken)
        self.divisor = max(self.strides[index] for index in self.taken)
        self.model.prune_intermediate_layers(sorted(set(self.taken)), prune_norm=not final_norm, prune_head=True)
        if with_cp:
            self.model.set_grad_checkpointing(True)
        self.frozen_names = [name for name, _ in self.model.named_parameters()] if frozen else self.names_up_to(
            frozen_stages)
        for frozen_name in self.frozen_names:
            self.model.get_parameter(frozen_name).requires_grad_(False)
        self.train()

    def forward(self, imgs: Tensor) -> tuple[Tensor, ...]:
        """Features.

        Args:
            imgs: ``(B*N, 3, H, W)``, normalised as for the training of the weights.

        Returns:
            For each level ``(B*N, out_channels[l], ceil(H / out_strides[l]), ceil(W / out_strides[l]))``.

        Raises:
            ValueError: If the net does not take images of this size.
        """
        indices = sorted(set(self.taken))
        padded = pad_to_multiple(imgs, self.divisor)
        try:
            feats = self.model.forward_intermediates(
                padded, indices=indices, norm=self.final_norm, intermediates_only=True)
        except AssertionError as error:
            raise ValueError(
                f'{self.name} does not take images of {imgs.shape[-2]}x{imgs.shape[-1]} (height x width; padded: '
                f'{padded.shape[-2]}x{padded.shape[-1]}); timm says: {error}. Some nets know one size alone: give it '
                'by img_size, or choose another net.') from error
        by_index = dict(zip(indices, feats))
        return tuple(
            resample_to_stride(by_index[index], self.strides[index], stride, imgs.shape[-2:])
            for index, stride in zip(self.taken, self.out_strides))

    def init_weights(self) -> None:
        """Load the file that ``init_cfg`` names, once; timm has initialised the model already."""
        if self.init_cfg is not None and not self.is_init:
            skeleton = create_timm_skeleton(self.name, **self.model_kwargs)
            load_timm_weights(self.model, skeleton, self.init_cfg['checkpoint'])
        self._is_init = True

    def train(self, mode: bool = True) -> TimmBackbone:
        """Training mode, except for what is frozen."""
        super().train(mode)
        for module in self.model.modules():
            weights = list(module.parameters())
            if (weights and not any(weight.requires_grad for weight in weights)) or (
                    self.norm_eval and isinstance(module, _BatchNorm)):
                module.eval()
        return self

    def parameter_layers(self, coarse: bool = False) -> list[list[str]]:
        """The parameters' names, layer by layer from the image on, by timm's own grouping.

        Args:
            coarse: A stage is one layer, where the net has stages.
        """
        groups = import_timm().models.group_parameters(self.model, self.model.group_matcher(coarse=coarse))
        return [[f'model.{name}' for name in groups[layer]] for layer in sorted(groups)]

    def names_up_to(self, frozen_stages: int) -> list[str]:
        """Names of the model's parameters in the stem and in the first ``frozen_stages`` stages."""
        stages = self.parameter_layers(coarse=True)
        if not -1 <= frozen_stages < len(stages):
            raise ValueError(f'frozen_stages={frozen_stages}, but what {self.name} uses for these features has the '
                             f'stem (0) and the stages 1 to {len(stages) - 1}; -1 freezes none, frozen=True all.')
        return [name.removeprefix('model.') for stage in stages[:frozen_stages + 1] for name in stage]


def deepest_stage(strides: Sequence[int], wanted: int) -> int:
    """Index of the deepest stage of the wanted stride, else of the next finer one, else of the finest."""
    fine_enough = [stride for stride in strides if stride <= wanted]
    stride = max(fine_enough) if fine_enough else min(strides)
    return max(index for index, other in enumerate(strides) if other == stride)


def channels_of(info: dict, normed: bool) -> int:
    """Channels of a stage by its entry in timm's ``feature_info``; few nets (SAM's) change them in their last norm."""
    return info.get('num_chs_norm', info['num_chs']) if normed else info['num_chs']


def check_indices(name: str, out_indices: Sequence[int], out_strides: Sequence[int], num_stages: int) -> list[int]:
    """``out_indices`` without negative ones.

    Raises:
        ValueError: If there is not one for each stride, or one that the model does not have.
    """
    if len(out_indices) != len(out_strides):
        raise ValueError(f'out_indices={tuple(out_indices)} and out_strides={tuple(out_strides)} must be equally many: '
                         'one stage or block for each returned level.')
    if not all(-num_stages <= index < num_stages for index in out_indices):
        raise ValueError(f'out_indices={tuple(out_indices)}, but {name} has the stages or blocks 0 to '
                         f'{num_stages - 1}.')
    return [index % num_stages for index in out_indices]


def any_size_kwargs(skeleton: nn.Module, img_size: int | Sequence[int] | None) -> dict[str, Any]:
    """timm's arguments, of those that this model has, that let it take images of any size.

    Raises:
        ValueError: If ``img_size`` is no size.
    """
    known = {name for cls in type(skeleton).__mro__ if '__init__' in vars(cls)
             for name in inspect.signature(vars(cls)['__init__']).parameters}
    kwargs: dict[str, Any] = {'dynamic_img_size': True} if 'dynamic_img_size' in known else {}
    if img_size is not None and 'img_size' in known:
        height, width = (img_size, img_size) if isinstance(img_size, int) else img_size
        divisor = max(level['reduction'] for level in skeleton.feature_info)
        kwargs['img_size'] = tuple(length + -length % divisor for length in (height, width))
    return kwargs
