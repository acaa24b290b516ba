"""Two frames, one bright and one dark, with questions in DriveLM's format, are learned by heart."""
from __future__ import annotations

import functools
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from scene_qformer.datasets import NUSCENES_CAMERAS
from scene_qformer.models.language.word_tokenizer import build_word_tokenizer
from tools.analysis import learn_answers_by_heart as tool

# text, answer in the bright frame, answer in the dark one
PAIRS = [
    ('Is it day?', 'Yes.', 'No.'),
    ('What is at <c1,CAM_BACK,1088.3,497.5>?', 'A car near <c2,CAM_FRONT,71.0,2.9>.', 'Nothing.'),
    ('Is there a road?', 'Yes.', 'Yes.'),
]
SMALL = '''
_base_ = '{config}'
pack = dict(type='PackSceneInputs', keys=('img', ))
images = [dict(type='LoadSurroundImages', size=(64, 32), cache=True), pack]
chosen = [images[0], dict(type='ChooseQuestions', num=2), pack]
model = dict(
    scene_queries=dict(num_queries=3),
    decoder=dict(num_layers=1),
    language_model=dict(
        model=dict(hidden_size=48, intermediate_size=67, num_hidden_layers=2, max_position_embeddings=97),
        generation=dict(max_new_tokens=31)))
optim_wrapper = dict(optimizer=dict(lr=4e-3, muon_lr=1e-2))
train_dataloader = dict(dataset=dict(pipeline=chosen))
val_dataloader = dict(dataset=dict(pipeline=images))
'''


def write_drivelm(root: Path, levels=(230, 20)) -> None:
    """One scene; the grey level of a frame's images tells which frame it is."""
    frames = {}
    for number, (token, level) in enumerate(zip(('bright', 'dark'), levels)):
        paths = {}
        for camera in NUSCENES_CAMERAS:
            path = root / f'nuscenes/samples/{camera}/{token}.jpg'
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), np.full((36, 64, 3), level, np.uint8))
            paths[camera] = f'../nuscenes/samples/{camera}/{token}.jpg'
        pairs = [dict(Q=text, A=answers[number]) for text, *answers in PAIRS]
        frames[token] = dict(key_object_infos={}, QA=dict(perception=pairs), image_paths=paths)
    (root / 'v1_1_train_nus.json').write_text(json.dumps({'scene': dict(scene_description='', key_frames=frames)}))


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Calls the tool on a small config; returns what it writes."""
    def run(*arguments, levels=(230, 20)) -> dict:
        write_drivelm(tmp_path, levels)
        config = tmp_path / 'small.py'
        config.write_text(SMALL.format(config=tool.CONFIG))
        monkeypatch.setenv('DRIVELM_ROOT', str(tmp_path))
        # unformatted: a runner writes its config down, and laying that out takes longer than the training here
        monkeypatch.setattr(tool.Config, 'fromfile', functools.partial(tool.Config.fromfile, format_python_code=False))
        monkeypatch.setattr(sys, 'argv', ['learn_answers_by_heart.py', str(config), '--work-dir',
                                          str(tmp_path / 'work'), *arguments])
        tool.main()
        return json.loads((tmp_path / 'work/result.json').read_text())
    return run


def test_all_is_learned_and_the_blind_model_is_wrong_where_sight_is_needed(run, tmp_path):
    result = run('--steps', '160')
    assert result['sighted']['loss'] < 0.05 < result['blind']['loss']
    groups = result['groups']
    assert groups['all']['questions'] == groups['all']['exact'] == groups['all']['best_by_sight'] == 6
    differing = groups['answered otherwise elsewhere']
    assert (differing['questions'], differing['exact'], differing['best_by_text'], differing['seen']) == (4, 4, 2, 2)
    assert differing['exact_blind'] <= 2 and groups['others']['exact_blind'] == 2
    answers = (tmp_path / 'work/sighted/answers.jsonl').read_text()
    assert answers.count('A car near <c2,CAM_FRONT,71.0,2.9>.') == 2  # the true one, and ours


def test_no_sight_no_success(run):
    """Two frames that look alike: whatever is learned, the text alone could give as much."""
    with pytest.raises(SystemExit, match='Nothing shows that the images were looked at: .* 2 can be from the text'):
        run('--steps', '1', '--wanted', '0', '--no-blind', levels=(120, 120))


def test_too_little_is_a_failure(run):
    with pytest.raises(SystemExit, match=r'Learned only \d of 3 answers; 98% were wanted'):
        run('--steps', '1', '--no-blind', '--frames', '1')


def test_missing_data_are_named(run, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], 'write_drivelm', lambda root, levels: None)
    with pytest.raises(SystemExit, match='There is no question file .*v1_1_train_nus.json'):
        run()


def test_answers_that_the_tokenizer_cannot_write_are_refused():
    tokenizer = build_word_tokenizer(['Yes.', 'No.'])
    tool.check_answers_can_be_written(tokenizer, ['Yes.', 'No. No.'])
    with pytest.raises(ValueError, match=r"cannot write 1 of the answers, first 'Maybe.', which comes back as '\.'"):
        tool.check_answers_can_be_written(tokenizer, ['Yes.', 'Maybe.'])


def test_the_real_pairs_come_back_from_their_word_tokenizer():
    """All 479 answers, with marks such as <c1,CAM_BACK,1088.3,497.5>."""
    path = Path(__file__).parents[3] / 'shared/drivelm_real/v1_1_train_nus.json'
    if not path.is_file():
        pytest.skip(f'no real DriveLM at {path}')
    from scene_qformer.datasets.questions import DriveLMQuestions
    turns = [turn for question in DriveLMQuestions(path=str(path)).load() for turn in question.turns]
    assert len(turns) == 479
    tokenizer = build_word_tokenizer(text for turn in turns for text in turn)
    tool.check_answers_can_be_written(tokenizer, [answer for _, answer in turns])
