"""Questions that this project writes from the annotations of a nuScenes root.

The file, ``questions_train.json`` or ``questions_val.json`` beside the info files::

    {"metainfo": {"generation": int, "version": str, "seed": int, ...},
     "questions": [{"id": str, "sample_token": str, "scene": str, "type": str, "question": str, "answer": str}, ...]}
"""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmdet3d.registry import TASK_UTILS

from .driving_question import DrivingQuestion
from .question_source import QuestionSource


@TASK_UTILS.register_module()
class GeneratedQuestions(QuestionSource):
    """Generated questions; ``type`` is exist, count, category, state, where, compare or ego.

    Args:
        path: e.g. ``data/nuscenes/questions_val.json``.
        scenes: Names of the scenes to keep; None for all.
        backend_args: For mmengine's file backend.

    Raises:
        ValueError: On loading, as :meth:`QuestionSource.load`.
    """

    origin = 'what tools/create_questions.py writes'

    def parse(self, content: Any) -> Iterator[DrivingQuestion]:
        """Every entry of ``questions``."""
        metainfo = self.take(self.check(content, dict, 'the whole file'), 'metainfo', dict, 'the file')
        self.take(metainfo, 'generation', int, 'metainfo')  # tells the file from NuScenes-QA's, which looks alike
        for number, record in enumerate(self.take(content, 'questions', list, 'the file')):
            entry = f'question {number}'
            fields = {key: self.take(self.check(record, dict, entry), key, str, entry)
                      for key in ('id', 'type', 'sample_token', 'scene', 'question', 'answer')}
            turn = fields.pop('question'), fields.pop('answer')
            yield DrivingQuestion(turns=(turn, ), **fields)
