"""Frames of nuScenes with questions about them."""
from __future__ import annotations

import logging

from mmdet3d.registry import DATASETS
from mmengine.logging import print_log

from .nuscenes_scene_dataset import NuScenesSceneDataset
from .questions.by_frame import load_by_sample, name_of


@DATASETS.register_module()
class DrivingQuestionsDataset(NuScenesSceneDataset):
    """Frames with all questions about them, joined by sample token.

    An item is a frame, so that its images are encoded once for all its questions; frames without a question are left
    out. ``results['gt_text']`` is a list of ``dict(id=str, type=str, turns=[(question, answer), ...])``, which
    ``PackSceneInputs`` puts on the data sample. Questions about samples that the info file does not have, e.g. of
    another split, are left out too, and their number is logged. The official detection metric wants all frames of a
    split; :class:`NuScenesSceneDataset` has them.

    Args:
        questions: ``dict(type=..., path=...)`` of a source of questions; see ``questions/``.
        **kwargs: As in :class:`NuScenesSceneDataset`.

    Raises:
        FileNotFoundError: If there is no question file, data root or info file.
        ValueError: If the question file is damaged, none of its questions is about a frame of the info file, or, but
            for ``test_mode``, a question has no answer; and as in :class:`NuScenesSceneDataset`.
    """

    def __init__(self, questions: dict, **kwargs) -> None:
        self.questions = questions
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict]:
        """Read the questions and the info file, and join them."""
        by_sample = load_by_sample(self.questions, self.test_mode)
        self._by_sample = by_sample
        frames = super().load_data_list()
        del self._by_sample  # each frame has its own by now; workers need no second copy
        asked = [frame for frame in frames if 'gt_text' in frame]
        self._tell(by_sample, asked, len(frames))
        return asked

    def parse_data_info(self, info: dict) -> dict:
        """As :class:`NuScenesSceneDataset`, with ``gt_text``; a frame without questions is passed by, to be dropped."""
        questions = self._by_sample.get(info['token'])
        if questions is None:
            return dict(token=info['token'])
        info['gt_text'] = [question.as_text() for question in questions]
        info['index_in_info_file'] = info['sample_idx']
        return super().parse_data_info(info)

    def get_data_info(self, idx: int) -> dict:
        """As mmengine's, but ``sample_idx`` counts all frames of the info file: NuScenesMetric looks them up by it."""
        info = super().get_data_info(idx)
        info['sample_idx'] = info['index_in_info_file']
        return info

    def _tell(self, by_sample: dict, asked: list[dict], num_frames: int) -> None:
        path = name_of(self.questions)
        if not asked:
            raise ValueError(f'None of the {len(by_sample)} samples that {path} asks about (first: '
                             f'{next(iter(by_sample))}) is among the {num_frames} frames of {self.ann_file}.\nDo both '
                             'come from the same data set and split? Correct the path of the questions, or ann_file.')
        lost = set(by_sample) - {frame['token'] for frame in asked}
        total = sum(map(len, by_sample.values()))
        num_lost = sum(len(by_sample[token]) for token in lost)
        print_log(f'{path}: {total - num_lost} questions about {len(asked)} of {num_frames} frames of {self.ann_file}.',
                  'current')
        if lost:
            print_log(f'{path}: {num_lost} of {total} questions are left out: they are about {len(lost)} samples that '
                      f'{self.ann_file} does not have, e.g. {min(lost)}.', 'current', level=logging.WARNING)
