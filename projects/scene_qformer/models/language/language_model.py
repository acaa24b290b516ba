"""SceneLanguageModel: any causal language model of transformers reads scene tokens and answers questions."""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmdet3d.registry import MODELS
from mmengine.model import BaseModule, initialize
from torch import Tensor

from .chat import ChatFormat, TokenizedText
from .generation import generate_after_embeds
from .llm_loading import check_vocabulary_fits, create_causal_lm, load_causal_lm, load_tokenizer
from .llm_tuning import recompute_activations, set_trainable, set_training_mode
from .logits import logits_at
from .saved_weights import accept_names_without_adapters, leave_out_of_checkpoints
from .splice import IGNORE_INDEX, IMAGE_TOKEN_INDEX, SplicedText, splice_scene_tokens


class _Row(NamedTuple):
    """One conversation of a batch."""

    frame: int  # whose scene tokens it reads
    number: int  # which of the frame's conversations it is
    text: TokenizedText


@MODELS.register_module()
class SceneLanguageModel(BaseModule):
    """A language model whose text has scene tokens in it.

    ::

        <s> [scene tokens (Q, D)] Question: How many cars are ahead? \\n Answer:  3 </s>
                                                                        learned: ^^^^^^

    A frame's conversations are read one by one, each with the frame's scene tokens. Frozen weights that were loaded
    from files are not part of checkpoints (see ``saved_weights.py``); adapters, trained weights and random ones are.

    Args:
        model: A local folder or a Hugging Face name; or, for random weights, ``dict(model_type='llama', ...)`` with
            settings of that family's config.
        tokenizer: Folder or name of the tokenizer; that of the model by default.
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
                 init_cfg: dict | None = None) -> None:
        super().__init__(init_cfg)
        if tokenizer is None and not isinstance(model, str):
            raise ValueError("A language model by a config, model=dict(...), has no tokenizer of its own: give "
                             "tokenizer='<folder>', e.g. one that save_word_tokenizer() wrote.")
        if questions_per_pass is not None and questions_per_pass < 1:
            raise ValueError(f'questions_per_pass must be at least 1, or None for all, got {questions_per_pass}.')
        self.tokenizer = load_tokenizer(tokenizer or str(model), download)
        if isinstance(model, str):
            llm = load_causal_lm(model, dtype, download)
        else:
            llm = create_causal_lm(model, self.tokenizer, dtype)
        check_vocabulary_fits(llm, self.tokenizer)
        self.chat = ChatFormat(self.tokenizer, system_prompt)
        self.hidden_size: int = llm.get_input_embeddings().weight.shape[1]
        self.max_length = max_length or getattr(llm.config, 'max_position_embeddings', None)
        self.questions_per_pass = questions_per_pass
        self.generation = dict(generation or {})
        if gradient_checkpointing:
            recompute_activations(llm)
        self.llm = set_trainable(llm, trainable, lora)
        names = [f'llm.{name}' for name in self.llm.state_dict()]
        if lora is not None:
            accept_names_without_adapters(self, names)
        if isinstance(model, str):
            trained = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
            leave_out_of_checkpoints(self, [name for name in names if name not in trained])
        self.train()

    def loss(self, scene_tokens: Tensor | None, batch_text: Sequence[Sequence[Mapping]]) -> dict[str, Tensor]:
        """Cross-entropy of the answers.

        Args:
            scene_tokens: ``(B, Q, D)``; None for a model that sees no scene.
            batch_text: For each of the B frames its conversations, ``dict(id, type, turns=[(question, answer), ...])``;
                all answers are learned.

        Returns:
            ``loss_text``: the mean over all answers' tokens (their end tokens included) of all frames, in nats.

        Raises:
            ValueError: If there is no conversation, or one is malformed or too long.
        """
        self._check_batch(scene_tokens, batch_text)
        rows = [_Row(frame, number, self._cut(self.chat.training_text(conversation, scene_tokens is not None),
                                              conversation, scene_tokens))
                for frame, conversations in enumerate(batch_text) for number, conversation in enumerate(conversations)]
        num_learned = sum(sum(row.text.learned) for row in rows)
        total: Any = sum(self._summed_loss(self._splice(scene_tokens, part, 'right')) for part in self._passes(rows))
        return dict(loss_text=total / num_learned)

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
        self._check_batch(scene_tokens, batch_text)
        answers = [[''] * len(conversations) for conversations in batch_text]
        rows = []
        for frame, conversations in enumerate(batch_text):
            for number, conversation in enumerate(conversations):
                ids = self.chat.prompt(conversation, scene_tokens is not None)
                self._check_room(self._num_places(ids, scene_tokens) + 1, conversation)
                rows.append(_Row(frame, number, TokenizedText(ids, [False] * len(ids))))
        for part in self._passes(rows):
            spliced = self._splice(scene_tokens, part, 'left')
            room = None if self.max_length is None else self.max_length - spliced.inputs_embeds.shape[1]
            new_ids = generate_after_embeds(
                self.llm, self.tokenizer, spliced, self.chat.end_token_id, room, self.generation | options)
            texts = self.tokenizer.batch_decode(new_ids, skip_special_tokens=True)
            for row, text in zip(part, texts):
                answers[row.frame][row.number] = text.strip()
        return answers

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

    def _splice(self, scene_tokens: Tensor | None, rows: Sequence[_Row], padding_side: str) -> SplicedText:
        """Embed conversations, padded to the longest of them."""
        def stack(sequences: Sequence[Sequence], fill: int) -> Tensor:
            longest = max(len(sequence) for sequence in sequences)
            return torch.tensor([[*sequence, *[fill] * (longest - len(sequence))] for sequence in sequences])

        frames = torch.tensor([row.frame for row in rows])
        return splice_scene_tokens(
            input_ids=stack([row.text.input_ids for row in rows], 0),
            scene_tokens=None if scene_tokens is None else scene_tokens[frames.to(scene_tokens.device)],
            embed_tokens=self.llm.get_input_embeddings(),
            attention_mask=stack([[1] * len(row.text.input_ids) for row in rows], 0),
            labels=stack([[index if learned else IGNORE_INDEX for index, learned in zip(*row.text)] for row in rows],
                         IGNORE_INDEX),
            padding_side=padding_side)

    def _summed_loss(self, spliced: SplicedText) -> Tensor:
        """Sum over the learned tokens; each is predicted at the place before it."""
        assert spliced.labels is not None
        targets = F.pad(spliced.labels[:, 1:], (0, 1), value=IGNORE_INDEX)
        # Logits, the largest tensor of all, only for the places where some sample learns: not for the scene tokens.
        places = (targets != IGNORE_INDEX).any(0).nonzero()[:, 0]
        logits = logits_at(self.llm, places, inputs_embeds=spliced.inputs_embeds, attention_mask=spliced.attention_mask,
                           position_ids=spliced.position_ids)
        return F.cross_entropy(logits.flatten(0, 1).float(), targets[:, places].flatten(), ignore_index=IGNORE_INDEX,
                               reduction='sum')

    def _passes(self, rows: Sequence[_Row]) -> Iterator[Sequence[_Row]]:
        """Conversations of like length together, so that little is padding."""
        rows = sorted(rows, key=lambda row: len(row.text.input_ids))
        step = self.questions_per_pass or max(len(rows), 1)
        for start in range(0, len(rows), step):
            yield rows[start:start + step]

    def _num_places(self, ids: Sequence[int], scene_tokens: Tensor | None) -> int:
        """How many places a text takes with its scene tokens."""
        return len(ids) + (0 if scene_tokens is None else ids.count(IMAGE_TOKEN_INDEX) * (scene_tokens.shape[1] - 1))

    def _cut(self, text: TokenizedText, conversation: Mapping, scene_tokens: Tensor | None) -> TokenizedText:
        """What of a text there is room for, from its beginning on; some of an answer must be in it."""
        first_learned = text.learned.index(True)
        self._check_room(self._num_places(text.input_ids[:first_learned + 1], scene_tokens), conversation)
        places = self._num_places(text.input_ids, scene_tokens)
        length = len(text.input_ids) - max(places - (self.max_length or places), 0)
        return TokenizedText(text.input_ids[:length], text.learned[:length])

    def _check_room(self, places: int, conversation: Mapping) -> None:
        if self.max_length is not None and places > self.max_length:
            raise ValueError(
                f'Conversation {conversation.get("id")!r} takes {places} places as far as the first token of its '
                f'answer, scene tokens included, but there are {self.max_length} (max_length, or the '
                'max_position_embeddings of the language model). Use fewer scene queries, shorter history, or a model '
                'with more places.')

    def _check_batch(self, scene_tokens: Tensor | None, batch_text: Sequence[Sequence[Mapping]]) -> None:
        if isinstance(batch_text, Mapping) or any(isinstance(frame, (str, Mapping)) for frame in batch_text):
            inner = ', '.join(sorted({type(frame).__name__ for frame in batch_text}))
            raise ValueError('Expected batch_text as a list of B lists of conversations, one list for each frame, '
                             f'got {type(batch_text).__name__} of {inner}.')
        if not any(len(conversations) for conversations in batch_text):
            raise ValueError(f'None of the {len(batch_text)} frames has a conversation. Leave frames without questions '
                             'out of the data set.')
        if scene_tokens is None:
            return
        if scene_tokens.dim() != 3 or scene_tokens.shape[0] != len(batch_text) or (
                scene_tokens.shape[2] != self.hidden_size):
            raise ValueError(
                f'Expected scene tokens (B, Q, D) = ({len(batch_text)}, Q, {self.hidden_size}) for {len(batch_text)} '
                f'frames and a language model of width {self.hidden_size}, got {tuple(scene_tokens.shape)}. Set '
                f'out_channels of the projector to {self.hidden_size}.')
