"""A question as the families yield it: a template, the words to fill in, and the answer."""
from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Template:
    """Several wordings of one question."""

    type: str  # exist, count, category, state, where, compare or ego
    least: int  # how many different answers a round of questions needs, to be balanced
    wordings: tuple[str, ...]  # with the fields of str.format


class Asked(NamedTuple):
    """A question about one frame with its answer."""

    template: Template
    answer: str
    words: dict[str, str]

    def wordings(self) -> list[str]:
        """The question in each of its wordings."""
        return [wording.format(**self.words) for wording in self.template.wordings]


def yes_or_no(truth: bool) -> str:
    return 'yes' if truth else 'no'
