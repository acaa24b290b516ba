"""What one can answer without looking: the most frequent answers of the training questions."""
from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from .driving_answer import DrivingAnswer
from .exact_match import normalize_answer


class MostFrequentAnswer:
    """Answers by counting the training answers, under three amounts of knowledge; no image is seen.

    ``overall`` always gives the most frequent answer of all; ``by_type`` that of the question's type; ``by_question``
    that of the very text of the question (for texts that training lacks it falls back to the type, then to overall).
    With very many questions the last is the best that can be done from the text alone; with few, and answers balanced
    within each text, it can fall below the others. Answers count as the same under
    :func:`.exact_match.normalize_answer`; of equally frequent ones the first of the alphabet is taken.

    Args:
        conversations: The training questions as plain dicts, dict(id=str, type=str, turns=[(question, answer), ...]).
            All turns count, as all are learned.

    Raises:
        ValueError: none has an answer.
    """

    def __init__(self, conversations: Iterable[Mapping]) -> None:
        self._all: Counter[str] = Counter()
        self._by_type: dict[str, Counter[str]] = defaultdict(Counter)
        self._by_question: dict[str, Counter[str]] = defaultdict(Counter)
        for conversation in conversations:
            for question, answer in conversation['turns']:
                if not answer.strip():
                    continue  # a test question
                text = normalize_answer(answer)
                self._all[text] += 1
                self._by_type[conversation['type']][text] += 1
                self._by_question[_key(question)][text] += 1
        if not self._all:
            raise ValueError('The most frequent answer of nothing: expected at least one training question with an '
                             'answer.')

    def overall(self) -> str:
        """The most frequent answer of all questions."""
        return _first(self._all)

    def by_type(self, type: str) -> str:
        """The most frequent answer of a type."""
        return _first(self._by_type.get(type) or self._all)

    def by_question(self, question: str, type: str) -> str:
        """The most frequent answer to a text."""
        known = self._by_question.get(_key(question))
        return _first(known) if known else self.by_type(type)

    def answer(self, questions: Sequence[DrivingAnswer]) -> dict[str, list[DrivingAnswer]]:
        """The test questions, answered in the three ways; what ``questions`` holds as predictions is not looked at.

        Returns:
            Name of the way to answers.
        """
        return {
            'most frequent answer': [replace(each, prediction=self.overall()) for each in questions],
            'most frequent of the type': [replace(each, prediction=self.by_type(each.type)) for each in questions],
            'most frequent of the question': [
                replace(each, prediction=self.by_question(each.question, each.type)) for each in questions],
        }


def _key(question: str) -> str:
    """The text without the mark of where the scene tokens go, and without differences in case and spaces."""
    return normalize_answer(question.replace('<image>', ' '))


def _first(counts: Counter[str]) -> str:
    return min(counts, key=lambda text: (-counts[text], text))
