"""Pages of the docs with a part that a script writes: what stands between two marks."""
from __future__ import annotations

from pathlib import Path


def write_between(page: Path, begin: str, end: str, content: str) -> None:
    """Replace what stands between the marks; the marks and all around them stay.

    Args:
        page: Markdown file.
        begin: The first mark, e.g. an HTML comment.
        end: The second one.
        content: Of lines.

    Raises:
        ValueError: If the page lacks a mark.
    """
    before, mark, rest = page.read_text().partition(begin)
    _, closing, after = rest.partition(end)
    if not mark or not closing:
        raise ValueError(f'{page} lacks the marks {begin!r} and {end!r}, between which the table is to stand.')
    page.write_text(f'{before}{begin}\n\n{content}\n{end}{after}')
