"""The table of answers: models beside the blind model and the most frequent answers, which no table lacks."""
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Literal

from .answer_baselines import MostFrequentAnswer
from .answer_scores import AnswerScores, score_answers
from .driving_answer import DrivingAnswer
from .text_scores import TEXT_SCORES

Answers = Sequence[DrivingAnswer]
BLIND_NAME = 'blind (text only)'
_HEADINGS = {'Bleu_1': 'BLEU-1', 'Bleu_2': 'BLEU-2', 'Bleu_3': 'BLEU-3', 'Bleu_4': 'BLEU-4', 'ROUGE_L': 'ROUGE-L',
             'CIDEr': 'CIDEr x100'}


@dataclass(frozen=True)
class AnswerRow:
    """One way to answer: a model, over one or more runs (seeds), or a guess."""

    name: str
    kind: Literal['guess', 'blind', 'model']
    runs: tuple[AnswerScores, ...]

    def accuracy(self, type: str | None = None) -> float:
        """Mean over the runs, 0 to 1; of one question type, or overall."""
        return mean(self.accuracies(type))

    def accuracies(self, type: str | None = None) -> list[float]:
        """Of every run."""
        return [(run.overall if type is None else run.types[type]).fraction for run in self.runs]

    def text(self, score: str) -> float | None:
        """Mean over the runs of one of ``TEXT_SCORES``; None if they were left out."""
        return mean(run.text[score] for run in self.runs) if all(score in run.text for run in self.runs) else None


def compare_answers(models: Mapping[str, Sequence[Answers]], blind: Sequence[Answers], training: MostFrequentAnswer,
                    free_text: bool = True, known: Mapping[str, Sequence[AnswerScores]] | None = None
                    ) -> list[AnswerRow]:
    """Score all by the same code on the same questions.

    Args:
        models: Name to the answers of its runs (seeds), one or more.
        blind: Runs of the same language model without scene tokens.
        training: Counts of the training answers.
        free_text: Also BLEU, ROUGE-L and CIDEr.
        known: Runs that were scored before, by name of the row (``BLIND_NAME`` for the blind model). They come after
            the others, and a row that has one needs no answers.

    Returns:
        The guesses, the blind model, the models.

    Raises:
        ValueError: there is no blind run, a model without runs or with the name of another row, or one that answered
            other questions, or a known run of other numbers of questions.
    """
    everything: dict[str, Sequence[Answers]] = {BLIND_NAME: blind, **models}
    known = known or {}
    for name, runs in everything.items():
        if not runs and not known.get(name):
            raise ValueError(f'Expected the answers of at least one run of {name}, got none.')
    questions = next((runs[0] for runs in everything.values() if runs), None)
    if questions is None:
        raise ValueError('Expected the answers of at least one run: scores alone do not say what was asked.')
    guesses = training.answer(questions)
    taken = {BLIND_NAME, *guesses} & set(models)
    if taken:
        raise ValueError(f'A model is called {min(taken)!r}, which is the name of another row: choose another.')
    for name, runs in everything.items():
        for run in runs:
            _check_same_questions(name, run, questions)

    numbers = _numbers(score_answers(questions, free_text=False))
    for name, scores in known.items():
        for each in scores:
            if _numbers(each) != numbers:
                raise ValueError(f'The known run of {name} answered other questions: by type {_numbers(each)}, the '
                                 f'others {numbers}. Scores can be compared only on the same questions.')

    def row(name: str, kind: Literal['guess', 'blind', 'model'], runs: Sequence[Answers]) -> AnswerRow:
        return AnswerRow(name, kind, (*(score_answers(run, free_text) for run in runs), *known.get(name, ())))

    return [*(row(name, 'guess', [answers]) for name, answers in guesses.items()), row(BLIND_NAME, 'blind', blind),
            *(row(name, 'model', runs) for name, runs in models.items())]


def _numbers(scores: AnswerScores) -> dict[str, int]:
    """Of questions, by type."""
    return {name: each.count for name, each in scores.types.items()}


def _check_same_questions(name: str, answers: Answers, expected: Answers) -> None:
    mine, theirs = ({each.id: (each.type, each.question, each.answer) for each in run} for run in (answers, expected))
    if mine == theirs:
        return
    missing, extra = sorted(theirs.keys() - mine.keys()), sorted(mine.keys() - theirs.keys())
    if missing or extra:
        difference = f'{len(missing)} are missing, {len(extra)} are others, e.g. {(missing or extra)[0]!r}'
    else:
        changed = next(key for key in theirs if mine[key] != theirs[key])
        difference = f'of id {changed!r} it has {mine[changed]}, another run has {theirs[changed]}'
    raise ValueError(f'{name} answered other questions than another run: {difference}. Scores can be compared only '
                     'on the same questions; test both on the same file.')


def to_markdown(rows: Sequence[AnswerRow], facts: Mapping[str, str] | None = None) -> str:
    """A row for each way to answer; all in percent.

    With several runs the mean is given, and of the overall accuracy the least and the greatest.

    Args:
        rows: From :func:`compare_answers`.
        facts: What holds for all rows, by name; written above.
    """
    first = rows[0].runs[0]
    texts = [score for score in TEXT_SCORES if rows[0].text(score) is not None]
    blind = next(row for row in rows if row.kind == 'blind').accuracy()
    columns = ['', 'accuracy', 'over blind', *first.types, *(_HEADINGS[score] for score in texts)]
    counts = ['questions', str(first.overall.count), '', *(str(each.count) for each in first.types.values())]
    lines = [f'- {name}: {text}' for name, text in (facts or {}).items()]
    if lines:
        lines.append('')
    lines += [_line(columns), '|---|' + '---:|' * (len(columns) - 1), _line(counts + [''] * len(texts))]
    for row in rows:
        name = f'**{row.name}**' if row.kind == 'model' else row.name
        over = '-' if row.kind == 'blind' else f'{100 * (row.accuracy() - blind):+.1f}'
        lines.append(_line([name, _with_spread(row), over, *(f'{100 * row.accuracy(type):.1f}' for type in first.types),
                            *(f'{100 * (row.text(score) or 0.):.1f}' for score in texts)]))
    notes = ['Accuracy is exact match after normalisation of case, spaces and final punctuation; overall it is that of '
             'all questions together, as in NuScenes-QA. `over blind`: points above the blind model.']
    if texts:
        notes.append('BLEU and ROUGE-L are times 100; BLEU-n says little of answers with fewer than n words. '
                     'CIDEr (CIDEr-D, its idf from the answers of these very questions, raw 0 to 10) is times 100 as '
                     'well.')
    return '\n'.join([*lines, '', ' '.join(notes)]) + '\n'


def _line(cells: Sequence[str]) -> str:
    return '| ' + ' | '.join(cell.replace('|', r'\|') for cell in cells) + ' |'


def _with_spread(row: AnswerRow) -> str:
    values = [100 * value for value in row.accuracies()]
    text = f'{mean(values):.1f}'
    return text if len(values) == 1 else f'{text} ({min(values):.1f} to {max(values):.1f})'


def to_json(rows: Sequence[AnswerRow], facts: Mapping[str, str] | None = None) -> str:
    """The same, every run, unrounded and unscaled: fractions, and CIDEr raw, 0 to 10."""
    return json.dumps(dict(facts=dict(facts or {}), rows=[
        dict(name=row.name, kind=row.kind, accuracy=row.accuracy(), runs=[
            dict(accuracy=run.overall.fraction, overall=asdict(run.overall), text=dict(run.text),
                 types={name: dict(accuracy=each.fraction, **asdict(each)) for name, each in run.types.items()})
            for run in row.runs]) for row in rows]), indent=1) + '\n'
