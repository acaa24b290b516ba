"""A question about a driving scene, whatever file it came from."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class DrivingQuestion:
    """A conversation of one or more turns about one key frame.

    Args:
        id: Name of the question, one of its kind in its file; results are listed under it.
        type: Kind of question, by which metrics are grouped, e.g. ``count`` or ``planning``.
        turns: Pairs of question and answer, in the order in which they are asked. The last answer is empty where the
            file has none, as in files of test questions. ``<image>`` in a question says where the scene tokens go.
        sample_token: nuScenes' token of the key frame.
        scene: The scene, as the file names it (by token or by name); None if the file does not tell.
        image_paths: Camera name to image file, as the file writes it; None if the file does not tell.

    Raises:
        ValueError: If a name is no text, there is no turn, a turn is not a pair of texts, a question is empty, or an
            answer before the last one is.
    """

    id: str
    type: str
    turns: tuple[tuple[str, str], ...]
    sample_token: str
    scene: str | None = None
    image_paths: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        for name in ('id', 'type', 'sample_token'):
            if not isinstance(value := getattr(self, name), str) or not value:
                raise ValueError(f'Expected {name} of question {self.id!r} to be a text that is not empty, got '
                                 f'{value!r}.')
        if not self.turns:
            raise ValueError(f'Question {self.id!r} has no turn; expected at least one pair of question and answer.')
        for number, turn in enumerate(self.turns):
            if not isinstance(turn, (tuple, list)) or len(turn) != 2 or not all(isinstance(text, str) for text in turn):
                raise ValueError(f'Turn {number} of question {self.id!r}: expected a pair of texts, question and '
                                 f'answer, got {turn!r}.')
            question, answer = turn
            if not question.strip():
                raise ValueError(f'Turn {number} of question {self.id!r} asks nothing: its question is empty.')
            if not answer.strip() and number + 1 < len(self.turns):
                raise ValueError(f'Turn {number} of question {self.id!r} has no answer; only the last turn may be '
                                 'without one.')

    @property
    def answered(self) -> bool:
        """Whether there is something to learn: the last turn has an answer."""
        return bool(self.turns[-1][1].strip())

    def as_text(self) -> dict:
        """As it stands on a data sample: ``dict(id=str, type=str, turns=[(question, answer), ...])``."""
        return dict(id=self.id, type=self.type, turns=list(self.turns))
