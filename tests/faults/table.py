"""The table of `make faults`: fault, expected, seen, and the totals below it."""
from __future__ import annotations

from collections.abc import Sequence

from .attack import Attack

_HEAD = ('area', 'fault', 'expected', 'cases', 'seen')


def totals(attacks: Sequence[Attack]) -> dict[str, int]:
    """Sums over all cases.

    Returns:
        ``bad_inputs``: cases, but for those that kill or draw their inputs; ``kills``, of which a test may do several;
        ``generated``: inputs that property-based tests drew; ``as_expected``, ``silent``
        (nothing was said of the fault), ``wrong`` (any other failure), ``not_run``.
    """
    cases = [case for attack in attacks for case in attack.cases]
    silent = sum(case.silent for case in cases)
    return dict(
        bad_inputs=sum(not case.kills and not case.generated for case in cases if case.outcome != 'skipped'),
        kills=sum(case.kills for case in cases if case.outcome != 'skipped'),
        generated=sum(case.generated for case in cases),
        as_expected=sum(case.outcome == 'passed' for case in cases),
        silent=silent,
        wrong=sum(case.outcome == 'failed' for case in cases) - silent,
        not_run=sum(case.outcome == 'skipped' for case in cases))


def table_lines(attacks: Sequence[Attack]) -> list[str]:
    """A Markdown table, aligned, and the sentence with the totals."""
    rows = [_HEAD, *((attack.area, attack.fault, attack.expected, str(len(attack.cases)), attack.seen)
                     for attack in attacks)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = ['| ' + ' | '.join(cell.ljust(width) for cell, width in zip(row, widths)) + ' |' for row in rows]
    lines.insert(1, '|' + '|'.join('-' * (width + 2) for width in widths) + '|')
    sums = totals(attacks)
    return [*lines, '',
            f'{sums["bad_inputs"]} distinct bad inputs, {sums["kills"]} kills, {sums["generated"]} generated inputs: '
            f'{sums["silent"]} silent losses, {sums["wrong"]} wrong results, {sums["not_run"]} not run.']
