"""SceneLanguageModel: any causal language model of transformers reads scene tokens and answers questions."""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmdet3d.registry import MODELS
from mmengine.model import BaseModule, initialize
from torch import Tensor

from ...joint_batch import joint_normalizer
from .chat import ChatFormat
from .generation import generate_after_embeds
from .llm_loading import check_vocabulary_fits, create_causal_lm, load_causal_lm, load_tokenizer
from .llm_tuning import recompute_activations, set_trainable, set_training_mode
from .logits import logits_at
from .saved_weights import accept_names_without_adapters, fingerprint, leave_out_of_checkpoints
from .shared_attention import inputs_apart
from .shared_prompt import can_share, cut_rows, read_once, shared_length
from .shared_scene import share_prefix, splice_segments
from .sharing_check import prepare_to_share
from .splice import IGNORE_INDEX, SplicedText, splice_scene_tokens
from .text_rows import TextRow, check_batch, prompt_rows, stack_rows, training_rows


@MODELS.register_module()
class SceneLanguageModel(BaseModule):
    """A language model whose text has scene tokens in it.

    ::

        <s> [scene tokens (Q, D)] Question: How many cars are ahead? \\n Answer:  3 </s>
                                                                        learned: ^^^^^^

    A frame's conversations are read one by one, each with the frame's scene tokens. Frozen weights that were loaded
    from files are not part of checkpoints, a fingerprint is (see ``saved_weights.py``); adapters, trained weights and
    random ones are.

    Args:
        model: A local folder or a Hugging Face name; or, for random weights, ``dict(model_type='llama',
            tokenizer='<folder>', ...)`` with settings of that family's config.
        tokenizer: Folder or name of another tokenizer than the model's.
        trainable: Whether the whole language model is trained; otherwise it is frozen and in evaluation mode.
        lora: Train low-rank adapters instead: arguments of peft's ``LoraConfig``, e.g. ``dict(r=16, lora_alpha=32)``.
        dtype: Of the weights: 'float32', 'bfloat16' or 'float16'. To train all of them take float32 and mixed
            precision (``--amp``): steps of the usual size are lost in the rounding of bfloat16.
        gradient_checkpointing: Compute activations again in the backward pass instead of keeping them.
        system_prompt: Put before every conversation.
        max_length: Places for text and scene tokens together; the model's ``max_position_embeddings`` by default. In
            training longer conversations are cut at the end, as in LLaVA.
        questions_per_pass: How many conversations go through the language model at a time; all of the batch by default.
        generation: Options of transformers' ``generate``; ``dict(max_new_tokens=64, do_sample=False)`` by default.
        download: Whether transformers may fetch a model that is not on this machine.
        share_scene_tokens: Read a frame's scene tokens once for all its questions: in training these stand side by side
            (see ``shared_scene.py``), for answers keys and values are copied (``shared_prompt.py``). The same results,
            faster where a frame has several questions. Not all families can; whether this one does is tried at once.
        init_cfg: mmengine's initialisation config, e.g. of a checkpoint with trained weights; adds to ``model``.

    Raises:
        FileNotFoundError: If weights or tokenizer are not there.
        ModuleNotFoundError: If transformers is not installed, or with ``lora`` peft.
        ValueError: If the arguments do not fit each other.
    """

    def __init__(self,
                 model: str | dict,
                 tokenizer: str | None = None,
                 trainable: bool = False,
                 lora: dict | None = None,
                 dtype: str = 'float32',
                 gradient_checkpointing: bool = False,
                 system_prompt: str | None = None,
                 max_length: int | None = None,
                 questions_per_pass: int | None = None,
                 generation: dict | None = None,
                 download: bool = False,
                 share_scene_tokens: bool = False,
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        settings = {} if isinstance(model, str) else dict(model)
        # inside the dict, so that a folder takes the place of both
        own_tokenizer = model if isinstance(model, str) else settings.pop('tokenizer', None)
        tokenizer = tokenizer or own_tokenizer
        if tokenizer is None:
            raise ValueError("A language model by a config, model=dict(...), has no tokenizer: give its folder in "
                             "model=dict(tokenizer='<folder>', ...), e.g. one that tools/create_word_tokenizer.py "
                             'wrote.')
        if questions_per_pass is not None and questions_per_pass < 1:
            raise ValueError(f'questions_per_pass must be at least 1, or None for all, got {questions_per_pass}.')
        self.tokenizer = load_tokenizer(tokenizer, download)
        if isinstance(model, str):
            llm = load_causal_lm(model, dtype, download)
            files_mark = fingerprint(llm)
        else:
            llm = create_causal_lm(settings, self.tokenizer, dtype)
        check_vocabulary_fits(llm, self.tokenizer)
        self.chat = ChatFormat(self.tokenizer, system_prompt)
        self.hidden_size: int = llm.get_input_embeddings().weight.shape[1]
        self.max_length = max_length or getattr(llm.config, 'max_position_embeddings', None)
        self.questions_per_pass = questions_per_pass
        self.generation = dict(generation or {})
        self.share_scene_tokens = share_scene_tokens
        if share_scene_tokens:
            prepare_to_share(llm)
        if gradient_checkpointing:
            recompute_activations(llm)
        self.llm = set_trainable(llm, trainable, lora)
        names = [f'llm.{name}' for name in self.llm.state_dict()]
        if lora is not None:
            accept_names_without_adapters(self, names)
        if isinstance(model, str):
            trained = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
            leave_out_of_checkpoints(self, [name for name in names if name not in trained], files_mark)
        self.train()

    def loss(self, scene_tokens: Tensor | None, batch_text: Sequence[Sequence[Mapping]]) -> dict[str, Tensor]:
        """Cross-entropy of the answers.

        Args:
            scene_tokens: ``(B, Q, D)``; None for a model that sees no scene.
            batch_text: For each of the B frames its conversations, ``dict(id, type, turns=[(question, answer), ...])``;
                all answers are learned.

        Returns:
            ``loss_text``: the mean over all answers' tokens (their end tokens included) of all frames, in nats. Of
            several processes each gives its sum over the tokens of all, so that their average is the joint mean.

        Raises:
            ValueError: If there is no conversation, or one is malformed or too long.
        """
        check_batch(batch_text, scene_tokens, self.hidden_size)
        rows = training_rows(self.chat, batch_text, scene_tokens, self.max_length)
        num_learned = sum(sum(row.text.learned) for row in rows)
        summed_loss = self._summed_loss_of_shared if self.share_scene_tokens else self._summed_loss
        total: Any = sum(summed_loss(scene_tokens, part) for part in self._passes(rows))
        return dict(loss_text=total / joint_normalizer(num_learned))

    @torch.no_grad()
    def generate(self,
                 scene_tokens: Tensor | None,
                 batch_text: Sequence[Sequence[Mapping]],
                 **options: Any) -> list[list[str]]:
        """Answer the last question of each conversation; earlier turns are history, and the last answer is not read.

        Args:
            scene_tokens: ``(B, Q, D)``; None for a model that sees no scene.
            batch_text: For each of the B frames its conversations.
            **options: Options of transformers' ``generate``; they precede those of the config.

        Returns:
            For each frame the answers, in the order of its conversations.

        Raises:
            ValueError: If a conversation is malformed or too long, or an option would give several answers.
        """
        check_batch(batch_text, scene_tokens, self.hidden_size)
        answers = [[''] * len(conversations) for conversations in batch_text]
        options, training = self.generation | options, self.training
        self.eval()  # nothing drops out of an answer; and layers that are recomputed in training keep no keys
        try:
            for part in self._passes(prompt_rows(self.chat, batch_text, scene_tokens, self.max_length)):
                for row, text in zip(part, self._answers(scene_tokens, part, options)):
                    answers[row.frame][row.number] = text.strip()
        finally:
            self.train(training)
        return answers

    def _answers(self, scene_tokens: Tensor | None, rows: Sequence[TextRow], options: Mapping[str, Any]) -> list[str]:
        """Go on after prompts."""
        if self.share_scene_tokens and can_share(self.llm, options) and (length := shared_length(rows)):
            first, rest, owners = cut_rows(rows, length)
            prompt, cache = read_once(
                self.llm, self._splice(scene_tokens, first, 'left'), self._splice(None, rest, 'left'), owners)
        else:
            prompt, cache = self._splice(scene_tokens, rows, 'left'), None
        room = None if self.max_length is None else self.max_length - prompt.inputs_embeds.shape[1]
        new_ids = generate_after_embeds(self.llm, self.tokenizer, prompt, self.chat.end_token_id, room, options, cache)
        return self.tokenizer.batch_decode(new_ids, skip_special_tokens=True)

    def train(self, mode: bool = True) -> SceneLanguageModel:
        """As any module's; a frozen language model's dropout rests."""
        super().train(mode)
        if hasattr(self, 'llm'):
            set_training_mode(self.llm, mode)
        return self

    def init_weights(self) -> None:
        """Load what ``init_cfg`` names, once; transformers has initialised or loaded the language model already."""
        if self.init_cfg and not self.is_init:
            initialize(self, self.init_cfg)
        self._is_init = True

    def _splice(self, scene_tokens: Tensor | None, rows: Sequence[TextRow], padding_side: str) -> SplicedText:
        """Embed conversations, padded to the longest of them."""
        frames = torch.tensor([row.frame for row in rows])
        return splice_scene_tokens(
            **stack_rows(rows),
            scene_tokens=None if scene_tokens is None else scene_tokens[frames.to(scene_tokens.device)],
            embed_tokens=self.llm.get_input_embeddings(),
            padding_side=padding_side)

    def _summed_loss(self, scene_tokens: Tensor | None, rows: Sequence[TextRow]) -> Tensor:
        """Sum over the learned tokens."""
        spliced = self._splice(scene_tokens, rows, 'right')
        return self._summed_cross_entropy(spliced, attention_mask=spliced.attention_mask,
                                          position_ids=spliced.position_ids)

    def _summed_loss_of_shared(self, scene_tokens: Tensor | None, rows: Sequence[TextRow]) -> Tensor:
        """The same, with the questions of a frame side by side."""
        frames = {row.frame: [other.text for other in rows if other.frame == row.frame] for row in rows}
        shared = [(frame, text) for frame, texts in frames.items() for text in share_prefix(texts)]
        spliced = self._splice(scene_tokens, [TextRow(frame, 0, row.text) for frame, row in shared], 'right')
        segments = splice_segments([row for _, row in shared], 0 if scene_tokens is None else scene_tokens.shape[1])
        return self._summed_cross_entropy(spliced, **inputs_apart(
            self.llm, segments.to(spliced.inputs_embeds.device), spliced.inputs_embeds.dtype))

    def _summed_cross_entropy(self, spliced: SplicedText, **inputs: Any) -> Tensor:
        """Each learned token is predicted at the place before it; what else the model takes is given."""
        assert spliced.labels is not None
        targets = F.pad(spliced.labels[:, 1:], (0, 1), value=IGNORE_INDEX)
        # Logits, the largest tensor of all, only for the places where some sample learns: not for the scene tokens.
        places = (targets != IGNORE_INDEX).any(0).nonzero()[:, 0]
        logits = logits_at(self.llm, places, inputs_embeds=spliced.inputs_embeds, **inputs)
        return F.cross_entropy(logits.flatten(0, 1).float(), targets[:, places].flatten(), ignore_index=IGNORE_INDEX,
                               reduction='sum')

    def _passes(self, rows: Sequence[TextRow]) -> Iterator[Sequence[TextRow]]:
        """Conversations of like length together, so that little is padding; of a frame, if they share scene tokens."""
        rows = sorted(rows, key=lambda row: (row.frame if self.share_scene_tokens else 0, len(row.text.input_ids)))
        step = self.questions_per_pass or max(len(rows), 1)
        for start in range(0, len(rows), step):
            yield rows[start:start + step]
