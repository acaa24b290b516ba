"""The pytest plugin of the fault suite: gathers every attack's reports, prints the table, keeps the docs true."""
from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from .attack import Attack, describe, gather
from .page import stale_faults, update_page
from .table import table_lines, totals


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup('faults', 'fault suite (tests/faults)')
    group.addoption('--faults-json', metavar='FILE', help='write every case of the fault suite and the totals')
    group.addoption('--faults-page', metavar='PAGE', help='write the messages that were shown into this page')
    group.addoption('--faults-check', metavar='PAGE', help='fail if this page says something else than was shown')


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if (fault := describe(item)) is not None:
            item.user_properties.append(('fault', fault))


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, 'workerinput'):  # of pytest-xdist's processes the first alone sees all reports
        config.pluginmanager.register(Collector(config), 'faults-collector')


class Collector:
    """Of one pytest session."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.reports: list[pytest.TestReport] = []
        self.complaints: list[str] = []

    @property
    def whole(self) -> bool:
        """Whether nothing was left out: all slow attacks, no selection."""
        option = self.config.option
        chosen = option.markexpr or option.keyword or getattr(option, 'lf', False) or option.maxfail
        return not chosen and any((self.config.invocation_params.dir / name).resolve() in Path(__file__).parents
                                  for name in self.config.args)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.reports.append(report)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        attacks = gather(self.reports)
        option = self.config.option
        if option.faults_json:
            self._write_json(Path(option.faults_json), attacks)
        if any(attack.number('failed') for attack in attacks) or session.testscollected == 0 and not attacks:
            if option.faults_page or option.faults_check:
                self.complaints.append('The troubleshooting page was left alone and not checked: attacks failed.')
            return
        if option.faults_page:
            update_page(Path(option.faults_page), attacks, self.whole)
        if option.faults_check and not option.keyword:
            stale = stale_faults(Path(option.faults_check), attacks, self.whole)
            if stale:
                self.complaints.append(
                    f'{option.faults_check} says something else than the tests show of {len(stale)} faults:\n  '
                    + '\n  '.join(stale) + f"\nWrite it: make faults FAULTS_ARGS='--faults-page {option.faults_check}'")
                if session.exitstatus == pytest.ExitCode.OK:
                    session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        attacks = gather(self.reports)
        if attacks:
            terminalreporter.section('faults')
            for line in [*table_lines(attacks), *self.complaints]:
                terminalreporter.write_line(line)

    def _write_json(self, path: Path, attacks: list[Attack]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        content = dict(totals=totals(attacks), faults=[asdict(attack) for attack in attacks])
        path.write_text(json.dumps(content, indent=1))
