import json

import pytest

from scene_qformer.evaluation.driving_answer import DrivingAnswer, read_answers, write_answers

ANSWERS = [DrivingAnswer('7', 'exist', 'Is there a "bus"?\nLook.', 'yes', ''),
           DrivingAnswer('8', 'where', 'Wo?', 'hinter dem Wagen, 5 m \u2028 Ü', 'no')]


def test_round_trip(tmp_path):
    path = tmp_path / 'new' / 'answers.jsonl'
    write_answers(path, ANSWERS)
    assert read_answers(path) == ANSWERS
    first = json.loads(path.read_text(encoding='utf-8').split('\n')[0])
    assert list(first) == ['id', 'type', 'question', 'answer', 'prediction']


@pytest.mark.parametrize(('text', 'message'), [
    ('', 'holds no answers'),
    ('{"id": "7"', r'line 1 as JSON.*was the file cut off'),
    ('{"id": "7", "type": "exist"}', 'line 1: expected a record with the texts id, .*, prediction, found id, type'),
    ('[1]', 'found list'),
    ('{"id": 7, "type": "a", "question": "b", "answer": "c", "prediction": "d"}', 'expected a record with the texts'),
    (2 * '{"id": "7", "type": "a", "question": "b", "answer": "c", "prediction": "d"}\n', "two answers of id '7'"),
])
def test_damaged_files(tmp_path, text, message):
    (tmp_path / 'a').write_text(text)
    with pytest.raises(ValueError, match=message):
        read_answers(tmp_path / 'a')


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match='written by DrivingQAMetric'):
        read_answers(tmp_path / 'none')
