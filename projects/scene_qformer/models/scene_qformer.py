"""SceneQFormer: the only place where the parts are wired together."""
from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from mmdet3d.models.detectors import Base3DDetector
from mmdet3d.registry import MODELS
from mmengine.model import ModuleDict
from torch import Tensor, nn

from ..finite_losses import check_finite_losses
from .camera_mask import read_camera_mask
from .checkpoint_shapes import refuse_other_shapes
from .language.text_samples import batch_text
from .part_agreement import check_one_space, check_projector_width
from .query_denoising import DenoisingQueries
from .scene_queries import QuerySet
from .scene_queries.query_set import check_query_group
from .stated_sizes import check_stated_sizes
from .surround_memory import extract_surround_feats, flatten_memory, stack_cameras
from .token_projector import build_projector


class DecodedQueries(NamedTuple):
    """What :meth:`SceneQFormer.decode_queries` returns; with denoising, Q counts those queries, too, and they lead."""

    queries: Tensor  # (num_layers, B, Q, C), after every layer
    reference_points: Tensor  # (num_layers, B, Q, 3) in [0, 1], to which that layer's boxes are relative
    query_set: QuerySet  # the queries that went in
    cameras: dict[str, Tensor]  # the stacked camera matrices


@MODELS.register_module()
class SceneQFormer(Base3DDetector):
    """Surround cameras in, a short sequence of scene tokens in a language model's space out.

    ::

        imgs (B, N, 3, H, W)
          -> backbone, neck         img_feats [(B, N, C, Hl, Wl)]
          -> positional encoding    memory (B, N * sum(Hl * Wl), C)
          -> scene queries, decoder queries (num_layers, B, Q, C)
          -> token_position         (B, Q, C + 32), only where it is given
          -> projector              scene_tokens (B, Q, D)
          -> language_model         pred_text
          -> bbox_head              pred_instances_3d
          -> aux_heads              losses only

    Where the queries are in groups, each head takes part in its ``query_group``, and the groups that are tokens go
    through the projector; see :class:`GroupedSceneQueries`.

    A head is a module with ``loss(queries, reference_points, batch_data_samples) -> dict`` on queries
    ``(num_layers, B, Q, C)`` and reference points ``(num_layers, B, Q, 3)``. It may have an attribute ``query_group``:
    the name of the group whose queries it is handed; without it, or with None, it is handed all. ``bbox_head`` must
    also have ``predict(queries, reference_points, batch_input_metas)``, and with ``denoising`` a ``denoising_loss``;
    see :class:`SceneDetectionHead`. Auxiliary heads need neither: they train the queries, ``pred_instances_3d`` are of
    ``bbox_head`` alone, and denoising queries answer to it alone. ::

        bbox_head=dict(type='SceneDetectionHead', query_group='objects'),
        aux_heads=dict(near=dict(type='SceneDetectionHead', query_group='det'))  # near.loss_cls, near.d0.loss_cls ...

    A language model is a module with the width of its embeddings, ``hidden_size``, and two methods:
    ``loss(scene_tokens, batch_text) -> dict`` and ``generate(scene_tokens, batch_text) -> list of B lists of str``.
    There, ``batch_text`` are the conversations on the data samples, ``gt_text``; see :class:`SceneLanguageModel`. Its
    loss is added to the heads'. Without ``bbox_head`` it is the only loss: nothing then reads the boxes, those of the
    scene queries' own supervision included.

    Cameras may be missing, sample by sample: where the metas say so by ``camera_mask``, they contribute nothing; see
    ``camera_mask.py``.

    Args:
        backbone: Image backbone, e.g. ``mmdet.ResNet``.
        neck: From the backbone's levels to levels of C channels; None if the backbone gives them.
        positional_encoding: Added to the features; see ``positional_encoding/``.
        scene_queries: The queries that become tokens; see ``scene_queries/``.
        decoder: Decoder of the queries.
        token_position: Writes beside each query that becomes a token where its reference point lies; see
            :class:`PolarTokenPosition`. None where a query's place is always the same, or nobody asks for it.
        projector: From C, with ``token_position`` C + 32, to the language model's width D; None gives the queries as
            they are. With a language model, ``out_channels`` need not be given: it is that model's ``hidden_size``.
        language_model: Answers questions about the scene; None for none.
        bbox_head: Auxiliary 3D detection head; modes ``loss`` and ``predict`` need it or a language model.
        aux_heads: Further heads by name, beside ``bbox_head``. Their losses are called ``<name>.<loss>``.
        denoising: Denoising queries beside the learned ones in training; None for none.
        frozen_parts: Names of parts that are not trained, e.g. ``('backbone', 'neck')``: their parameters get no
            gradient and they stay in evaluation mode, so that statistics and dropout rest too.
        data_preprocessor: As in any mmdet3d detector.
        train_cfg: Must be empty: parts take their own settings. Accepted for mmdet3d's sake, as ``test_cfg``.
        test_cfg: Likewise.
        init_cfg: mmengine's initialisation config.

    Raises:
        ValueError: If a head's ``query_group`` is not among the groups of ``scene_queries``, there are auxiliary heads
            without ``bbox_head``, parts mean different spaces, or there are settings in ``train_cfg`` or ``test_cfg``.
    """

    def __init__(self,
                 backbone: dict,
                 positional_encoding: dict,
                 scene_queries: dict,
                 decoder: dict,
                 neck: dict | None = None,
                 token_position: dict | None = None,
                 projector: dict | None = None,
                 language_model: dict | None = None,
                 bbox_head: dict | None = None,
                 aux_heads: dict[str, dict] | None = None,
                 denoising: dict | None = None,
                 frozen_parts: Sequence[str] = (),
                 data_preprocessor: dict | None = None,
                 train_cfg: dict | None = None,
                 test_cfg: dict | None = None,
                 init_cfg: dict | None = None) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        check_stated_sizes(neck=neck, positional_encoding=positional_encoding, scene_queries=scene_queries,
                           decoder=decoder, token_position=token_position, projector=projector, bbox_head=bbox_head,
                           aux_heads=aux_heads, denoising=denoising)
        self.backbone = MODELS.build(backbone)
        self.neck = MODELS.build(neck) if neck else None
        self.positional_encoding = MODELS.build(positional_encoding)
        self.scene_queries = MODELS.build(scene_queries)
        self.decoder = MODELS.build(decoder)
        self.token_position = MODELS.build(token_position) if token_position else None
        self.language_model = MODELS.build(language_model) if language_model else None
        self.projector = build_projector(projector, self.language_model)
        check_projector_width(self)
        self.bbox_head = MODELS.build(bbox_head) if bbox_head else None
        self.aux_heads = ModuleDict(
            {name: MODELS.build(cfg) for name, cfg in aux_heads.items()}) if aux_heads else None
        self.denoising = MODELS.build(denoising) if denoising else None
        if train_cfg or test_cfg:
            raise ValueError('SceneQFormer takes no train_cfg or test_cfg: give assigner, losses and bbox_coder to '
                             'bbox_head.')
        if self.aux_heads is not None and self.bbox_head is None:
            raise ValueError('aux_heads stand beside a bbox_head, and there is none: give the head that predicts as '
                             f'bbox_head, and the others as aux_heads. aux_heads are {list(self.aux_heads)}.')
        for head in (self.bbox_head, *(self.aux_heads or {}).values()):
            check_query_group(_query_group(head), getattr(self.scene_queries, 'group_names', ()))
        check_one_space(self)
        self.frozen_parts = tuple(frozen_parts)
        freeze_parts(self, self.frozen_parts)
        for module in (self, self.backbone):  # the backbone is also loaded on its own, by init_cfg
            module.register_load_state_dict_pre_hook(refuse_other_shapes)

    def train(self, mode: bool = True) -> SceneQFormer:
        """As any module's; frozen parts stay in evaluation mode."""
        super().train(mode)
        for name in self.frozen_parts:
            getattr(self, name).eval()
        return self

    def extract_feat(self, imgs: Tensor, camera_mask: Tensor | None = None) -> list[Tensor]:
        """Image features.

        Args:
            imgs: ``(B, N, 3, H, W)``, normalised.
            camera_mask: ``(B, N)`` bool on the CPU, False at missing cameras, whose features are zero; None if all are
                there.

        Returns:
            One ``(B, N, C, Hl, Wl)`` per level, finest first.

        Raises:
            ValueError: If ``imgs`` has another number of dimensions.
        """
        return extract_surround_feats(self.backbone, self.neck, imgs, camera_mask)

    def decode_queries(self,
                       imgs: Tensor,
                       batch_input_metas: list[dict] | None = None,
                       denoising: DenoisingQueries | None = None) -> DecodedQueries:
        """Let the scene queries read the images.

        Args:
            imgs: ``(B, N, 3, H, W)``, normalised.
            batch_input_metas: B dicts with the camera matrices, and ``camera_mask`` where cameras are missing; or None
                where there are none.
            denoising: D queries to put before the others, for ``bbox_head``; the results then hold D + Q.
        """
        camera_mask = read_camera_mask(batch_input_metas, imgs.shape[1]) if imgs.dim() == 5 else None
        img_feats = self.extract_feat(imgs, camera_mask)
        cameras = stack_cameras(batch_input_metas, imgs, camera_mask)
        query_set = self.scene_queries(img_feats, cameras)
        query, reference_points, attn_mask = query_set.query, query_set.reference_points, query_set.attn_mask
        padding_mask = query_set.padding_mask
        if denoising is not None:
            padding_mask = denoising.padding_mask(query.shape[1], padding_mask)
            detecting = query_set.group(_query_group(self.bbox_head))
            attn_mask = denoising.attention_mask(query.shape[1], attn_mask, detecting)
            query = torch.cat((denoising.query, query), dim=1)
            reference_points = torch.cat((denoising.reference_points, reference_points), dim=1)
        queries, reference_points = self.decoder(
            query=query,
            reference_points=reference_points,
            attn_mask=attn_mask,
            **({} if padding_mask is None else dict(query_padding_mask=padding_mask)),
            cameras=cameras,
            **flatten_memory(img_feats, self.positional_encoding(img_feats, cameras), cameras))
        return DecodedQueries(queries, reference_points, query_set, cameras)

    def _forward(self, inputs: dict | Tensor, data_samples: list | None = None, **kwargs) -> Tensor:
        """Mode ``tensor``: scene tokens.

        Args:
            inputs: ``imgs (B, N, 3, H, W)``, normalised, alone or under the key ``imgs``.
            data_samples: Carry the camera matrices; needed only by parts that use them.

        Returns:
            Scene tokens ``(B, Q, D)``; of the groups that become tokens, where there are groups.
        """
        imgs = inputs if isinstance(inputs, Tensor) else inputs['imgs']
        decoded = self.decode_queries(imgs, _metas(data_samples))
        return self._tokens(decoded)

    def loss(self, inputs: dict, data_samples: list, **kwargs) -> dict[str, Tensor]:
        """Mode ``loss``: losses by name, all finite.

        Raises:
            NonFiniteLossError: If one is not.
            ValueError: If an auxiliary head's name gives a loss the name of another.
        """
        self._require_reader('loss')
        denoising = None
        if self.denoising is not None and self.bbox_head is not None:
            denoising = self.denoising([sample.gt_instances_3d.bboxes_3d.gravity_center for sample in data_samples])
        decoded = self.decode_queries(inputs['imgs'], _metas(data_samples), denoising)
        losses = {}
        if self.bbox_head is not None:
            losses.update(self._box_losses(self.bbox_head, decoded, denoising, data_samples))
        if self.language_model is not None:
            losses.update(self.language_model.loss(self._tokens(decoded), batch_text(data_samples)))
        check_finite_losses(losses, data_samples)
        return losses

    def _box_losses(self, head: nn.Module, decoded: DecodedQueries, denoising: DenoisingQueries | None,
                    data_samples: list) -> dict[str, Tensor]:
        """Of all that is supervised by boxes; ``head`` is ``bbox_head``."""
        queries, reference_points, query_set, cameras = decoded
        losses = self.scene_queries.loss(query_set, cameras, data_samples)
        if denoising is not None:
            num_denoising = denoising.query.shape[1]
            losses.update(head.denoising_loss(queries[:, :, :num_denoising], reference_points[:, :, :num_denoising],
                                              denoising.object_index, data_samples))
            queries, reference_points = queries[:, :, num_denoising:], reference_points[:, :, num_denoising:]
        group = query_set.group(_query_group(head))
        losses.update(head.loss(queries[:, :, group], reference_points[:, :, group], data_samples))
        for name, aux_head in (self.aux_heads or {}).items():
            group = query_set.group(_query_group(aux_head))
            aux_losses = {f'{name}.{loss}': value for loss, value in aux_head.loss(
                queries[:, :, group], reference_points[:, :, group], data_samples).items()}
            if taken := sorted(losses.keys() & aux_losses.keys()):
                raise ValueError(f'aux_heads has {name!r}, whose loss {taken[0]!r} has the name of a loss of another '
                                 'part. Give the head another name.')
            losses.update(aux_losses)
        return losses

    def predict(self, inputs: dict, data_samples: list, **kwargs) -> list:
        """Mode ``predict``: the data samples with what the parts make of them.

        That is ``pred_instances_3d`` in the LiDAR frame with a ``bbox_head``, and with a language model ``pred_text``:
        a list of answers, one for each conversation in ``gt_text``. Samples without ``gt_text`` are asked nothing.
        """
        self._require_reader('predict')
        metas = _metas(data_samples)
        decoded = self.decode_queries(inputs['imgs'], metas)
        if self.bbox_head is not None:
            group = decoded.query_set.group(_query_group(self.bbox_head))
            self.add_pred_to_datasample(data_samples, self.bbox_head.predict(
                decoded.queries[:, :, group], decoded.reference_points[:, :, group], metas))
        if self.language_model is not None and any('gt_text' in sample for sample in data_samples):
            answers = self.language_model.generate(self._tokens(decoded), batch_text(data_samples))
            for sample, text in zip(data_samples, answers, strict=True):
                sample.pred_text = text
        return data_samples

    def token_queries(self, decoded: DecodedQueries) -> Tensor:
        """The last layer's queries that become tokens, ``(B, Q, C)``; with ``token_position`` ``(B, Q, C + 32)``.

        This is what the projector reads. Denoising queries are left out.
        """
        query_set = decoded.query_set
        start = decoded.queries.shape[2] - query_set.query.shape[1]  # denoising queries come first
        queries = query_set.tokens(decoded.queries[-1][:, start:])
        if self.token_position is None:
            return queries
        return self.token_position(queries, query_set.tokens(decoded.reference_points[-1][:, start:]))

    def _tokens(self, decoded: DecodedQueries) -> Tensor:
        """Scene tokens ``(B, Q, D)``."""
        queries = self.token_queries(decoded)
        return queries if self.projector is None else self.projector(queries)

    def _require_reader(self, mode: str) -> None:
        if self.bbox_head is None and self.language_model is None:
            raise RuntimeError(f"Mode '{mode}' needs a head or a language model, and this SceneQFormer was built with "
                               "neither: give `bbox_head=dict(type='SceneDetectionHead', ...)` or "
                               "`language_model=dict(type='SceneLanguageModel', ...)`, or call mode='tensor'.")


def _query_group(head: nn.Module | None) -> str | None:
    """The group that a head takes part in; None for all queries."""
    return getattr(head, 'query_group', None)


def _metas(data_samples: list | None) -> list[dict] | None:
    return None if data_samples is None else [sample.metainfo for sample in data_samples]


def freeze_parts(model: nn.Module, names: Sequence[str]) -> None:
    """Take the gradients of parts away.

    Raises:
        ValueError: If the model has no such part.
    """
    for name in names:
        if not isinstance(getattr(model, name, None), nn.Module):
            parts = ', '.join(child for child, _ in model.named_children())
            raise ValueError(f'frozen_parts names {name!r}, but this {type(model).__name__} has no such part. Its '
                             f'parts are {parts}.')
        getattr(model, name).requires_grad_(False)
