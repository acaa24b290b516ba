"""Every run of the table of answers: what it got right, what its detector finds, how long it was trained."""
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from .answer_scores import AnswerScores
from .answer_table import AnswerRow
from .answer_table import to_json as rows_to_json
from .answer_table import to_markdown as rows_to_markdown
from .exact_match import Accuracy


@dataclass(frozen=True)
class LanguageRun:
    """One training that was tested."""

    row: str  # name of the row
    num_tokens: int  # 0: blind
    seed: int
    scores: AnswerScores
    detector_map: float | None  # 0 to 1; None where no boxes are looked for
    minutes: Mapping[str, float]  # of training, by part


def to_markdown(rows: Sequence[AnswerRow], runs: Sequence[LanguageRun], facts: Mapping[str, str]) -> str:
    """Means of the rows, then every run; in percent, and minutes.

    Args:
        rows: From :func:`.answer_table.compare_answers`.
        runs: Of the blind model and the models among them.
        facts: What holds for all; written above.
    """
    return f'{rows_to_markdown(rows, facts)}\nEvery run:\n\n{runs_to_markdown(runs)}'


def runs_to_markdown(runs: Sequence[LanguageRun]) -> str:
    """A line for each run."""
    types = list(runs[0].scores.types) if runs else []
    lines = [_line(['', 'seed', 'accuracy', *types, 'detector mAP', 'minutes of training']),
             '|---|' + '---:|' * (len(types) + 3) + '---|']
    for run in runs:
        minutes = ' + '.join(f'{name} {value:.1f}' for name, value in run.minutes.items())
        total = f' = {sum(run.minutes.values()):.1f}' if len(run.minutes) > 1 else ''
        lines.append(_line([
            run.row, str(run.seed), f'{100 * run.scores.overall.fraction:.1f}',
            *(f'{100 * run.scores.types[type].fraction:.1f}' for type in types),
            '-' if run.detector_map is None else f'{100 * run.detector_map:.1f}', minutes + total]))
    return '\n'.join(lines) + '\n'


def _line(cells: Sequence[str]) -> str:
    return '| ' + ' | '.join(cell.replace('|', r'\|') for cell in cells) + ' |'


def to_json(rows: Sequence[AnswerRow], runs: Sequence[LanguageRun], facts: Mapping[str, str]) -> str:
    """The same, unrounded: ``facts`` and ``rows`` as in :func:`.answer_table.to_json`, and ``runs``."""
    table = json.loads(rows_to_json(rows, facts))
    table['runs'] = [dict(row=run.row, num_tokens=run.num_tokens, seed=run.seed, accuracy=run.scores.overall.fraction,
                          overall=asdict(run.scores.overall), types={name: dict(accuracy=each.fraction, **asdict(each))
                                 for name, each in run.scores.types.items()},
                          detector_map=run.detector_map, minutes=dict(run.minutes)) for run in runs]
    return json.dumps(table, indent=1) + '\n'


def runs_from_json(text: str) -> tuple[list[LanguageRun], dict[str, str]]:
    """Runs and facts of :func:`to_json`.

    Raises:
        ValueError: If the text is something else.
    """
    def accuracy(counts: Mapping) -> Accuracy:
        right, count = counts['right'], counts['count']
        if not 0 <= right <= count or not count:
            raise ValueError(f'{right} right answers of {count}')
        return Accuracy(right, count)

    try:
        table = json.loads(text)
        runs = []
        for run in table['runs']:
            types = {name: accuracy(counts) for name, counts in run['types'].items()}
            scores = AnswerScores(accuracy(run['overall']), types, {})
            runs.append(LanguageRun(run['row'], run['num_tokens'], run['seed'], scores, run['detector_map'],
                                    run['minutes']))
        return runs, dict(table['facts'])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ValueError('Expected the table.json that compare_language.py writes, with facts and runs; '
                         f'{type(error).__name__}: {error}.') from error
