"""Conversations as token ids: the chat template, the place of the scene tokens, and what is learned.

A conversation is ``dict(id=str, type=str, turns=[(question, answer), ...])`` with at least one turn. The mark
``<image>`` in a question says where the scene tokens go; without any mark they go before the first question.
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from .splice import IMAGE_TOKEN_INDEX

SCENE_MARK = '<image>'
CACHE_SIZE = 100_000  # conversations; about 100 MB at 50 tokens each
# For tokenizers without a chat template (base models): Question: ...\nAnswer: ...</s>\n
PLAIN_TEMPLATE = (
    '{% if bos_token is defined %}{{ bos_token }}{% endif %}'
    "{% for message in messages %}{% if message['role'] == 'system' %}{{ message['content'] + '\\n' }}"
    "{% elif message['role'] == 'user' %}{{ 'Question: ' + message['content'] + '\\nAnswer:' }}"
    "{% else %}{{ ' ' + message['content'] + eos_token + '\\n' }}{% endif %}{% endfor %}")


class TokenizedText(NamedTuple):
    """A conversation as the language model reads it; T0 tokens, a placeholder counting as one."""

    input_ids: list[int]  # IMAGE_TOKEN_INDEX where the scene tokens go
    learned: list[bool]  # whether the token is part of an answer, its end token included


class ChatFormat:
    """Writes conversations in the format of one tokenizer.

    An answer's tokens are those by which the text with the answer goes on after the prompt, as far as the end token:
    what is learned is just what must be generated after the prompt. Text is cut at the marks and each piece tokenized
    on its own, as in LLaVA.

    Args:
        tokenizer: A tokenizer of transformers; without a chat template, ``PLAIN_TEMPLATE`` is taken.
        system_prompt: Put before every conversation.

    Raises:
        ValueError: If the template does not end an answer with a special token, or takes no system prompt.
    """

    def __init__(self, tokenizer: Any, system_prompt: str | None = None) -> None:
        self.tokenizer = tokenizer
        self.system_prompt = system_prompt
        self.template = tokenizer.get_chat_template() if tokenizer.chat_template else PLAIN_TEMPLATE
        self.end_token_id = self._find_end_token()
        # a conversation comes again in every epoch, and takes a millisecond
        self._learned_text = lru_cache(maxsize=CACHE_SIZE)(self._read_turns)

    def training_text(self, conversation: Mapping, with_scene: bool) -> TokenizedText:
        """A whole conversation; all answers are learned.

        Raises:
            ValueError: If the conversation is not as described above, or the template rewrites earlier turns.
        """
        return self._learned_text(tuple(self._marked_turns(conversation, with_scene)))

    def _read_turns(self, turns: tuple[tuple[str, str], ...]) -> TokenizedText:
        messages = self._messages(turns)
        full = self._render(messages)
        if len(turns) > 1:
            self._check_template_extends(messages, full)
        ids = self._tokenize(full)
        learned = [False] * len(ids)
        first = len(messages) - 2 * len(turns)
        for turn in range(len(turns)):
            question = first + 2 * turn + 1
            start = _shared_length(ids, self._tokenize(self._render(messages[:question], prompt=True)))
            end = ids.index(self.end_token_id, start)
            learned[start:end + 1] = [True] * (end + 1 - start)
        return TokenizedText(ids, learned)

    def prompt(self, conversation: Mapping, with_scene: bool) -> list[int]:
        """The ids up to where the answer to the last question begins; earlier turns are history.

        Raises:
            ValueError: If the conversation is not as described above.
        """
        messages = self._messages(self._marked_turns(conversation, with_scene))
        return self._tokenize(self._render(messages[:-1], prompt=True))

    def _marked_turns(self, conversation: Mapping, with_scene: bool) -> list[tuple[str, str]]:
        """Question and answer of each turn, with just one mark if there are scene tokens, else without any."""
        turns = check_conversation(conversation)
        marks = sum(question.count(SCENE_MARK) for question, _ in turns)
        if not with_scene:
            return [(question.replace(f'{SCENE_MARK}\n', '').replace(SCENE_MARK, '').strip(), answer)
                    for question, answer in turns]
        if marks > 1:
            raise ValueError(f'Conversation {conversation.get("id")!r} has {marks} marks {SCENE_MARK}, but a frame has '
                             'one sequence of scene tokens, of all cameras: leave one mark, or none to have them '
                             'before the first question.')
        if not marks:
            question, answer = turns[0]
            turns[0] = (f'{SCENE_MARK}\n{question}', answer)
        return turns

    def _messages(self, turns: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
        messages = [dict(role='system', content=self.system_prompt)] if self.system_prompt else []
        for question, answer in turns:
            messages += [dict(role='user', content=question), dict(role='assistant', content=answer)]
        return messages

    def _render(self, messages: Sequence[dict[str, str]], prompt: bool = False) -> str:
        # enable_thinking: templates of models that reason before they answer write an empty thought; others ignore it
        return self.tokenizer.apply_chat_template(
            list(messages), chat_template=self.template, tokenize=False, add_generation_prompt=prompt,
            enable_thinking=False)

    def _tokenize(self, text: str) -> list[int]:
        ids: list[int] = []
        for number, piece in enumerate(text.split(SCENE_MARK)):
            if number:
                ids.append(IMAGE_TOKEN_INDEX)
            if piece:  # special tokens are in the template
                ids += self.tokenizer(piece, add_special_tokens=False)['input_ids']
        return ids

    def _find_end_token(self) -> int:
        """The first special token after an answer."""
        messages = self._messages([('1', '2')])
        try:
            prompt, full = self._render(messages[:-1], prompt=True), self._render(messages)
        except Exception as error:  # jinja2's, or whatever the template raises
            raise ValueError(f'The chat template of {self.tokenizer.name_or_path!r} refuses a conversation of one turn '
                             f'{"with" if self.system_prompt else "without"} a system prompt: {error}. Some know no '
                             'system prompt: leave system_prompt=None and put the text into the questions.') from error
        special = {index for index, token in self.tokenizer.added_tokens_decoder.items() if token.special}
        special.update(self.tokenizer.all_special_ids)
        after = self._tokenize(full)[_shared_length(self._tokenize(full), self._tokenize(prompt)):]
        ends = [index for index in after if index in special]
        if not full.startswith(prompt) or not ends:
            raise ValueError(
                f'The chat template of {self.tokenizer.name_or_path!r} does not end an answer with a special token, so '
                f'generation would not know where to stop. It writes a question as {prompt!r}, and with its answer as '
                f'{full!r}. Give the tokenizer a template that ends answers with {{{{ eos_token }}}}, or none.')
        return ends[0]

    def _check_template_extends(self, messages: Sequence[dict[str, str]], full: str) -> None:
        for number, message in enumerate(messages):
            if message['role'] == 'assistant':
                prompt = self._render(messages[:number], prompt=True)
                if not full.startswith(prompt):
                    raise ValueError(
                        f'The chat template of {self.tokenizer.name_or_path!r} writes a turn otherwise once others '
                        'follow it (templates of reasoning models do), so the answers of one conversation cannot all '
                        'be learned in one pass. Give each turn as a conversation of its own.')


def check_conversation(conversation: Mapping) -> list[tuple[str, str]]:
    """The turns of a conversation.

    Raises:
        ValueError: If it is not ``dict(turns=[(question, answer), ...])`` with at least one turn, or an answer holds
            the mark.
    """
    turns = conversation.get('turns') if isinstance(conversation, Mapping) else None
    good = isinstance(turns, Sequence) and not isinstance(turns, str) and len(turns) > 0 and all(
        isinstance(turn, Sequence) and len(turn) == 2 and all(isinstance(text, str) for text in turn) for turn in turns)
    if turns is None or not good:
        raise ValueError('Expected a conversation dict(id=..., type=..., turns=[(question, answer), ...]) with at '
                         f'least one turn of two strings, got {conversation!r}.')
    for _, answer in turns:
        if SCENE_MARK in answer:
            raise ValueError(f'The mark {SCENE_MARK} belongs into questions, but conversation '
                             f'{conversation.get("id")!r} has it in the answer {answer!r}.')
    return [(question, answer) for question, answer in turns]


def _shared_length(ids: Sequence[int], others: Sequence[int]) -> int:
    """How many ids two sequences begin with in common."""
    for number, (index, other) in enumerate(zip(ids, others)):
        if index != other:
            return number
    return min(len(ids), len(others))
