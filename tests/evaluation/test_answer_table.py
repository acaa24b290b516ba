import json
from dataclasses import replace

import pytest

from scene_qformer.evaluation.answer_baselines import MostFrequentAnswer
from scene_qformer.evaluation.answer_table import compare_answers, to_json, to_markdown
from scene_qformer.evaluation.driving_answer import DrivingAnswer

QUESTIONS = [DrivingAnswer('0', 'exist', 'Is there a car?', 'yes', ''),
             DrivingAnswer('1', 'exist', 'Is there a bus?', 'no', ''),
             DrivingAnswer('2', 'exist', 'Is there a van?', 'no', ''),
             DrivingAnswer('3', 'count', 'How many cars?', '2', ''),
             DrivingAnswer('4', 'count', 'How many vans?', '0', '')]
TRAINING = MostFrequentAnswer([
    dict(id='a', type='exist',
         turns=[('Is there a car?', 'yes'), ('Is there a bus?', 'no'), ('Is there a van?', 'no')]),
    dict(id='b', type='count', turns=[('How many cars?', '2'), ('How many cars?', '2'), ('How many cars?', '1')])])


def answered(*predictions):
    return [replace(question, prediction=text) for question, text in zip(QUESTIONS, predictions)]


ALL_YES = answered('yes', 'yes', 'yes', '2', '2')  # 2 of 5
PERFECT = answered('yes', 'no', 'no', '2', '0')
GOOD = answered('Yes.', 'no', 'yes', '2', '0')  # 4 of 5


def test_table():
    rows = compare_answers(dict(ours=[PERFECT, GOOD], other=[GOOD]), [ALL_YES], TRAINING, free_text=False)
    assert to_markdown(rows, {'data': 'five questions'}).splitlines()[:11] == [
        '- data: five questions',
        '',
        '|  | accuracy | over blind | count | exist |',
        '|---|---:|---:|---:|---:|',
        '| questions | 5 |  | 2 | 3 |',
        '| most frequent answer | 20.0 | -20.0 | 50.0 | 0.0 |',
        '| most frequent of the type | 60.0 | +20.0 | 50.0 | 66.7 |',
        '| most frequent of the question | 80.0 | +40.0 | 50.0 | 100.0 |',
        '| blind (text only) | 40.0 | - | 50.0 | 33.3 |',
        '| **ours** | 90.0 (80.0 to 100.0) | +50.0 | 100.0 | 83.3 |',
        '| **other** | 80.0 | +40.0 | 100.0 | 66.7 |',
    ]


def test_free_text_columns():
    rows = compare_answers(dict(ours=[PERFECT]), [ALL_YES], TRAINING)
    lines = to_markdown(rows).splitlines()
    assert lines[0] == ('|  | accuracy | over blind | count | exist | BLEU-1 | BLEU-2 | BLEU-3 | BLEU-4 | ROUGE-L | '
                        'CIDEr x100 |')
    assert len({line.count('|') for line in lines if line.startswith('|')}) == 1
    # BLEU-1, ROUGE-L and CIDEr of one-word answers that are all right: 1, 1 and 2.5
    assert lines[-3] == '| **ours** | 100.0 | +60.0 | 100.0 | 100.0 | 100.0 | 0.1 | 0.0 | 0.0 | 100.0 | 250.0 |'
    assert 'CIDEr (CIDEr-D, its idf from the answers of these very questions, raw 0 to 10) is times 100' in lines[-1]
    assert rows[-1].text('CIDEr') == pytest.approx(2.5)


def test_json_has_every_run_unscaled():
    rows = compare_answers(dict(ours=[PERFECT, GOOD]), [ALL_YES], TRAINING)
    read = json.loads(to_json(rows, dict(data='five')))
    assert read['facts'] == dict(data='five')
    assert [row['kind'] for row in read['rows']] == ['guess', 'guess', 'guess', 'blind', 'model']
    ours = read['rows'][-1]
    assert ours['accuracy'] == pytest.approx(0.9)
    assert ours['runs'][1]['overall'] == dict(right=4, count=5)
    assert ours['runs'][1]['types']['exist'] == dict(accuracy=2 / 3, right=2, count=3)
    assert ours['runs'][0]['text']['CIDEr'] == pytest.approx(2.5)


@pytest.mark.parametrize(('models', 'blind', 'message'), [
    (dict(ours=[PERFECT]), [], 'at least one run of blind'),
    (dict(ours=[]), [ALL_YES], 'at least one run of ours, got none'),
    (dict(ours=[PERFECT[1:]]), [ALL_YES], "ours answered other questions than another run: 1 are missing, 0 .* '0'"),
    (dict(ours=[PERFECT]), [ALL_YES, [*ALL_YES, replace(ALL_YES[0], id='9')]], "0 are missing, 1 are others, e.g. '9'"),
    (dict(ours=[[*PERFECT[:4], replace(PERFECT[4], answer='7')]]), [ALL_YES],
     "of id '4' it has .*'7'.*, another run has .*'0'"),
    ({'blind (text only)': [PERFECT]}, [ALL_YES], "'blind .text only.', which is the name of another row"),
    ({'most frequent answer': [PERFECT]}, [ALL_YES], "'most frequent answer', which is the name of another row"),
])
def test_only_the_same_questions_are_compared(models, blind, message):
    with pytest.raises(ValueError, match=message):
        compare_answers(models, blind, TRAINING, free_text=False)


def test_order_of_answers_does_not_matter():
    rows = compare_answers(dict(ours=[PERFECT[::-1]]), [ALL_YES], TRAINING, free_text=False)
    assert rows[-1].accuracy('count') == 1
