"""Answers to questions about driving scenes, and the file that a test run leaves: one answer a line, as JSON."""
from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from ..strict_json import parse_json


@dataclass(frozen=True)
class DrivingAnswer:
    """One question, the answer to it and what was answered instead."""

    id: str  # unique in one set of questions
    type: str  # of the question: exist, count, ...
    question: str
    answer: str  # empty where the questions of a test set come without
    prediction: str

    @property
    def known(self) -> bool:
        """Whether there is an answer to compare with."""
        return bool(self.answer.strip())


def write_answers(path: str | Path, answers: Sequence[DrivingAnswer]) -> None:
    """Write JSON lines, ``{"id", "type", "question", "answer", "prediction"}``, UTF-8."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(''.join(json.dumps(asdict(answer), ensure_ascii=False) + '\n' for answer in answers),
                    encoding='utf-8')


def read_answers(path: str | Path) -> list[DrivingAnswer]:
    """Read what :func:`write_answers` wrote.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it holds no answers, a line is no such record, or an id comes twice.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'There is no {path}: expected the answers of a test run, written by DrivingQAMetric '
                                'with `dump=<this file>`.')
    # Not splitlines(): answers may hold characters such as U+2028, which JSON leaves as they are.
    lines = [line for line in path.read_bytes().split(b'\n') if line.strip()]
    answers = [_parse(line, f'{path}, line {number}') for number, line in enumerate(lines, 1)]
    if not answers:
        raise ValueError(f'{path} holds no answers: expected one JSON record a line, as DrivingQAMetric writes them.')
    seen: set[str] = set()
    for answer in answers:
        if answer.id in seen:
            raise ValueError(f'{path} holds two answers of id {answer.id!r}: ids must be unique, since answers of '
                             'several models are compared by them.')
        seen.add(answer.id)
    return answers


def _parse(line: bytes, where: str) -> DrivingAnswer:
    names = [field.name for field in fields(DrivingAnswer)]
    try:
        record = parse_json(line, where)
    except ValueError as error:
        raise ValueError(f'{error} Expected a record with {", ".join(names)}; was the file cut off?') from error
    if not isinstance(record, Mapping) or any(not isinstance(record.get(name), str) for name in names):
        found = ', '.join(map(str, record)) if isinstance(record, Mapping) else type(record).__name__
        raise ValueError(f'{where}: expected a record with the texts {", ".join(names)}, found {found}.')
    return DrivingAnswer(**{name: record[name] for name in names})
