"""An attack and how it went, put together from pytest's reports."""
from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

CRASHED = '???'  # what pytest-xdist calls the phase in which a process was lost
FIELDS = ('area', 'fault', 'expected', 'remedy')


def describe(item: pytest.Item) -> dict | None:
    """The fields of a test's marker ``fault``; None without one.

    Raises:
        pytest.UsageError: If a field is missing, empty or unknown.
    """
    marker = item.get_closest_marker('fault')
    if marker is None:
        return None
    bad = [name for name in FIELDS if not (isinstance(marker.kwargs.get(name), str) and marker.kwargs[name].strip())]
    if bad or marker.args or marker.kwargs.keys() - {*FIELDS, 'kills'}:
        raise pytest.UsageError(f'{item.nodeid}: expected @pytest.mark.fault({"=..., ".join(FIELDS)}=...) with texts, '
                                f'and kills=True where a process is killed; got {marker.args or ""}{marker.kwargs}.')
    # Where it stands: the page's order must not depend on which process was quicker.
    callspec = getattr(item, 'callspec', None)
    place = [item.location[0], item.location[1] or 0, *(callspec.indices.values() if callspec else ())]
    kills = int(marker.kwargs.get('kills', 0))
    return dict({name: marker.kwargs[name] for name in FIELDS}, kills=kills, place=place)


@dataclass
class Case:
    """One test that ran: one bad input, or one kill."""

    nodeid: str
    outcome: str = 'skipped'  # 'passed', 'failed' or 'skipped'
    silent: bool = False  # it failed, since nothing was said of the fault
    shown: list[str] = field(default_factory=list)
    kills: int = 0
    generated: int = 0
    place: list = field(default_factory=list)


@dataclass
class Attack:
    """The cases of one fault."""

    area: str
    fault: str
    expected: str
    remedy: str
    cases: list[Case] = field(default_factory=list)

    def number(self, outcome: str) -> int:
        """How many cases ended so."""
        return sum(case.outcome == outcome for case in self.cases)

    @property
    def shown(self) -> list[str]:
        """What users see, each text once."""
        return list(dict.fromkeys(text for case in self.cases for text in case.shown))

    @property
    def seen(self) -> str:
        """The last column of the table."""
        silent, failed = sum(case.silent for case in self.cases), self.number('failed')
        parts = [(silent, 'said nothing'), (failed - silent, 'went wrong'), (self.number('skipped'), 'not run'),
                 (self.number('passed'), 'as expected')]
        told = [(number, words) for number, words in parts if number]
        if len(told) == 1:
            return told[0][1]
        return ', '.join(f'{number} {words}' for number, words in told)


def gather(reports: Iterable[pytest.TestReport]) -> list[Attack]:
    """Attacks in the order of their tests.

    Args:
        reports: Of all phases of all tests, from whichever process, in any order.

    Returns:
        One entry a fault. A test of this folder that crashed its process could not tell which fault it was about: it
        stands under its own name.
    """
    attacks: dict[tuple, Attack] = {}
    cases: dict[str, tuple[Case, tuple]] = {}
    for report in reports:
        properties = list(getattr(report, 'user_properties', ()))
        told = next((value for name, value in properties if name == 'fault'), None)
        if report.nodeid not in cases:
            if told is None and not (report.when == CRASHED and 'faults/' in report.nodeid):
                continue
            told = told or dict(area='Unknown', fault=report.nodeid, expected='it ends', remedy='none', kills=0,
                                place=[''])
            cases[report.nodeid] = (Case(report.nodeid, kills=told['kills'], place=list(told['place'])),
                                    tuple(told[name] for name in FIELDS))
        case, _ = cases[report.nodeid]
        if report.failed:
            case.outcome = 'failed'
            case.silent = 'DID NOT RAISE' in str(report.longrepr)
        elif report.when == 'call' and report.passed:
            case.outcome = 'passed'
        elif report.when == 'teardown':  # by now all has been recorded
            counts = [value for name, value in properties if name == 'count']
            case.shown = [value for name, value in properties if name == 'shown']
            case.kills += sum(numbers.get('kills', 0) for numbers in counts)
            case.generated = sum(numbers.get('generated', 0) for numbers in counts)
    for case, key in sorted(cases.values(), key=lambda entry: entry[0].place):
        attacks.setdefault(key, Attack(*key)).cases.append(case)
    return list(attacks.values())
