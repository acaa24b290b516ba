"""The script that makes tables of answers from files."""
import json
import sys
from dataclasses import replace

import pytest

from scene_qformer.evaluation.driving_answer import DrivingAnswer, write_answers
from tools.analysis import compare_answers

QUESTIONS = [DrivingAnswer('0', 'exist', 'Is there a car?', 'yes', 'yes'),
             DrivingAnswer('1', 'count', 'How many cars?', '2', '0')]


@pytest.fixture
def files(tmp_path):
    record = dict(id='t', sample_token='s', scene='scene-1', type='exist', question='Is there a car?', answer='yes')
    (tmp_path / 'questions_train.json').write_text(json.dumps(dict(
        metainfo=dict(generation=1, version='v1.0-mini', seed=0), questions=[record])))
    write_answers(tmp_path / 'blind.jsonl', QUESTIONS)
    write_answers(tmp_path / 'ours.jsonl', [replace(each, prediction=each.answer) for each in QUESTIONS])
    return tmp_path


def run(monkeypatch, files, *arguments):
    monkeypatch.setattr(sys, 'argv', [
        'compare_answers.py', '--train-questions', str(files / 'questions_train.json'), '--out', str(files / 'out'),
        *map(str, arguments)])
    compare_answers.main()


def test_table_from_files(monkeypatch, files, capsys):
    ours = f'ours={files / "ours.jsonl"}'
    run(monkeypatch, files, '--dumps', ours, ours, f'other={files / "blind.jsonl"}', '--blind', files / 'blind.jsonl',
        '--no-free-text')
    table = (files / 'out' / 'answers.md').read_text()
    assert table in capsys.readouterr().out
    assert '- training questions: 1, questions_train.json' in table
    assert '| most frequent answer | 50.0 | +0.0 | 0.0 | 100.0 |' in table
    assert '| blind (text only) | 50.0 | - | 0.0 | 100.0 |' in table
    assert '| **ours** | 100.0 (100.0 to 100.0) | +50.0 | 100.0 | 100.0 |' in table
    rows = json.loads((files / 'out' / 'answers.json').read_text())['rows']
    assert [len(row['runs']) for row in rows] == [1, 1, 1, 1, 2, 1]
    assert (files / 'out' / 'answers.png').stat().st_size > 1000


def test_the_blind_model_is_never_left_out(monkeypatch, files, capsys):
    with pytest.raises(SystemExit):
        run(monkeypatch, files, '--dumps', f'ours={files / "ours.jsonl"}')
    assert '--blind' in capsys.readouterr().err


def test_a_dump_without_a_name(monkeypatch, files, capsys):
    with pytest.raises(SystemExit):
        run(monkeypatch, files, '--dumps', files / 'ours.jsonl', '--blind', files / 'blind.jsonl')
    assert 'expected NAME=FILE' in capsys.readouterr().err
