"""The tool and its files on a synthetic root: balanced, split by scene, the same for a seed, confirmed once more."""
import json
import runpy
import shutil
import sys
from collections import Counter, defaultdict
from pathlib import Path

import mmengine
import pytest
from devkit_oracle import DevkitOracle
from nuscenes.nuscenes import NuScenes

from scene_qformer.datasets.info_file import load_info_file
from scene_qformer.datasets.nuscenes_infos import create_info_files
from scene_qformer.datasets.questions import GeneratedQuestions
from scene_qformer.datasets.questions.generator import FAMILIES, GENERATION, create_question_files
from scene_qformer.durable_file import NotWrittenError
from tests.limited_files import files_of_at_most

TOOL = str(Path(__file__).parents[3] / 'tools/create_questions.py')


@pytest.fixture(scope='module')
def info_root(synthetic_root, tmp_path_factory):
    out = tmp_path_factory.mktemp('infos')
    create_info_files(synthetic_root, 'v1.0-mini', out=out)
    return out


@pytest.fixture(scope='module')
def files(synthetic_root, info_root, tmp_path_factory):
    """Both files, with 30 questions a frame."""
    out = tmp_path_factory.mktemp('questions') / 'new'
    paths = create_question_files(synthetic_root, 'v1.0-mini', out=out, info_root=info_root, per_frame=30)
    assert [path.name for path in paths] == ['questions_train.json', 'questions_val.json']
    return paths


def contents(paths):
    return [json.loads(path.read_text()) for path in paths]


def test_metainfo_counts_what_is_there(files):
    for path, split, frames in zip(files, ('train', 'val'), (16, 4)):
        content = json.loads(path.read_text())
        metainfo, questions = content['metainfo'], content['questions']
        expected = dict(
            generation=GENERATION, version='v1.0-mini', split=split, seed=0, per_frame=30, num_frames=frames)
        assert {key: metainfo[key] for key in expected} == expected
        assert '50 m' in metainfo['rules']['sure']
        assert set(metainfo['statistics']) == {*FAMILIES, 'all'}
        for kind, row in metainfo['statistics'].items():
            some = [question for question in questions if kind in ('all', question['type'])]
            answers = Counter(question['answer'] for question in some)
            by_text = defaultdict(Counter)
            for question in some:
                by_text[question['question']][question['answer']] += 1
            assert row['number'] == len(some)
            assert row['answers'] == answers
            if some:
                guessed = sum(counts.most_common(1)[0][1] for counts in by_text.values())
                assert row['majority_accuracy'] == pytest.approx(answers.most_common(1)[0][1] / len(some), abs=1e-4)
                assert row['text_only_accuracy'] == pytest.approx(guessed / len(some), abs=1e-4)


def test_texts_tell_little(files):
    for path in files:
        rows = contents([path])[0]['metainfo']['statistics']
        assert max(row['text_only_accuracy'] for row in rows.values()) <= 0.5
        assert rows['exist']['answers']['yes'] == rows['exist']['answers']['no']
        for kind in ('count', 'category', 'where'):
            assert rows[kind]['text_only_accuracy'] <= 0.3334
    train = contents(files)[0]['metainfo']['statistics']  # val's four frames hardly allow three different answers
    # in these 16 frames no ego car stands still, and none turns
    assert {kind for kind, row in train.items() if row['number']} >= set(FAMILIES) - {'ego'}
    assert train['all']['text_only_accuracy'] < 0.45


def test_scenes_are_split(files, synthetic_root):
    nusc = NuScenes('v1.0-mini', str(synthetic_root), verbose=False)
    train, val = ({question.scene for question in GeneratedQuestions(str(path)).load()} for path in files)
    assert train and val
    assert not train & val
    for path in files:
        for question in GeneratedQuestions(str(path)).load():
            sample = nusc.get('sample', question.sample_token)
            assert nusc.get('scene', sample['scene_token'])['name'] == question.scene


def test_every_answer_is_confirmed(files, synthetic_root):
    oracle = DevkitOracle(NuScenes('v1.0-mini', str(synthetic_root), verbose=False))
    for content in contents(files):
        assert len(content['questions']) > 20
        for question in content['questions']:
            assert oracle.answer(question['sample_token'], question['question']) == question['answer'], question


def test_at_most_so_many_a_frame(synthetic_root, info_root, tmp_path):
    paths = create_question_files(synthetic_root, 'v1.0-mini', tmp_path, info_root, per_frame=3)
    for content in contents(paths):
        per_frame = Counter(question['sample_token'] for question in content['questions'])
        assert max(per_frame.values()) == 3


def test_the_seed_decides(synthetic_root, info_root, files, tmp_path):
    again = create_question_files(synthetic_root, 'v1.0-mini', tmp_path / '0', info_root, per_frame=30)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in files]
    other = create_question_files(synthetic_root, 'v1.0-mini', tmp_path / '1', info_root, per_frame=30, seed=1)
    assert contents(other)[0]['questions'] != contents(files)[0]['questions']


class TestErrors:

    def test_nothing_is_overwritten_unasked(self, synthetic_root, info_root, files):
        before = files[1].read_bytes()
        with pytest.raises(FileExistsError, match='questions_val.json already there. Give --overwrite'):
            create_question_files(synthetic_root, 'v1.0-mini', files[1].parent, info_root)
        assert files[1].read_bytes() == before

    def test_no_info_files(self, synthetic_root, tmp_path):
        with pytest.raises(FileNotFoundError, match='no info file .*nuscenes_infos_train.pkl.\nCreate it with'):
            create_question_files(synthetic_root, 'v1.0-mini', info_root=tmp_path)

    def test_another_version(self, synthetic_root, info_root, tmp_path):
        with pytest.raises(ValueError, match="was made from version 'v1.0-mini', but --version is 'v1.0-trainval'"):
            create_question_files(synthetic_root, 'v1.0-trainval', tmp_path, info_root)
        with pytest.raises(ValueError, match='v1.0-test has no annotations'):
            create_question_files(synthetic_root, 'v1.0-test', tmp_path, info_root)

    def test_another_root(self, small_root, info_root, tmp_path):
        with pytest.raises(ValueError, match='Sample .* of the info files is not in .*v1.0-mini. Give the root'):
            create_question_files(small_root, 'v1.0-mini', tmp_path, info_root)

    def test_no_question_at_all(self, synthetic_root, info_root, tmp_path):
        with pytest.raises(ValueError, match='at least one question a frame, got per_frame=0'):
            create_question_files(synthetic_root, 'v1.0-mini', tmp_path, info_root, per_frame=0)

    def test_a_scene_in_both_splits(self, synthetic_root, info_root, tmp_path):
        for split in ('train', 'val'):
            shutil.copy(info_root / 'nuscenes_infos_val.pkl', tmp_path / f'nuscenes_infos_{split}.pkl')
        with pytest.raises(ValueError, match='have 2 scenes in both splits, scene-0103 first'):
            create_question_files(synthetic_root, 'v1.0-mini', info_root=tmp_path)

    def test_frames_that_are_all_alike(self, synthetic_root, info_root, tmp_path):
        """From a single frame there is nothing to balance."""
        for split in ('train', 'val'):
            content = load_info_file(info_root / f'nuscenes_infos_{split}.pkl')
            content['data_list'] = content['data_list'][:1]
            mmengine.dump(content, str(tmp_path / f'nuscenes_infos_{split}.pkl'))
        with pytest.raises(ValueError, match='The 1 train frames of .* leave no question whose answer is not'):
            create_question_files(synthetic_root, 'v1.0-mini', info_root=tmp_path)

    def test_a_failure_half_way_leaves_nothing(self, synthetic_root, info_root, tmp_path, monkeypatch):
        monkeypatch.setattr('os.replace', lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            create_question_files(synthetic_root, 'v1.0-mini', tmp_path, info_root)
        assert not list(tmp_path.iterdir())

    def test_a_disk_that_takes_no_more(self, synthetic_root, info_root, tmp_path):
        (tmp_path / 'questions_train.json').write_text('what was there')
        with files_of_at_most(1000), pytest.raises(NotWrittenError, match='questions_train.json could not be written'):
            create_question_files(synthetic_root, 'v1.0-mini', tmp_path, info_root, overwrite=True)
        file, = tmp_path.iterdir()
        assert file.read_text() == 'what was there'


def test_a_split_without_frames_gets_no_file(synthetic_root, info_root, tmp_path, capsys):
    content = load_info_file(info_root / 'nuscenes_infos_val.pkl')
    mmengine.dump(dict(content, data_list=[]), str(tmp_path / 'nuscenes_infos_train.pkl'))
    shutil.copy(info_root / 'nuscenes_infos_val.pkl', tmp_path)
    path, = create_question_files(synthetic_root, 'v1.0-mini', info_root=tmp_path)
    assert path == tmp_path / 'questions_val.json'
    assert f'No train questions: {tmp_path} has no train frames' in capsys.readouterr().out


def test_the_tool(synthetic_root, info_root, tmp_path, monkeypatch, capsys):
    arguments = ['--root', str(synthetic_root), '--version', 'v1.0-mini', '--info-root', str(info_root), '--out',
                 str(tmp_path), '--per-frame', '7', '--seed', '3']
    monkeypatch.setattr(sys, 'argv', ['create_questions.py', *arguments])
    runpy.run_path(TOOL, run_name='__main__')
    printed = capsys.readouterr()
    assert 'questions about 16 frames' in printed.out
    assert 'best text-only' in printed.out
    assert '16/16' in printed.err  # progress
    assert json.loads((tmp_path / 'questions_val.json').read_text())['metainfo']['seed'] == 3
    with pytest.raises(SystemExit, match='^create_questions.py: .* already there'):
        runpy.run_path(TOOL, run_name='__main__')
    monkeypatch.setattr(sys, 'argv', ['create_questions.py', *arguments, '--overwrite'])
    runpy.run_path(TOOL, run_name='__main__')


def test_the_tool_says_that_the_devkit_is_missing(monkeypatch):
    for name in [name for name in sys.modules if name.startswith('scene_qformer.datasets.questions.generator')]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, 'nuscenes.nuscenes', None)  # as if not installed
    monkeypatch.setattr(sys, 'argv', ['create_questions.py', '--root', 'r', '--version', 'v1.0-mini'])
    with pytest.raises(SystemExit, match='needs nuscenes.nuscenes, which is not installed'):
        runpy.run_path(TOOL, run_name='__main__')
