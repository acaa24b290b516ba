"""Fewer questions a frame."""
from __future__ import annotations

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet3d.registry import TRANSFORMS

from ..settings import check_count


@TRANSFORMS.register_module()
class ChooseQuestions(BaseTransform):
    """Take a random subset of a frame's questions, another one in every epoch. For training pipelines.

    A frame may have a hundred questions, and all of them together may not fit into memory. Every question is as likely
    as every other; the chosen ones stay in the order of the file. Frames with fewer questions keep all.

    Edits ``gt_text``.

    Args:
        num: How many to keep, at most.

    Raises:
        ValueError: If ``num`` is no whole number of at least 1.
    """

    def __init__(self, num: int) -> None:
        check_count(num, 'num of ChooseQuestions')
        self.num = num

    def transform(self, results: dict) -> dict:
        """Choose.

        Raises:
            ValueError: If the frame comes without questions.
        """
        if 'gt_text' not in results:
            raise ValueError(f'ChooseQuestions found no gt_text in sample {results.get("token")}: its dataset has no '
                             'questions. Use DrivingQuestionsDataset, or take the transform out of the pipeline.')
        questions = results['gt_text']
        if len(questions) > self.num:
            chosen = np.sort(np.random.permutation(len(questions))[:self.num])
            results['gt_text'] = [questions[index] for index in chosen]
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(num={self.num})'
