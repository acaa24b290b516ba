"""The table of answers on a tiny budget: trained in the right order, written once, resumed without training again."""
import json
import sys
from pathlib import Path

import mmengine
import numpy as np
import pytest

from scene_qformer.datasets.nuscenes_infos import create_info_files
from scene_qformer.models.language.word_tokenizer import save_word_tokenizer
from tests.datasets.small_nuscenes import write_small_nuscenes
from tools.analysis import compare_language

SMALLER = [
    '--encoder-options', 'model.backbone.base_channels=4', 'model.neck.in_channels=[8,16,32]',
    'model.decoder.num_layers=1',
    '--language-options', 'model.language_model.model.num_hidden_layers=1',
    'model.language_model.model.intermediate_size=64', 'model.language_model.generation.max_new_tokens=2']


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', ['compare_language.py', *map(str, arguments)])
    compare_language.main()


def write_questions(root: Path, split: str) -> list[dict]:
    """Two questions about every frame."""
    frames = mmengine.load(root / f'nuscenes_infos_{split}.pkl')['data_list']
    questions = [dict(id=f'{frame["token"]}-{type}', sample_token=frame['token'], scene='a', type=type, question=text,
                      answer=answer)
                 for number, frame in enumerate(frames) for type, text, answer in (
                     ('count', 'How many cars are there?', str(number % 2)),
                     ('exist', 'Is there a truck?', ('yes', 'no')[number % 2]))]
    (root / f'questions_{split}.json').write_text(json.dumps(dict(
        metainfo=dict(generation=1, version='v1.0-mini', seed=0), questions=questions)))
    return questions


@pytest.fixture(scope='module')
def data_root(tmp_path_factory):
    """6 training and 3 held-out frames, questions about them, and the questions' words."""
    root = tmp_path_factory.mktemp('data') / 'nuscenes'
    write_small_nuscenes(root, 'v1.0-mini', ('scene-0061', 'scene-0553', 'scene-0103'))
    create_info_files(root, 'v1.0-mini')
    questions = write_questions(root, 'train')
    write_questions(root, 'val')
    save_word_tokenizer((question[key] for question in questions for key in ('question', 'answer')),
                        root / 'tokenizer')
    return root


@pytest.fixture(autouse=True)
def environment(monkeypatch, data_root):
    monkeypatch.setenv('SYNTHETIC_NUSCENES_ROOT', str(data_root))
    monkeypatch.setenv('OMP_NUM_THREADS', '1')


def test_list(monkeypatch, capsys, tmp_path):
    run(monkeypatch, '--list', '--seeds', 5, '--tokens', 11, '--joint-tokens', 13, '--work-dir', tmp_path / 'work',
        '--language-epochs', 3)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith(' ')] == [
        '11 tokens, two stages', 'blind', '13 tokens, end to end, with boxes', '13 tokens, end to end, no boxes',
        '4 rows, 6 trainings, 6 to be done']
    assert lines[1].startswith('    image-branch_seed0_') and lines[1].endswith(': to be trained, 12 epochs')
    assert lines[2].startswith('    detector-11-queries_seed5_') and lines[2].endswith(': to be trained, 14 epochs')
    assert lines[3].startswith('    11-tokens-two-stages_seed5_') and lines[3].endswith(': to be trained, 3 epochs')
    assert not (tmp_path / 'work').exists()


@pytest.mark.parametrize(('arguments', 'message'), [
    (['--rows', 'nothing*'], 'No row is called nothing.: the rows are .11 tokens, two stages., .blind.'),
    (['--tokens', '0'], '0 scene tokens are too few'),
])
def test_wrong_arguments(monkeypatch, arguments, message):
    with pytest.raises(SystemExit, match=message):
        run(monkeypatch, '--list', '--seeds', 5, '--tokens', 11, *arguments)


def test_missing_files_are_named_with_the_tool_that_writes_them(monkeypatch, tmp_path):
    monkeypatch.setenv('SYNTHETIC_NUSCENES_ROOT', str(tmp_path))
    with pytest.raises(SystemExit) as error:
        run(monkeypatch, '--list')
    for text in ('nuscenes_infos_train.pkl, by tools/create_data.py', 'questions_val.json, by tools/create_questions',
                 'tokenizer, by tools/create_word_tokenizer.py'):
        assert text in str(error.value)


def test_no_table_without_the_blind_model(monkeypatch, tmp_path):
    with pytest.raises(SystemExit, match='No run of the blind model is finished'):
        run(monkeypatch, '--seeds', 5, '--tokens', 11, '--rows', '11 *', '--no-training', '--work-dir', tmp_path)


def test_trains_and_writes_the_table_once(monkeypatch, tmp_path, capsys):
    page = tmp_path / 'docs' / 'page.md'
    page.parent.mkdir()
    page.write_text(f'before\n{compare_language.BEGIN}\nold\n{compare_language.END}\nafter\n')
    arguments = ['--work-dir', tmp_path / 'work', '--seeds', 5, '--tokens', 11, '--rows', '11 *', '--page', page,
                 '--image-epochs', 1, '--detection-epochs', 1, '--language-epochs', 1, '--jobs', 2, *SMALLER]
    run(monkeypatch, *arguments)
    printed = capsys.readouterr().out
    assert '0 of 4 runs are finished already' in printed and 'FAILED' not in printed
    table = json.loads((tmp_path / 'work' / 'table.json').read_text())
    assert [row['kind'] for row in table['rows']] == ['guess', 'guess', 'guess', 'blind', 'model']
    reader, blind = table['runs']
    assert (reader['row'], reader['num_tokens'], reader['seed']) == ('11 tokens, two stages', 11, 5)
    assert list(reader['minutes']) == ['image branch', 'detector', 'tokens', 'language model']
    assert reader['detector_map'] is not None
    assert blind['detector_map'] is None and list(blind['minutes']) == ['language model']
    assert reader['types'].keys() == {'count', 'exist'} and reader['types']['count']['count'] == 3
    assert '1 epochs of 6 frames, batch 2: 3 steps' in table['facts']['two stages, detector']
    text = page.read_text()
    assert text.startswith('before\n') and text.endswith('\nafter\n') and 'old' not in text
    assert '| **11 tokens, two stages** |' in text and '| blind (text only) |' in text
    assert (page.parent / 'images' / compare_language.PICTURE).stat().st_size > 1000
    caches = list((tmp_path / 'work').rglob('tokens/index.json'))
    assert len(caches) == 1 and caches[0].parents[1].name.startswith('detector-11-queries_seed5_')

    run(monkeypatch, *arguments)
    assert '4 of 4 runs are finished already' in capsys.readouterr().out
    assert json.loads((tmp_path / 'work' / 'table.json').read_text()) == table
    run(monkeypatch, *arguments, '--no-training')
    assert 'finished already' not in capsys.readouterr().out
    np.testing.assert_equal(json.loads((tmp_path / 'work' / 'table.json').read_text()), table)

    known = tmp_path / 'known.json'
    known.write_text(json.dumps(dict(table, runs=[dict(run, seed=7) for run in table['runs']])))
    run(monkeypatch, *arguments, '--seeds', 5, 7, '--known', known)
    assert '4 of 4 runs are finished already' in capsys.readouterr().out  # nothing is trained under seed 7
    joined = json.loads((tmp_path / 'work' / 'table.json').read_text())
    assert [(run['row'], run['seed']) for run in joined['runs']] == [
        ('11 tokens, two stages', 5), ('11 tokens, two stages', 7), ('blind', 5), ('blind', 7)]
    run(monkeypatch, *arguments, '--seeds', 5, 7, '--known', known, '--list')
    assert capsys.readouterr().out.count('seed 7: known') == 2
    known.write_text('{}')
    with pytest.raises(SystemExit, match='--known .*known.json: Expected the table.json'):
        run(monkeypatch, *arguments, '--known', known)
