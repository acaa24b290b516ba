"""TokenReader: projector and language model on scene tokens that were made before."""
from __future__ import annotations

from mmdet3d.models.detectors import Base3DDetector
from mmdet3d.registry import MODELS
from torch import Tensor

from ..finite_losses import check_finite_losses
from .checkpoint_shapes import refuse_other_shapes
from .language.text_samples import batch_text
from .token_projector import build_projector, input_width


@MODELS.register_module()
class TokenReader(Base3DDetector):
    """Answers questions from cached scene queries instead of images: :class:`SceneQFormer` behind its decoder.

    ::

        scene_queries (B, Q, C)
          -> projector         scene_tokens (B, Q, D)
          -> language_model    pred_text

    With a frozen encoder it trains as the whole model does, without reading an image. Parts are called as in
    ``SceneQFormer``, so that ``load_from`` takes its checkpoints, and it takes this one's.

    Args:
        language_model: As in :class:`SceneQFormer`: ``hidden_size``, ``loss``, ``generate``.
        projector: From C to the language model's width D, as there; None where the cache holds tokens of that width.
        blind: Hand no scene tokens to the language model, which then sees the text alone: what can be guessed.
        data_preprocessor: Defaults to :class:`SceneTokenPreprocessor`.
        train_cfg: Must be empty. Accepted for mmdet3d's sake, as ``test_cfg``.
        test_cfg: Likewise.
        init_cfg: mmengine's initialisation config.

    Raises:
        ValueError: If the projector's width is not the language model's, or there are settings in ``train_cfg``.
    """

    def __init__(self,
                 language_model: dict,
                 projector: dict | None = None,
                 blind: bool = False,
                 data_preprocessor: dict | None = None,
                 train_cfg: dict | None = None,
                 test_cfg: dict | None = None,
                 init_cfg: dict | None = None) -> None:
        super().__init__(data_preprocessor=data_preprocessor or dict(type='SceneTokenPreprocessor'), init_cfg=init_cfg)
        if train_cfg or test_cfg:
            raise ValueError('TokenReader takes no train_cfg or test_cfg: give settings to language_model.')
        self.language_model = MODELS.build(language_model)
        self.projector = None if blind else build_projector(projector, self.language_model)
        self.blind = blind
        self.register_load_state_dict_pre_hook(refuse_other_shapes)

    def extract_feat(self, inputs: dict) -> Tensor | None:
        """Scene tokens.

        Args:
            inputs: ``scene_queries (B, Q, C)``; not looked at by a blind model.

        Returns:
            ``(B, Q, D)``; None from a blind model.

        Raises:
            ValueError: If there are no scene queries, or they are no ``(B, Q, C)`` of the width that is wanted.
        """
        if self.blind:
            return None
        if 'scene_queries' not in inputs:
            raise ValueError('TokenReader expects scene_queries (B, Q, C), got '
                             f'{", ".join(inputs) or "no inputs"}. Put LoadSceneTokens and PackSceneTokens into '
                             'the pipeline, or say blind=True.')
        queries = inputs['scene_queries']
        if queries.dim() != 3:
            raise ValueError(f'TokenReader expects scene_queries (B, Q, C), got {tuple(queries.shape)}.')
        width = self._input_width()
        if width is not None and queries.shape[2] != width:
            reader = "the language model's embeddings" if self.projector is None else 'the projector'
            raise ValueError(f'Scene queries {tuple(queries.shape)} have {queries.shape[2]} channels, but {reader} '
                             f'expected {width}. Is it the cache of another model, or of another space?')
        return queries if self.projector is None else self.projector(queries)

    def _forward(self, inputs: dict, data_samples: list | None = None, **kwargs) -> Tensor | None:
        """Mode ``tensor``: scene tokens ``(B, Q, D)``; None from a blind model."""
        return self.extract_feat(inputs)

    def loss(self, inputs: dict, data_samples: list, **kwargs) -> dict[str, Tensor]:
        """Mode ``loss``: the language model's losses.

        Raises:
            NonFiniteLossError: If one is not finite.
            ValueError: If a sample has no questions.
        """
        losses = self.language_model.loss(self.extract_feat(inputs), batch_text(data_samples))
        check_finite_losses(losses, data_samples)
        return losses

    def predict(self, inputs: dict, data_samples: list, **kwargs) -> list:
        """Mode ``predict``: the data samples with ``pred_text``, an answer to each conversation of ``gt_text``.

        Raises:
            ValueError: If a sample has no questions.
        """
        answers = self.language_model.generate(self.extract_feat(inputs), batch_text(data_samples))
        for sample, texts in zip(data_samples, answers, strict=True):
            sample.pred_text = texts
        return data_samples

    def _input_width(self) -> int | None:
        """C; None of a projector that does not tell."""
        return self.language_model.hidden_size if self.projector is None else input_width(self.projector)
