"""The generated part of docs/troubleshooting.md: every message that an attack shows, with its remedy."""
from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from .attack import Attack

BEGIN = '<!-- written by make faults: begin -->'
END = '<!-- written by make faults: end -->'

Blocks = dict[tuple[str, str], tuple[list[str], str]]  # (area, fault) -> messages, remedy


def read_blocks(text: str) -> Blocks:
    """What a page holds between its marks."""
    part = text.partition(BEGIN)[2].partition(END)[0]
    blocks: Blocks = {}
    for area, faults in _headed(part, '## '):
        for fault, body in _headed(faults, '### '):
            messages = re.findall(r'^```\n(.*?)\n```$', body, re.DOTALL | re.MULTILINE)
            blocks[area, fault] = messages, body.rpartition('*Remedy:* ')[2].strip()
    return blocks


def blocks_after(old: Blocks, attacks: Sequence[Attack], whole: bool) -> Blocks:
    """What the page should hold after a run.

    Args:
        old: What it holds.
        attacks: What ran.
        whole: Whether every attack was to run. Then faults that no test shows any more go, and each fault's messages
            are those of this run, unless some of its cases could not run here. A run of a part only adds.
    """
    blocks: Blocks = {} if whole else dict(old)
    for attack in attacks:
        key = attack.area, attack.fault
        kept = old.get(key, ([], ''))[0] if attack.number('skipped') or not whole else []
        # Another attack of the same name, of this run, may have written here.
        messages = list(dict.fromkeys([*blocks.get(key, ([], ''))[0], *kept, *map(_fenced, attack.shown)]))
        if messages:
            blocks[key] = messages, attack.remedy
    return blocks


def render(blocks: Blocks) -> str:
    """Areas in the order of the alphabet, with links to them before the first; faults as the tests have them."""
    areas = Counter(area for area, _ in sorted(blocks))
    links = (f'[{area}](#{area.lower().replace(" ", "-")}) ({number})' for area, number in areas.items())
    lines = [' · '.join(links), ''] if areas else []
    for area in areas:
        lines += [f'## {area}', '']
        for (of_area, fault), (messages, remedy) in blocks.items():
            if of_area == area:
                lines += [f'### {fault}', '', *(line for text in messages for line in ('```', text, '```', '')),
                          f'*Remedy:* {remedy}', '']
    return '\n'.join(lines)


def update_page(page: Path, attacks: Sequence[Attack], whole: bool) -> None:
    """Write what a run showed.

    Raises:
        ValueError: If the page lacks the marks.
    """
    # Here, as importing the package takes seconds, and the plugin is there in every test session.
    from scene_qformer.marked_page import write_between

    write_between(page, BEGIN, END, render(blocks_after(read_blocks(page.read_text()), attacks, whole)))


def stale_faults(page: Path, attacks: Sequence[Attack], whole: bool) -> list[str]:
    """Faults of which the page says something else than the tests show, as ``area: fault``."""
    old = read_blocks(page.read_text())
    new = blocks_after(old, attacks, whole)
    return [f'{area}: {fault}' for area, fault in dict.fromkeys([*old, *new])
            if old.get((area, fault)) != new.get((area, fault))]


def _headed(text: str, mark: str) -> list[tuple[str, str]]:
    """(heading, what stands below it) of one level of headings, outside of fences."""
    parts: list[tuple[str, list[str]]] = []
    fenced = False
    for line in text.splitlines():
        fenced ^= line.startswith('```')
        if line.startswith(mark) and not fenced:
            parts.append((line[len(mark):], []))
        elif parts:
            parts[-1][1].append(line)
    return [(heading, '\n'.join(lines)) for heading, lines in parts]


def _fenced(text: str) -> str:
    """A message must not end the fence that it stands in."""
    return text.replace('```', "'''")
