"""A trained SceneQFormer made fast for inference."""
from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from ..models.camera_mask import read_camera_mask
from ..models.scene_qformer import DecodedQueries, SceneQFormer
from ..models.scene_queries import QuerySet
from ..models.surround_memory import CAMERA_MATRICES
from .batch_norm import fold_batch_norm
from .captured import CapturedFunction, CudaGraph, Function
from .image_branch import ImageBranch, as_channels_last
from .int8_branch import Int8ImageBranch
from .kept_constants import KeptEncoding
from .memory_layout import StaticShapes, lay_out_memory
from .options import InferenceOptions
from .reduced_precision import cast_matrices
from .shared_keys import SharedKeysDecoder, can_share_keys


class FastSceneQFormer(SceneQFormer):
    """A :class:`SceneQFormer` for inference alone: modes ``tensor`` and ``predict``, called as its twin.

    Parts are replaced by faster ones that take their weights, each with a twin and a bound of its own; the model that
    it was made from stays as it is. Where a way does not apply (deformable attention projects no keys, a ViT has no
    batch norm) it is silently not taken; ``applied`` names those that were.

    Scene queries and heads always compute in float32, as do rays, depth bins and the angles of sine codes: rounding
    would choose other proposals and move points by metres. The codes of positions, once computed, are rounded to the
    dtype of the features, and added in it. Tokens are float32.

    The language model is the twin's own: there is no copy of it, and it stays as the twin has it.

    Graphs and INT8 branches are made for all cameras. With ``options.missing_cameras``, batches in which a camera is
    missing (``camera_mask``) go through a copy of the twin; without, they are refused.

    Args:
        model: Trained, with its weights loaded; on the device where it will run.
        options: See :class:`InferenceOptions`.
        calibration: Normalised images ``(B, N, 3, H, W)``, batch by batch; for ``precision='int8'`` only.

    Attributes:
        options: Without ``auto``.
        applied: The names of the optimisations that were applied.

    Raises:
        TypeError: If the model is not a ``SceneQFormer``.
        ValueError: If an option does not go with the device, or calibration images are missing.
    """

    def __init__(self, model: SceneQFormer, options: InferenceOptions,
                 calibration: Iterable[Tensor] | None = None) -> None:
        if type(model) is not SceneQFormer:
            raise TypeError(f'Only a SceneQFormer can be optimised, got {type(model).__name__}.')
        device = next(model.parameters()).device
        options = options.resolve(device)
        nn.Module.__init__(self)  # parts are built: take those of a copy
        self.__dict__.update(inference_copy(model).__dict__)
        # Beside the modules: it is called, and nothing else.
        self.__dict__['_readable'] = inference_copy(model) if options.missing_cameras else None
        self.options, self._device_type = options, device.type
        self.applied = tuple(self._replace_parts(calibration))
        self._shapes = StaticShapes()
        self._groups: dict[torch.Size, tuple] = {}  # of the queries, by the shape of the images
        self._decode_static = self._capture(self._decode)
        self._encode_static = self._capture(self._encode)

    def _replace_parts(self, calibration: Iterable[Tensor] | None) -> list[str]:
        """Put faster parts in the place of others; tells which ways were taken."""
        options, applied = self.options, []
        branch: nn.Module = ImageBranch(self.backbone, self.neck).eval()
        if options.fold_batch_norm and (folded := fold_batch_norm(branch)) is not branch:
            branch = folded
            applied.append('fold_batch_norm')
        if options.precision == 'int8':
            branch = Int8ImageBranch(branch, (batch.flatten(0, 1) for batch in calibration or ()))
            applied.append('int8')
        else:
            branch.to(options.dtype)
            if options.channels_last:
                branch = as_channels_last(branch)
                applied.append('channels_last')
        self.backbone, self.neck = branch, None
        if options.keep_constants and len((kept := KeptEncoding(self.positional_encoding)).constant):
            self.positional_encoding = kept
            applied.append('keep_constants')
        if options.merge_keys_values and can_share_keys(self.decoder):
            self.decoder = SharedKeysDecoder(self.decoder)
            applied.append('merge_keys_values')
        if options.dtype != torch.float32:
            for part in (self.decoder, self.projector):
                if part is not None:
                    cast_matrices(part, options.dtype)
            applied.append(str(options.dtype).removeprefix('torch.'))
        if options.capture == 'compile':
            for part in (self.decoder, *(() if options.precision == 'int8' else (self.backbone, ))):
                compile_part(part, self._device_type)
            applied.append('compile')
        return applied

    def _capture(self, function: Function) -> Function:
        if self.options.capture in ('cuda_graph', 'auto'):
            return CapturedFunction(function, CudaGraph, required=self.options.capture == 'cuda_graph')
        return function

    def train(self, mode: bool = True) -> FastSceneQFormer:
        """Only ``eval()``.

        Raises:
            RuntimeError: In training mode.
        """
        if mode:
            self._refuse('train')
        return super().train(False)

    def _apply(self, fn: Callable, recurse: bool = True) -> NoReturn:
        """Not possible: no ``to()``, ``half()``, ``cpu()`` and their like, which all end here.

        Raises:
            RuntimeError: Always.
        """
        self._refuse('move or cast')

    def _set_device(self, device: torch.device) -> NoReturn:
        """Not possible; mmengine's ``to()`` begins with it, and would take the data preprocessor along.

        Raises:
            RuntimeError: Always.
        """
        self._refuse('move or cast')

    def loss(self, inputs: dict, data_samples: list, **kwargs: Any) -> NoReturn:
        """Not possible.

        Raises:
            RuntimeError: Always.
        """
        self._refuse('train')

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> NoReturn:
        """Not possible: weights are folded, merged and cast.

        Raises:
            RuntimeError: Always.
        """
        self._refuse('load weights into')

    @staticmethod
    def _refuse(purpose: str) -> NoReturn:
        raise RuntimeError(f'To {purpose} a model that was optimised for inference is not possible: its weights are '
                           'folded, merged and rounded, and what it keeps between calls lies where it was made. Take '
                           'the SceneQFormer that it was made from, which is unchanged, and optimise it again.')

    @torch.no_grad()
    def decode_queries(self, imgs: Tensor, batch_input_metas: list[dict] | None = None,
                       denoising: None = None) -> DecodedQueries:
        """As :meth:`SceneQFormer.decode_queries`, without denoising; of the layers, only the last is returned.

        What scene queries predicted for their own loss, ``query_set.proposals``, is left out. All this does not hold
        where a camera is missing: then it is the twin's.

        Raises:
            ValueError: If a camera is missing, and ``options.missing_cameras`` is off.
        """
        if (readable := self._without_cameras(imgs, batch_input_metas)) is not None:
            return readable.decode_queries(imgs, batch_input_metas)
        inputs = self._inputs(imgs, batch_input_metas)
        return self._named(self._decode_static(inputs), inputs)

    @torch.no_grad()
    def predict(self, inputs: dict, data_samples: list, **kwargs: Any) -> list:
        """Mode ``predict``: as the twin's."""
        metas = [sample.metainfo for sample in data_samples]
        if (readable := self._without_cameras(inputs['imgs'], metas)) is not None:
            return readable.predict(inputs, data_samples, **kwargs)
        return super().predict(inputs, data_samples, **kwargs)

    @torch.no_grad()
    def _forward(self, inputs: dict | Tensor, data_samples: list | None = None, **kwargs: Any) -> Tensor:
        """Mode ``tensor``: as the twin's."""
        imgs = inputs if isinstance(inputs, Tensor) else inputs['imgs']
        metas = None if data_samples is None else [sample.metainfo for sample in data_samples]
        if (readable := self._without_cameras(imgs, metas)) is not None:
            return readable(inputs, data_samples, mode='tensor')
        return self._encode_static(self._inputs(imgs, metas))[0]

    def _without_cameras(self, imgs: Tensor, metas: list[dict] | None) -> SceneQFormer | None:
        """The model for a batch in which a camera is missing; None where none is.

        Raises:
            ValueError: If one is, and there is no such model.
        """
        if imgs.dim() != 5 or read_camera_mask(metas, imgs.shape[1]) is None:
            return None
        if self._readable is None:
            raise ValueError('A model that was optimised for inference reads all cameras of every frame, and here one '
                             'is missing (camera_mask). Let it keep the model as it was for such frames: '
                             'optimize=dict(missing_cameras=True, ...).')
        return self._readable

    @staticmethod
    def _inputs(imgs: Tensor, metas: list[dict] | None) -> dict[str, Tensor]:
        """The images and, as of ``stack_cameras``, the matrices; the host waits for nothing."""
        inputs = dict(imgs=imgs)
        for name in CAMERA_MATRICES:
            if metas and all(name in meta for meta in metas):
                matrices = torch.from_numpy(np.stack([np.asarray(meta[name], dtype=np.float32) for meta in metas]))
                if imgs.is_cuda:
                    matrices = matrices.pin_memory()  # copies from other memory wait
                inputs[name] = matrices.to(imgs.device, non_blocking=True)
        return inputs

    def _decode(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Tensors to tensors: what graphs record.

        Returns:
            Queries and points of the last layer, ``(1, B, Q, C)`` and ``(1, B, Q, 3)``, and those that went in,
            ``(B, Q, C)`` and ``(B, Q, 3)``; float32.
        """
        imgs = inputs['imgs']
        cameras = {name: matrices for name, matrices in inputs.items() if name != 'imgs'}
        cameras['image_size'] = self._shapes.image_size(imgs)
        img_feats = self.extract_feat(imgs)
        query_set = self.scene_queries([feat.float() for feat in img_feats], cameras)
        self._groups[imgs.shape] = query_set.groups, query_set.token_groups
        memory = lay_out_memory(img_feats, self.positional_encoding(img_feats, cameras), self._shapes,
                                value_only=isinstance(self.decoder, SharedKeysDecoder))
        with self._half():
            queries, reference_points = self.decoder(
                query=query_set.query, reference_points=query_set.reference_points, attn_mask=query_set.attn_mask,
                cameras=cameras, **memory)
        return queries[-1:].float(), reference_points[-1:], query_set.query, query_set.reference_points

    def _encode(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor]:
        """Tensors to scene tokens ``(B, Q, D)``."""
        return (self._tokens(self._named(self._decode(inputs), inputs)), )

    def _named(self, decoded: tuple[Tensor, ...], inputs: Mapping[str, Tensor]) -> DecodedQueries:
        """What :meth:`_decode` returns, with the groups of those queries."""
        queries, reference_points, query, start = decoded
        groups, token_groups = self._groups[inputs['imgs'].shape]
        cameras = {name: matrices for name, matrices in inputs.items() if name != 'imgs'}
        cameras['image_size'] = self._shapes.image_size(inputs['imgs'])
        return DecodedQueries(queries, reference_points, QuerySet(
            query, start, groups=groups, token_groups=token_groups), cameras)

    def _tokens(self, decoded: DecodedQueries) -> Tensor:
        with self._half():
            return super()._tokens(decoded).float()

    def _half(self) -> torch.autocast:
        """Autocast, without its cache of cast weights, which a graph could not record; they are cast already."""
        half = self.options.dtype != torch.float32
        return torch.autocast(self._device_type, self.options.dtype if half else None, enabled=half,
                              cache_enabled=False)


def inference_copy(model: SceneQFormer) -> SceneQFormer:
    """A copy in evaluation mode, without gradients.

    Its language model is the model's own, gigabytes that nobody changes; it lies beside the modules, so that ``eval()``
    and ``requires_grad_()`` stop before it.
    """
    copied = copy.deepcopy(model, {id(model.language_model): model.language_model})
    copied.__dict__['language_model'] = copied._modules.pop('language_model', None)
    copied.frozen_parts = ()  # all are
    return copied.eval().requires_grad_(False)


def compile_part(part: nn.Module, device_type: str) -> None:
    """By inductor, for static shapes, in place; on a CPU weights are brought into the layout of its kernels."""
    part.compile(dynamic=False, options=dict(freezing=True) if device_type == 'cpu' else None)
