"""DriveLM-nuScenes (Sima et al., arXiv 2312.14150), its official JSON.

As ``docs/data_prep_nus.md`` of github.com/OpenDriveLab/DriveLM describes it, and as ``v1_1_train_nus.json`` is::

    {<scene token>: {"scene_description": str,
                     "key_frames": {<sample token>: {
                         "key_object_infos": {...},
                         "QA": {"perception": [{"Q": str, "A": str, ...}, ...], "prediction": [...], "planning": [...],
                                "behavior": [...]},
                         "image_paths": {"CAM_FRONT": "../nuscenes/samples/CAM_FRONT/....jpg", ...}}}}}

Scene and sample tokens are nuScenes'. Objects are named in the text, ``<c1,CAM_BACK,1088.3,497.5>``, with the pixel in
the camera's original 1600x900 image.
"""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmdet3d.registry import TASK_UTILS

from .driving_question import DrivingQuestion
from .question_source import QuestionSource

# In the order in which the official tools number a frame's pairs.
TASKS = ('perception', 'prediction', 'planning', 'behavior')


@TASK_UTILS.register_module()
class DriveLMQuestions(QuestionSource):
    """Questions of DriveLM-nuScenes; ``type`` is the task: perception, prediction, planning or behavior.

    Each pair is a conversation of its own. Its id is the one that DriveLM's challenge gives it (the script
    convert2llama in its folder ``challenge``): ``<scene token>_<sample token>_<number>``, counted over a frame's tasks,
    so that results can be handed to its evaluation. Answers may be missing or empty, as where they are kept back for a
    test; training refuses those.

    Args:
        path: e.g. ``v1_1_train_nus.json``.
        scenes: Scene tokens to keep; None for all.
        backend_args: For mmengine's file backend.

    Raises:
        ValueError: On loading, as :meth:`QuestionSource.load`.
    """

    origin = 'v1_1_train_nus.json of DriveLM-nuScenes (huggingface.co/datasets/OpenDriveLab/DriveLM)'

    def parse(self, content: Any) -> Iterator[DrivingQuestion]:
        """Every pair of every key frame."""
        for scene in self.check(content, dict, 'the whole file'):
            frames = self.take(self.take(content, scene, dict, 'the file'), 'key_frames', dict, f'scene {scene}')
            for token in frames:
                entry = f'key frame {token} of scene {scene}'
                yield from self._of_frame(scene, token, self.check(frames[token], dict, entry), entry)

    def _of_frame(self, scene: str, token: str, frame: dict, entry: str) -> Iterator[DrivingQuestion]:
        tasks = self.take(frame, 'QA', dict, entry)
        unknown = [task for task in tasks if task not in TASKS]
        if unknown:
            raise self.error(f'QA of {entry}', f'the tasks {", ".join(TASKS)}', repr(unknown[0]))
        image_paths = frame.get('image_paths')
        if image_paths is not None:
            image_paths = {camera: self.take(image_paths, camera, str, f'image_paths of {entry}')
                           for camera in self.check(image_paths, dict, f'image_paths of {entry}')}
        number = 0
        for task in TASKS:
            for pair in self.take(tasks, task, list, f'QA of {entry}') if task in tasks else ():
                where = f'pair {number} ({task}) of {entry}'
                question = self.take(self.check(pair, dict, where), 'Q', str, where)
                answer = pair.get('A')
                if answer not in (None, ''):
                    self.check(answer, str, f"'A' of {where}")
                yield DrivingQuestion(id=f'{scene}_{token}_{number}', type=task, turns=((question, answer or ''), ),
                                      sample_token=token, scene=scene, image_paths=image_paths)
                number += 1
