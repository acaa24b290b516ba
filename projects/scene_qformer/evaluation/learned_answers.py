"""What was learned by heart, and which of it cannot come from the text: questions with other answers elsewhere."""
from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from .driving_answer import DrivingAnswer


@dataclass(frozen=True)
class LearnedAnswers:
    """Counts over one group of questions. Answers count when they are reproduced letter by letter."""

    questions: int
    exact: int  # reproduced
    best_by_sight: int  # at most, by who knows frame and question: the same question may be answered twice
    best_by_text: int  # at most, by who knows the question alone
    exact_blind: int | None = None  # reproduced by a model that sees the text alone

    @property
    def seen(self) -> int:
        """At least so many answers come from the images: no guesser by text alone could reproduce as many."""
        return max(self.exact - self.best_by_text, 0)


def count_learned(answers: Sequence[DrivingAnswer],
                  frames: Mapping[str, str],
                  blind: Sequence[DrivingAnswer] | None = None) -> dict[str, LearnedAnswers]:
    """How much was learned of ``all`` questions, of those ``answered otherwise elsewhere``, and of the ``others``.

    A question is answered otherwise elsewhere if its very text has another answer in another frame. ::

        frame 1  Are there cones?  Yes.  <- answered otherwise elsewhere
        frame 2  Are there cones?  No.   <- likewise; by the text alone one of the two at best
        frame 2  Is it raining?    No.

    Args:
        answers: Of the model, to the questions that it was trained on.
        frames: Question id to sample token.
        blind: Those of a blind model to the same questions.

    Raises:
        ValueError: If the blind model was asked other questions.
    """
    if blind is not None and {each.id for each in blind} != {each.id for each in answers}:
        raise ValueError(f'Expected the blind model to answer the same {len(answers)} questions, got {len(blind)} '
                         'answers with other ids: were both asked the same frames?')
    differing = _answered_otherwise(answers, frames)
    groups = {
        'all': {each.id for each in answers},
        'answered otherwise elsewhere': differing,
        'others': {each.id for each in answers} - differing,
    }
    return {name: _count([each for each in answers if each.id in ids], frames,
                         None if blind is None else [each for each in blind if each.id in ids])
            for name, ids in groups.items()}


def is_exact(answer: DrivingAnswer) -> bool:
    """Whether the prediction is the answer, letter by letter; blanks around it are not asked for."""
    return answer.prediction == answer.answer.strip()


def _answered_otherwise(answers: Iterable[DrivingAnswer], frames: Mapping[str, str]) -> set[str]:
    by_text: dict[str, list[DrivingAnswer]] = defaultdict(list)
    for each in answers:
        by_text[each.question].append(each)
    return {each.id for same in by_text.values() for each in same
            if any(other.answer != each.answer and frames[other.id] != frames[each.id] for other in same)}


def _count(answers: Sequence[DrivingAnswer], frames: Mapping[str, str],
           blind: Sequence[DrivingAnswer] | None) -> LearnedAnswers:
    return LearnedAnswers(
        questions=len(answers),
        exact=sum(map(is_exact, answers)),
        best_by_sight=_most((frames[each.id], each.question, each.answer) for each in answers),
        best_by_text=_most((each.question, each.answer) for each in answers),
        exact_blind=None if blind is None else sum(map(is_exact, blind)))


def _most(known: Iterable[tuple[Hashable, ...]]) -> int:
    """How many answers, the last of each tuple, one can give at most, always the same to what comes before it."""
    counts: dict[tuple, Counter] = defaultdict(Counter)
    for *question, answer in known:
        counts[tuple(question)][answer] += 1
    return sum(max(answers.values()) for answers in counts.values())
