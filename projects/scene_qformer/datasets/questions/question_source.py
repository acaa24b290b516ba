"""What all sources of questions share: reading a JSON file, and saying which entry of it is wrong."""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import mmengine.fileio as fileio

from ...strict_json import parse_json
from .driving_question import DrivingQuestion

_KINDS = {dict: 'an object', list: 'a list', str: 'a text', int: 'a whole number'}


class QuestionSource(ABC):
    """A JSON file of questions. A format is a subclass that says how to get there from the file's content.

    Args:
        path: The file; anything that mmengine's file backends take.
        scenes: Keep the questions about these scenes only, named as the file names them: a split of one's own. None
            keeps all.
        backend_args: For mmengine's file backend.
    """

    origin = ''  # where such files come from, for errors

    def __init__(self, path: str, scenes: Sequence[str] | None = None, backend_args: dict | None = None) -> None:
        if isinstance(scenes, str):
            raise ValueError(f'Expected scenes to be a list of names, got the text {scenes!r}; write [{scenes!r}].')
        if scenes is not None and not (
                isinstance(scenes, Collection) and all(isinstance(name, str) for name in scenes)):
            raise ValueError(f'Expected scenes to be a list of names, which are texts, got {scenes!r}.')
        self.path = str(path)
        self.scenes = None if scenes is None else tuple(scenes)
        self.backend_args = backend_args

    def load(self) -> list[DrivingQuestion]:
        """Read and check the file.

        Returns:
            The questions, in the file's order.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If the file is no JSON, is damaged or of another format (says which entry, what was expected and
                what was found), holds no question, uses an id twice, or if ``scenes`` names a scene that is not in it.
        """
        questions = list(self.parse(self._read()))
        if not questions:
            raise ValueError(f'The question file {self.path} holds no question.')
        repeated = [name for name, count in Counter(question.id for question in questions).items() if count > 1]
        if repeated:
            raise ValueError(f'The question file {self.path} uses {len(repeated)} ids more than once, first '
                             f'{repeated[0]!r}. Results are listed by id, so each question needs its own.')
        return questions if self.scenes is None else self._of_scenes(questions, self.scenes)

    @abstractmethod
    def parse(self, content: Any) -> Iterator[DrivingQuestion]:
        """The questions in a file's content, as ``json.load`` gives it."""

    def take(self, holder: Any, key: str | int, kind: type, entry: str) -> Any:
        """``holder[key]``, checked.

        Args:
            holder: An object or a list of the file.
            key: What to take out of it.
            kind: ``dict``, ``list``, ``str`` or ``int``. A text must not be empty.
            entry: Where in the file ``holder`` is, for the error, e.g. ``question 7``.

        Raises:
            ValueError: If it is missing or of another kind; names file, entry, what was expected and what was found.
        """
        try:
            value = holder[key]
        except (KeyError, IndexError):
            there = f'; it has {", ".join(map(str, holder))}' if isinstance(holder, dict) and len(holder) < 20 else ''
            raise self.error(entry, f'{_KINDS[kind]} {key!r}', f'none{there}') from None
        return self.check(value, kind, f'{key!r} of {entry}')

    def check(self, value: Any, kind: type, entry: str) -> Any:
        """The value, if it is of a kind; see :meth:`take`."""
        if not isinstance(value, kind) or isinstance(value, bool):
            raise self.error(entry, _KINDS[kind], _in_words(value))
        if isinstance(value, str) and not value.strip():
            raise self.error(entry, _KINDS[kind], 'an empty one')
        if isinstance(value, str) and any('\ud800' <= letter <= '\udfff' for letter in value):
            raise self.error(entry, f'{_KINDS[kind]} of whole characters', f'half of one, in {value!a:.60}')
        return value

    def error(self, entry: str, expected: str, found: str) -> ValueError:
        """An error about an entry of the file, to be raised."""
        return ValueError(f'{self.path}, {entry}: expected {expected}, found {found}.\n{type(self).__name__} reads '
                          f'{self.origin}. Is this such a file, and whole?')

    def _read(self) -> Any:
        if not fileio.exists(self.path, backend_args=self.backend_args):
            raise FileNotFoundError(f'There is no question file {self.path}.\n{type(self).__name__} reads '
                                    f'{self.origin}. Correct the path of the questions in the config.')
        try:
            return parse_json(fileio.get(self.path, backend_args=self.backend_args), f'the question file {self.path}')
        except ValueError as error:
            raise ValueError(f'{error}\n{type(self).__name__} reads {self.origin}.') from error

    def _of_scenes(self, questions: list[DrivingQuestion], scenes: Sequence[str]) -> list[DrivingQuestion]:
        there = Counter(question.scene for question in questions)
        if None in there:
            raise ValueError(f'scenes={list(scenes)} cannot be chosen from {self.path}: {there[None]} of '
                             f'{len(questions)} questions name no scene. Leave scenes out; the frames of the info file '
                             'decide then.')
        unknown = [scene for scene in scenes if scene not in there]
        if unknown or not scenes:
            shown = ', '.join(sorted(str(scene) for scene in there)[:5]) + (' ...' if len(there) > 5 else '')
            what = f'has no question about {", ".join(unknown)}' if unknown else 'is read for no scene at all'
            raise ValueError(f'{self.path} {what}: expected scenes to name some of its {len(there)} scenes: {shown}.')
        return [question for question in questions if question.scene in scenes]


def _in_words(value: Any) -> str:
    if value is None:
        return 'null'
    if isinstance(value, (dict, list)):
        return _KINDS[type(value)]
    return repr(value) if len(repr(value)) < 60 else f'{repr(value)[:57]}...'
