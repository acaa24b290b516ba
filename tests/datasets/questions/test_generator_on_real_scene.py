"""Generated questions against a second, independent reading of them over the devkit: every answer, of every type."""
import json
from collections import Counter

import pytest
from devkit_oracle import DevkitOracle
from nuscenes.nuscenes import NuScenes

from scene_qformer.datasets.info_file import load_info_file
from scene_qformer.datasets.questions import GeneratedQuestions
from scene_qformer.datasets.questions.generator import FAMILIES, create_question_files
from scene_qformer.datasets.questions.generator.families import questions_about
from scene_qformer.datasets.questions.generator.frame_facts import read_frame


@pytest.fixture(scope='module')
def nusc(real_nuscenes_root):
    return NuScenes('v1.0-trainval', str(real_nuscenes_root), verbose=False)


def test_every_question_that_could_be_asked(nusc, real_infos):
    """Before balancing, in all wordings: about 680 a frame."""
    oracle = DevkitOracle(nusc)
    compared: Counter = Counter()
    templates = set()
    wrong = []
    for info in load_info_file(real_infos / 'nuscenes_infos_val.pkl')['data_list'][::3]:
        for asked in questions_about(read_frame(info, nusc)):
            templates.add(asked.template)
            for question in asked.wordings():
                compared[asked.template.type] += 1
                if oracle.answer(info['token'], question) != asked.answer:
                    wrong.append((info['token'], question, asked.answer, oracle.answer(info['token'], question)))
    assert not wrong, (len(wrong), wrong[:5])
    assert set(compared) == set(FAMILIES)
    assert min(compared.values()) > 50, compared
    assert len(templates) == 16, templates


def test_the_file(nusc, real_nuscenes_root, real_infos, tmp_path):
    """What the tool writes, as its source reads it: every answer once more, each about a sample of the scene."""
    path, = create_question_files(real_nuscenes_root, 'v1.0-trainval', out=tmp_path, info_root=real_infos)
    questions = GeneratedQuestions(str(path)).load()
    oracle = DevkitOracle(nusc)
    for question in questions:
        (text, answer), = question.turns
        assert oracle.answer(question.sample_token, text) == answer, question
        assert question.scene == 'scene-0523'
    assert {question.type for question in questions} == set(FAMILIES)
    assert len(questions) > 700
    content = json.loads(path.read_text())
    assert content['metainfo']['statistics']['all']['number'] == len(questions)
    assert content['metainfo']['statistics']['all']['text_only_accuracy'] < 0.45


def test_the_second_reading_can_disagree(nusc, real_infos):
    """About another frame, 10 s later, many of the answers are wrong; of every type."""
    oracle = DevkitOracle(nusc)
    infos = load_info_file(real_infos / 'nuscenes_infos_val.pkl')['data_list']
    asked_of, agreed = Counter(), Counter()
    for info, other in zip(infos[:20], infos[20:]):
        for asked in questions_about(read_frame(info, nusc)):
            try:
                answer = oracle.answer(other['token'], asked.wordings()[0])
            except (AssertionError, ValueError):  # nothing of that kind there, or a tie
                continue
            asked_of[asked.template.type] += 1
            agreed[asked.template.type] += answer == asked.answer
    assert set(asked_of) == set(FAMILIES)
    assert all(agreed[kind] < asked_of[kind] for kind in FAMILIES), (agreed, asked_of)
    with pytest.raises(AssertionError, match='nobody has taught'):
        oracle.answer(infos[0]['token'], 'Why is the bus blue?')
