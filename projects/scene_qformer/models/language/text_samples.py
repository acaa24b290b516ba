"""Conversations that ride on data samples."""
from __future__ import annotations

from collections.abc import Sequence


def batch_text(data_samples: Sequence) -> list[list[dict]]:
    """The conversations of each data sample.

    Args:
        data_samples: B data samples with ``gt_text``: a list of ``dict(id, type, turns)``, ``turns`` a list of pairs of
            question and answer.

    Raises:
        ValueError: If a sample has none; names it.
    """
    for sample in data_samples:
        if 'gt_text' not in sample:
            raise ValueError(
                f"The language model was given sample {sample.metainfo.get('sample_token', '?')} without gt_text, the "
                'questions to read and answer. Use a dataset that joins questions to frames (DrivingQuestionsDataset), '
                'with PackSceneInputs at the end of its pipeline.')
    return [sample.gt_text for sample in data_samples]
