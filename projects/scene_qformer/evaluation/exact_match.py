"""Exact-match accuracy, by question type and overall, as NuScenes-QA counts it."""
from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .driving_answer import DrivingAnswer

_FINAL_PUNCTUATION = '.,;:!?'
_BY_HOP = re.compile(r'(.+)_[01]')  # NuScenes-QA's numbers of hops


@dataclass(frozen=True)
class Accuracy:
    """How many answers are right."""

    right: int
    count: int

    @property
    def fraction(self) -> float:
        """0 to 1."""
        return self.right / self.count


def normalize_answer(text: str) -> str:
    """What two answers must share to count as the same.

    Upper case becomes lower case, runs of white space become one space, punctuation at the end (``. , ; : ! ?``) goes.
    Nothing else: ``two`` is not ``2``, and ``a car`` is not ``car``.

    NuScenes-QA (arXiv:2305.14836; its official evaluation, result_eval.py) compares the strings as they are,
    since its models choose one of 30 answers. These stay different and unchanged here, so that of them the two rules
    count alike; a model that writes its answer may begin it in upper case or end it with a full stop.

    >>> normalize_answer(' Traffic  cone. ')
    'traffic cone'
    """
    return ' '.join(text.lower().split()).rstrip(_FINAL_PUNCTUATION + ' ')


def is_right(answer: DrivingAnswer) -> bool:
    """Whether the prediction is the answer, both as :func:`normalize_answer` gives them."""
    return normalize_answer(answer.prediction) == normalize_answer(answer.answer)


def exact_match(answers: Sequence[DrivingAnswer]) -> tuple[Accuracy, dict[str, Accuracy]]:
    """Accuracy overall and by question type.

    As in NuScenes-QA, overall is the share of all questions (a type counts by the number of its questions), not the
    mean of the types; and types told apart by the number of hops (``exist_0`` and ``exist_1``) are also counted
    together (``exist``).

    Returns:
        Overall, and type to accuracy, types in the order of the alphabet.

    Raises:
        ValueError: there are no answers.
    """
    if not answers:
        raise ValueError('Accuracy of no answers: expected at least one question.')
    by_type: dict[str, list[bool]] = {}
    for answer in answers:
        by_type.setdefault(answer.type, []).append(is_right(answer))
        hops = _BY_HOP.fullmatch(answer.type)
        if hops:
            by_type.setdefault(hops[1], []).append(is_right(answer))
    types = {name: Accuracy(sum(right), len(right)) for name, right in sorted(by_type.items())}
    return Accuracy(sum(map(is_right, answers)), len(answers)), types
