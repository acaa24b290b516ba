"""Drawing a split's questions so that their texts tell little about their answers.

Balance is kept within each exact text. Questions are drawn in rounds: a round is about one text and takes one frame for
each of its answers, of which it needs two or, if many are possible, three. So "Is there a bus within 20 meters?" is
answered yes as often as no, and "How many buses are there?" has no answer in more than a third of its questions.
Whoever knows all texts with their answers but sees no image is right in no more than that share. Texts that are always
answered alike are never drawn.
"""
from __future__ import annotations

import random
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Choice(NamedTuple):
    """A question about a frame."""

    frame: int
    type: str
    text: str
    answer: str


@dataclass
class TextPool:
    """All frames that one text can be asked about."""

    type: str
    least: int  # how many different answers a round needs
    frames: defaultdict[str, list[int]] = field(default_factory=lambda: defaultdict(list))  # answer -> frames


def draw(pools: Mapping[str, TextPool], per_frame: int, rng: random.Random) -> list[Choice]:
    """Questions in balanced rounds, at most ``per_frame`` a frame, until no round is left.

    The next round is one of the type with the fewest questions so far, about the text of it that waits longest. A frame
    with all its questions leaves the pools.

    Returns:
        The questions in the order of frames, types and texts; the same for pools of the same content.
    """
    waiting: dict[str, deque[str]] = {}
    left: dict[str, dict[str, list[int]]] = {}  # text -> answer -> frames, those at the end to be drawn next
    for text in sorted(pools):
        waiting.setdefault(pools[text].type, deque()).append(text)
        left[text] = {answer: rng.sample(frames, len(frames)) for answer, frames in sorted(pools[text].frames.items())}
    for texts in waiting.values():
        rng.shuffle(texts)
    asked_of: Counter[int] = Counter()  # frames
    number = dict.fromkeys(waiting, 0)
    drawn: list[Choice] = []
    while waiting:
        kind = min(waiting, key=lambda name: (number[name], name))
        text = waiting[kind].popleft()
        answers = [answer for answer, frames in left[text].items() if _drop_full(frames, asked_of, per_frame)]
        if len(answers) >= pools[text].least:
            for answer in answers:
                frame = left[text][answer].pop()
                asked_of[frame] += 1
                drawn.append(Choice(frame, kind, text, answer))
            number[kind] += len(answers)
            waiting[kind].append(text)
        elif not waiting[kind]:
            del waiting[kind]
    return sorted(drawn)


def text_only_statistics(choices: Iterable[Choice]) -> dict:
    """Of some questions: their number, how often each answer is given, and what guessing gets right.

    Returns:
        ``dict(number, answers, majority_accuracy, text_only_accuracy)``: the accuracy of always giving the most
        frequent answer, and of giving the most frequent one to each exact text, the best that anybody without an image
        can do.
    """
    answers: Counter[str] = Counter()
    by_text: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for choice in choices:
        answers[choice.answer] += 1
        by_text[choice.text][choice.answer] += 1
    number = answers.total()
    return dict(
        number=number,
        answers=dict(sorted(answers.items())),
        majority_accuracy=round(max(answers.values(), default=0) / max(number, 1), 4),
        text_only_accuracy=round(sum(max(counts.values()) for counts in by_text.values()) / max(number, 1), 4))


def _drop_full(frames: list[int], asked_of: Counter[int], per_frame: int) -> list[int]:
    """The same list without the frames at its end that have all their questions."""
    while frames and asked_of[frames[-1]] >= per_frame:
        frames.pop()
    return frames
