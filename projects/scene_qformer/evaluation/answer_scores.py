"""All that is said of one model's answers."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .driving_answer import DrivingAnswer
from .exact_match import Accuracy, exact_match
from .text_scores import text_scores


@dataclass(frozen=True)
class AnswerScores:
    """Scores of one set of answers."""

    overall: Accuracy
    types: Mapping[str, Accuracy]  # by question type
    text: Mapping[str, float]  # Bleu_1 to Bleu_4, ROUGE_L and CIDEr as text_scores gives them; or empty


def score_answers(answers: Sequence[DrivingAnswer], free_text: bool = True) -> AnswerScores:
    """Exact match and, with ``free_text``, BLEU, ROUGE-L and CIDEr, of all questions of which the answer is known.

    See :func:`.exact_match.exact_match` and :func:`.text_scores.text_scores`, also for errors.
    """
    answers = [each for each in answers if each.known]
    overall, types = exact_match(answers)
    text = text_scores([each.answer for each in answers],
                       [each.prediction for each in answers]) if free_text else {}
    return AnswerScores(overall, types, text)
