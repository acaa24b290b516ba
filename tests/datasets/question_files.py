"""Question files in the official formats, small and written by hand, as content for ``json.dumps``."""
from __future__ import annotations

import json
from pathlib import Path

CAMERAS = ('CAM_FRONT', 'CAM_FRONT_LEFT', 'CAM_FRONT_RIGHT', 'CAM_BACK', 'CAM_BACK_LEFT', 'CAM_BACK_RIGHT')
CONTEXT = dict(C=None, con_up=None, con_down=None, cluster=None, layer=None)


def write(folder: Path, content) -> Path:
    path = folder / 'questions.json'
    path.write_text(json.dumps(content))
    return path


def drivelm(tokens=('t0', 't1', 't2')) -> dict:
    """Two scenes; the last sample is of the second. Sample i has i + 1 pairs of perception and one of planning."""

    def frame(number, token):
        pairs = [dict(Q=f'What is object {k}?', A=f'A car, {token}.', **CONTEXT) for k in range(number + 1)]
        return dict(
            key_object_infos={'<c1,CAM_BACK,1088.3,497.5>': dict(Category='Vehicle')},
            QA=dict(perception=pairs, prediction=[],
                    planning=[dict(Q='What is safe for <c1,CAM_BACK,1088.3,497.5>?', A='Brake.', **CONTEXT)],
                    behavior=[]),
            image_paths={camera: f'../nuscenes/samples/{camera}/{token}.jpg' for camera in CAMERAS})

    frames = [(token, frame(number, token)) for number, token in enumerate(tokens)]
    return {'scene-a': dict(scene_description='Going on.', key_frames=dict(frames[:-1])),
            'scene-b': dict(scene_description='Waiting.', key_frames=dict(frames[-1:]))}


def nuscenes_qa(tokens=('t0', 't0', 't1')) -> dict:
    """Three questions, the second of one hop, the third with a number for an answer."""
    records = [('exist', 0, 'Are there any moving pedestrians?', 'yes'),
               ('object', 1, 'What is the thing to the back left of the stopped bus?', 'car'),
               ('count', 0, 'What number of trucks are there?', 3)]
    return dict(info=dict(version='1.0'), questions=[
        dict(split='val', sample_token=token, question=question, answer=answer, num_hop=hop, template_type=kind)
        for token, (kind, hop, question, answer) in zip(tokens, records)])


def llava() -> list:
    """One entry of two turns that names its sample, and two that are about the sample of their id."""

    def said(*texts):
        return [{'from': ('human', 'gpt')[number % 2], 'value': text} for number, text in enumerate(texts)]

    return [
        dict(id='first', sample_token='t0', image='x.jpg', type='caption', scene='scene-a',
             conversations=said('<image>\nWhat is there?', 'A bus.', 'Is it parked?', 'No.')),
        dict(id='t1', image=[f'../nuscenes/samples/{camera}/t1.jpg' for camera in CAMERAS],
             conversations=said('<image>\nHow many cars?', 'Five.')),
        dict(id='t1', conversations=said('Where is the truck?', 'Behind.')),
    ]


def generated(tokens=('t0', 't0', 't1'), scenes=('scene-0061', 'scene-0061', 'scene-0553')) -> dict:
    records = [('count', 'How many cars are there?', '2'), ('ego', 'Is the ego vehicle moving?', 'yes'),
               ('where', 'Where is the bus?', 'front left, 11 to 20 m')]
    return dict(
        metainfo=dict(generation=1, version='v1.0-mini', seed=0),
        questions=[dict(id=f'{token}-{number}', sample_token=token, scene=scene, type=kind, question=question,
                        answer=answer)
                   for number, (token, scene, (kind, question, answer)) in enumerate(zip(tokens, scenes, records))])
