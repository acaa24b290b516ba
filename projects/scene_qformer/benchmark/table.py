"""Figures of a benchmark: a line for each way, its ratio to the baseline of the same run, its distance to the floor."""
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from .timing import Timing


@dataclass(frozen=True)
class Table:
    """Ways to one result."""

    title: str
    timings: Mapping[str, Timing]  # by way
    baseline: str  # the way that ratios are to
    samples: int = 1  # in a call
    unit: str = 'sample'
    floor: float | None = None  # seconds of a call
    floors: Mapping[str, float | None] = field(default_factory=dict)  # by way, where it is another; None if not known
    notes: Mapping[str, str] = field(default_factory=dict)  # by way
    notes_title: str = 'note'
    facts: Sequence[str] = ()  # sentences that stand above
    aims: Mapping[str, float] = field(default_factory=dict)  # by way: times as fast as the baseline

    def __post_init__(self) -> None:
        if self.baseline not in self.timings:
            raise ValueError(f'The baseline {self.baseline!r} of {self.title!r} was not timed; there are '
                             f'{", ".join(self.timings)}.')

    def ratio(self, way: str) -> float:
        """How many times as fast as the baseline, by medians."""
        return self.timings[self.baseline].median / self.timings[way].median

    def verdict(self, way: str) -> str:
        """Of an aim: met, or missed by how much; empty without one."""
        if way not in self.aims:
            return ''
        aim = self.aims[way]
        return f'{aim:g}x: ' + ('met' if self.ratio(way) >= aim else 'missed')


def to_markdown(table: Table) -> str:
    """With a heading of third order."""
    columns = ['', 'ms (quartiles)', f'{table.unit}s a second', 'times as fast']
    if has_memory := any(timing.peak_bytes is not None for timing in table.timings.values()):
        columns.append('peak memory')
    if table.floor is not None:
        columns.append('of the floor')
    columns += [name for name, values in (('aim', table.aims), (table.notes_title, table.notes)) if values]
    lines = [f'### {table.title}', '', *(f'- {fact}' for fact in table.facts), *([''] if table.facts else []),
             _line(columns), '|---' + '|---:' * (len(columns) - 1) + '|']
    for name, timing in table.timings.items():
        low, high = timing.quartiles
        cells = [f'{name} (baseline)' if name == table.baseline else name,
                 f'{_ms(timing.median)} ({_ms(low)} to {_ms(high)})', _number(table.samples / timing.median),
                 f'{table.ratio(name):.2f}']
        if has_memory:
            cells.append('-' if timing.peak_bytes is None else f'{timing.peak_bytes / 2 ** 20:,.0f} MiB')
        if table.floor is not None:
            floor = table.floors.get(name, table.floor)
            cells.append('-' if floor is None else f'{_number(timing.median / floor)} x')
        if table.aims:
            cells.append(table.verdict(name))
        if table.notes:
            cells.append(table.notes.get(name, ''))
        lines.append(_line(cells))
    if table.floor is not None:
        lines += ['', f'Floor: {_ms(table.floor)} ms.']
    return '\n'.join(lines) + '\n'


def to_json(tables: Sequence[Table], machine: Mapping[str, str]) -> str:
    """All numbers, unrounded."""
    return json.dumps(dict(machine=dict(machine), tables=[
        dict(title=table.title, baseline=table.baseline, samples=table.samples, unit=table.unit, floor=table.floor,
             facts=list(table.facts), ways={
                 name: dict(asdict(timing), median=timing.median, times_as_fast=table.ratio(name),
                            floor=table.floors.get(name, table.floor),
                            aim=table.aims.get(name), note=table.notes.get(name))
                 for name, timing in table.timings.items()}) for table in tables]), indent=1) + '\n'


def _ms(seconds: float) -> str:
    return _number(1e3 * seconds)


def _number(value: float) -> str:
    """Three digits, but whole numbers whole."""
    return f'{value:,.0f}' if abs(value) >= 100 else f'{value:.3g}'


def _line(cells: Sequence[str]) -> str:
    return '| ' + ' | '.join(cell.replace('|', r'\|') for cell in cells) + ' |'
