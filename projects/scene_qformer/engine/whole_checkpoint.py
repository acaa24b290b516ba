"""Which checkpoint of a work directory a training goes on from: the newest one that is whole."""
from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from ..durable_file import DamagedFileError, digest_path
from .safe_checkpoint import load_from_safe_file

NOTE = 'last_checkpoint'  # mmengine's file with the path of the newest checkpoint
_TRAINING = re.compile(r'(epoch|iter)_\d+\.pth')  # best_*.pth and published ones hold weights alone


class FoundCheckpoint(NamedTuple):
    """What :func:`find_whole_checkpoint` found."""

    path: Path | None  # of the newest that a training can go on from
    torn: dict[Path, str]  # newer ones that do not hold what was written, and why: to be set aside
    passed_over: dict[Path, str]  # newer ones that do, but cannot be gone on from, and why


def find_whole_checkpoint(work_dir: str | Path) -> FoundCheckpoint:
    """Look for the newest checkpoint that can be read in full and holds what a training goes on with.

    Newest is what ``last_checkpoint`` names, or what was written after it: a kill may come between the two.

    Args:
        work_dir: Of the training. ``last_checkpoint`` there may name a file in another folder.

    Returns:
        The checkpoint, or None if there is none of a training; and of every newer one, why it is not that.

    Raises:
        ValueError: If there are checkpoints, but none is whole. Starting anew would be a silent loss.
        NotReadError: If one cannot be read now. It may be whole.
        FileNotFoundError: If ``last_checkpoint`` names one that is gone, and there is no other.
    """
    work_dir = Path(work_dir)
    named, candidates = _candidates(work_dir)
    torn: dict[Path, str] = {}
    passed_over: dict[Path, str] = {}
    newer = candidates[:candidates.index(named)] if named in candidates else []
    for path in candidates:
        if path.is_dir():  # of DeepSpeed: nobody looks inside, so what is written after it must vouch for it
            if path in newer:
                passed_over[path] = (f'{path} is newer than what {NOTE} names, which is written after it: a training '
                                     'may have stopped in between.')
                continue
            return FoundCheckpoint(path, torn, passed_over)
        try:
            content = load_from_safe_file(str(path), map_location='cpu')
            if not isinstance(content, dict) or not {'meta', 'optimizer'} <= content.keys():
                raise ValueError(f'{path} holds weights, but not the state of the optimizer: it was saved with '
                                 'save_optimizer=False. To start from its weights: --cfg-options load_from=PATH.')
            return FoundCheckpoint(path, torn, passed_over)
        except DamagedFileError as error:
            torn[path] = str(error)
        except ValueError as error:
            passed_over[path] = str(error)
    if torn or passed_over:
        reasons = '\n  '.join({**torn, **passed_over}[path] for path in candidates)
        raise ValueError(f'No checkpoint in {work_dir} can be resumed from:\n  {reasons}\nCopy a whole one there, name '
                         'one (--resume PATH), or train anew in another --work-dir.')
    if named is not None:
        raise FileNotFoundError(f'{work_dir / NOTE} names {named}, which is not there, nor is another checkpoint of '
                                f'this training. Put it back, or remove {NOTE} to start anew.')
    return FoundCheckpoint(None, torn, passed_over)


def set_aside(path: Path) -> Path:
    """Rename a torn checkpoint, so that nothing reads it, or writes another in its place, unseen.

    Returns:
        Its new name, such as ``epoch_3.pth.torn``, which nothing had before.
    """
    names = [f'{path.name}.torn', *(f'{path.name}.torn-{number}' for number in range(2, 1000))]
    aside = next(path.with_name(name) for name in names if not path.with_name(name).exists())
    path.rename(aside)
    if digest_path(path).is_file():
        digest_path(path).rename(digest_path(aside))
    return aside


def training_checkpoints(folder: Path) -> list[Path]:
    """Files of a folder that training wrote at its intervals, the newest first."""
    found = [path for path in folder.glob('*.pth') if _TRAINING.fullmatch(path.name)] if folder.is_dir() else []
    return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)


def _candidates(work_dir: Path) -> tuple[Path | None, list[Path]]:
    """What ``last_checkpoint`` names, if anything, and the checkpoints by age."""
    note = work_dir / NOTE
    text = note.read_text(errors='replace').strip('\0 \n') if note.is_file() else ''  # empty after a loss of power
    named = Path(text) if text else None
    found = training_checkpoints(work_dir)
    if named is None:
        return None, found
    if not named.exists():
        named = work_dir / named.name  # the folder was moved
    if named.parent.resolve() != work_dir.resolve():
        found = sorted([*found, *training_checkpoints(named.parent)], key=lambda path: path.stat().st_mtime_ns,
                       reverse=True)
    if not named.exists():
        return Path(text), found
    # the note vouches for what it names: in a copied folder the times of the files mean nothing
    vouched = max(note.stat().st_mtime_ns, named.stat().st_mtime_ns)
    others = [path for path in found if path.resolve() != named.resolve()]
    newer = [path for path in others if path.stat().st_mtime_ns > vouched]
    return named, [*newer, named, *(path for path in others if path not in newer)]
