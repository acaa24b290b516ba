"""NuScenes-QA (Qian et al., arXiv 2305.14836), its official JSON.

``NuScenes_train_questions.json`` and ``NuScenes_val_questions.json``, as the official code reads them
(``src/datasets`` and ``src/execution`` of github.com/qiantianwen/NuScenes-QA)::

    {"questions": [{"sample_token": str, "question": str, "answer": str, "template_type": str, "num_hop": int, ...},
                   ...]}

``template_type`` is exist, count, object, status or comparison (section 3.2 of the paper), ``num_hop`` 0 or 1: how many
relations between objects a question goes through. Answers are single words or numbers; the official evaluation compares
their texts, whole, by ``template_type`` and ``num_hop``.
"""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmdet3d.registry import TASK_UTILS

from .driving_question import DrivingQuestion
from .question_source import QuestionSource


@TASK_UTILS.register_module()
class NuScenesQAQuestions(QuestionSource):
    """Questions of NuScenes-QA; ``type`` is ``template_type``: exist, count, object, status or comparison.

    The file names no scenes, so ``scenes`` cannot choose; the frames of the info file do. Questions have no ids there
    either: the id is the place in the file.

    Args:
        path: e.g. ``NuScenes_val_questions.json``.
        by_hop: Tell questions of no hop and of one apart: the type is then ``exist_0``, ``exist_1`` and so on.
        **kwargs: ``backend_args``, as in :class:`QuestionSource`.

    Raises:
        ValueError: On loading, as :meth:`QuestionSource.load`.
    """

    origin = 'NuScenes_train_questions.json or NuScenes_val_questions.json (github.com/qiantianwen/NuScenes-QA)'

    def __init__(self, path: str, by_hop: bool = False, **kwargs) -> None:
        super().__init__(path, **kwargs)
        self.by_hop = by_hop

    def parse(self, content: Any) -> Iterator[DrivingQuestion]:
        """Every entry of ``questions``."""
        questions = self.take(self.check(content, dict, 'the whole file'), 'questions', list, 'the file')
        for number, record in enumerate(questions):
            entry = f'question {number}'
            self.check(record, dict, entry)
            answer = record.get('answer')
            if isinstance(answer, int) and not isinstance(answer, bool):
                record['answer'] = str(answer)  # counts; the official evaluation takes str() as well
            kind = self.take(record, 'template_type', str, entry)
            if self.by_hop:
                kind = f'{kind}_{self.take(record, "num_hop", int, entry)}'
            turn = self.take(record, 'question', str, entry), self.take(record, 'answer', str, entry)
            yield DrivingQuestion(id=str(number), type=kind, turns=(turn, ),
                                  sample_token=self.take(record, 'sample_token', str, entry))
