"""Conversations in the format that LLaVA is fine-tuned on (Liu et al., arXiv 2304.08485).

As ``docs/Finetune_Custom_Data.md`` of github.com/haotian-liu/LLaVA describes it; its training code (``llava/train``)
asserts that the two voices alternate and skips a first word that is not the human's::

    [{"id": str, "image": str, "conversations": [{"from": "human", "value": "<image>\\nWhat ..."},
                                                 {"from": "gpt", "value": "..."}, ...]}, ...]

To be about a key frame of nuScenes, an entry here names its ``sample_token``, or has it for ``id``. ``type`` and
``scene`` are optional.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from mmdet3d.registry import TASK_UTILS

from .driving_question import DrivingQuestion
from .question_source import QuestionSource

VOICES = ('human', 'gpt')


@TASK_UTILS.register_module()
class LLaVAConversations(QuestionSource):
    """Conversations of several turns; ``type`` is the entry's, else ``conversation``.

    An entry without ``sample_token`` is about the sample that its ``id`` names, and several entries may then share an
    id. A last question without an answer is one for testing. ``image`` may list the six files, as DriveLM's own
    conversion to this format does; the folder of a file then tells its camera.

    Args:
        path: The JSON file.
        scenes: Keep entries with these values of ``scene``; None for all.
        backend_args: For mmengine's file backend.

    Raises:
        ValueError: On loading, as :meth:`QuestionSource.load`.
    """

    origin = ('conversations in the format of LLaVA, [{"id": ..., "sample_token": ..., "conversations": [{"from": '
              '"human", "value": ...}, {"from": "gpt", "value": ...}]}]')

    def parse(self, content: Any) -> Iterator[DrivingQuestion]:
        """Every entry of the list."""
        seen: Counter = Counter()  # entries so far of each id that stands for a sample
        for number, record in enumerate(self.check(content, list, 'the whole file')):
            entry = f'entry {number}'
            name = self.take(self.check(record, dict, entry), 'id', str, entry)
            token = name
            if 'sample_token' in record:
                token = self.take(record, 'sample_token', str, entry)
            else:
                seen[token] += 1
                name = f'{token}_{seen[token] - 1}'
            optional = {key: self.take(record, key, str, entry) for key in ('type', 'scene') if key in record}
            yield DrivingQuestion(id=name, type=optional.get('type', 'conversation'), turns=self._turns(record, entry),
                                  sample_token=token, scene=optional.get('scene'), image_paths=_by_camera(record))

    def _turns(self, record: dict, entry: str) -> tuple[tuple[str, str], ...]:
        texts: list[str] = []
        for number, word in enumerate(self.take(record, 'conversations', list, entry)):
            where = f'conversations[{number}] of {entry}'
            voice = self.take(self.check(word, dict, where), 'from', str, where)
            expected = VOICES[len(texts) % 2]
            if voice not in VOICES or (voice != expected and texts):
                raise self.error(where, f'"from": "{expected}", as human and gpt take turns', repr(voice))
            if voice == expected:  # LLaVA skips a first word of the gpt's
                texts.append(self.take(word, 'value', str, where))
        if not texts:
            raise self.error(f"'conversations' of {entry}", 'a question of the human', 'none')
        if len(texts) % 2:
            texts.append('')
        return tuple(zip(texts[::2], texts[1::2]))


def _by_camera(record: dict) -> dict[str, str] | None:
    """Camera name to path, if ``image`` lists files in folders of cameras, as ``samples/CAM_FRONT/...jpg``."""
    paths = record.get('image')
    if not isinstance(paths, list):
        return None
    return {PurePosixPath(path).parent.name: path for path in paths if isinstance(path, str)}
