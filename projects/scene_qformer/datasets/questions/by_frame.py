"""Questions in the order of frames, as the datasets need them."""
from __future__ import annotations

from mmdet3d.registry import TASK_UTILS

from .driving_question import DrivingQuestion


def name_of(source: dict) -> str:
    """What to call a source in messages: its file, if it has one."""
    return str(source.get('path', source['type']))


def load_by_sample(source: dict, test_mode: bool) -> dict[str, list[DrivingQuestion]]:
    """Read a source and put together what is about the same sample.

    Args:
        source: ``dict(type=..., path=...)`` of a source in the registry TASK_UTILS.
        test_mode: Whether questions need no answer.

    Returns:
        Sample token to its questions, both in the order of the file.

    Raises:
        ValueError: If a question that is to be learned has no answer.
    """
    by_sample: dict[str, list[DrivingQuestion]] = {}
    unanswered = []
    for question in TASK_UTILS.build(source).load():
        by_sample.setdefault(question.sample_token, []).append(question)
        if not question.answered:
            unanswered.append(question.id)
    if unanswered and not test_mode:
        raise ValueError(f'{len(unanswered)} questions of {name_of(source)} have no answer to learn, first '
                         f'{unanswered[0]!r}. Are these questions for testing? Give the dataset test_mode=True, or '
                         'another file.')
    return by_sample
