"""The table of a comparison of variants: what was changed, and the scores, size and speed that came of it."""
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import mean


@dataclass(frozen=True)
class VariantResult:
    """One row."""

    axis: str  # which part was changed; of the base ''
    name: str
    change: str  # the config entries that were replaced, as typed
    parameters: int
    scores: dict[int, dict[str, float]] = field(default_factory=dict)  # seed to mAP and NDS; a failed run has none
    milliseconds: float | None = None  # a frame, forward
    milliseconds_spread: tuple[float, float] | None = None  # quartiles

    def mean(self, metric: str) -> float | None:
        """Over the seeds that there are."""
        values = [scores[metric] for scores in self.scores.values()]
        return mean(values) if values else None


def to_markdown(base: VariantResult, results: Sequence[VariantResult], seeds: Sequence[int],
                facts: Mapping[str, str]) -> str:
    """Facts that hold for all rows, then one table, grouped by axis, the base above.

    Args:
        base: What all others are compared with.
        results: The others, in order.
        seeds: Columns of scores.
        facts: What all runs share (budget, data, machine), by name.
    """
    lines = [f'- {name}: {text}' for name, text in facts.items()]
    columns = ['', *(f'mAP, seed {seed}' for seed in seeds), 'mAP', *(f'NDS, seed {seed}' for seed in seeds), 'NDS',
               'parameters', 'ms a frame', 'of the base']
    lines += ['', '| ' + ' | '.join(columns) + ' |', '|---|' + '---:|' * (len(columns) - 1)]
    lines.append(_row(base, base, seeds, f'**base: {base.name}**'))
    axis = None
    for result in results:
        if result.axis != axis:
            axis = result.axis
            lines.append(f'| **{axis}** |' + ' |' * (len(columns) - 1))
        lines.append(_row(result, base, seeds, result.name))
    lines += ['', 'What was changed, beside the base:', '']
    lines += [f'- {result.axis}, {result.name}: `{result.change}`' for result in results]
    return '\n'.join(lines) + '\n'


def _row(result: VariantResult, base: VariantResult, seeds: Sequence[int], label: str) -> str:
    cells = [label]
    for metric in ('mAP', 'NDS'):
        cells += [_score(result.scores[seed][metric]) if seed in result.scores else '-' for seed in seeds]
        complete = all(seed in result.scores for seed in seeds)
        average = result.mean(metric) if complete else None  # a mean over fewer seeds would look like the others
        cells.append('-' if average is None else f'**{_score(average)}**')
    cells.append(f'{result.parameters / 1e6:.2f} M')
    cells.append('-' if result.milliseconds is None else f'{result.milliseconds:.1f}')
    known = result.milliseconds is not None and base.milliseconds is not None
    cells.append(f'{result.milliseconds / base.milliseconds:.2f}' if known else '-')  # type: ignore[operator]
    return '| ' + ' | '.join(cells) + ' |'


def _score(value: float) -> str:
    return f'{value:.3f}'


def to_json(base: VariantResult, results: Sequence[VariantResult], facts: Mapping[str, str]) -> str:
    """The same, unrounded."""
    return json.dumps(dict(facts=dict(facts), base=asdict(base), results=[asdict(result) for result in results]),
                      indent=1) + '\n'
