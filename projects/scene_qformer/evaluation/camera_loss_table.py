"""Scores against the number of cameras lost: a table and its numbers."""
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean


@dataclass(frozen=True)
class CameraLoss:
    """One test of one model."""

    model: str
    lost: tuple[str, ...]  # names of the cameras that were taken away
    NDS: float
    mAP: float


def by_number(results: Sequence[CameraLoss], model: str, metric: str) -> dict[int, list[float]]:
    """Number of cameras lost to a model's scores, one for each subset."""
    found: dict[int, list[float]] = {}
    for result in sorted((result for result in results if result.model == model), key=lambda result: len(result.lost)):
        found.setdefault(len(result.lost), []).append(getattr(result, metric))
    return found


def models_of(results: Sequence[CameraLoss]) -> list[str]:
    """The models, in the order in which they were tested."""
    return list(dict.fromkeys(result.model for result in results))


def to_markdown(results: Sequence[CameraLoss], facts: Mapping[str, str]) -> str:
    """Facts that hold for all rows, then a row for each number of lost cameras.

    A cell is the mean over the subsets of cameras; behind it, in brackets, the lowest and the highest.

    Args:
        results: Of all models.
        facts: What all tests share, by name.
    """
    models = models_of(results)
    metrics = ('NDS', 'mAP')
    lines = [f'- {name}: {text}' for name, text in facts.items()]
    columns = ['cameras lost', 'subsets', *(f'{metric}, {model}' for metric in metrics for model in models)]
    lines += ['', '| ' + ' | '.join(columns) + ' |', '|' + '---:|' * len(columns)]
    scores = {(metric, model): by_number(results, model, metric) for metric in metrics for model in models}
    for number in sorted({len(result.lost) for result in results}):
        tested = {len(found.get(number, ())) for found in scores.values()}
        cells = [str(number), ' to '.join(map(str, sorted({min(tested), max(tested)})))]
        cells += [_cell(scores[metric, model].get(number, [])) for metric in metrics for model in models]
        lines.append('| ' + ' | '.join(cells) + ' |')
    return '\n'.join(lines) + '\n'


def to_json(results: Sequence[CameraLoss], facts: Mapping[str, str]) -> str:
    """Facts and every single test as JSON."""
    return json.dumps(dict(facts=facts, results=[asdict(result) for result in results]), indent=1) + '\n'


def _cell(scores: list[float]) -> str:
    if not scores:
        return '-'
    if len(scores) == 1:
        return f'**{scores[0]:.3f}**'
    return f'**{mean(scores):.3f}** ({min(scores):.3f}-{max(scores):.3f})'
