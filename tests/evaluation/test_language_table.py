"""The table of every run."""
import json

import pytest

from scene_qformer.evaluation.answer_baselines import MostFrequentAnswer
from scene_qformer.evaluation.answer_table import compare_answers
from scene_qformer.evaluation.driving_answer import DrivingAnswer
from scene_qformer.evaluation.language_table import LanguageRun, runs_from_json, to_json, to_markdown


@pytest.fixture
def results():
    def answers(*predictions):
        return [DrivingAnswer(str(index), type, 'Which?', 'a', prediction) for index, (type, prediction) in enumerate(
            zip(('count', 'count', 'count', 'exist'), predictions))]
    training = MostFrequentAnswer([dict(id='0', type='count', turns=[('Which?', 'b')])])
    rows = compare_answers({'64 tokens': [answers(*'aaba'), answers(*'aaaa')]}, [answers(*'bbba')], training, False)
    first, second = rows[-1].runs
    minutes = {'detector': 12.25, 'tokens': 0.5, 'language model': 3.}
    return rows, [LanguageRun('64 tokens', 64, 0, first, 0.125, minutes),
                  LanguageRun('64 tokens', 64, 1, second, 0.25, minutes),
                  LanguageRun('blind', 0, 0, rows[-2].runs[0], None, {'language model': 2.})]


def test_means_and_every_run(results):
    text = to_markdown(*results, {'budget': 'small'})
    assert text.startswith('- budget: small\n')
    assert '| **64 tokens** | 87.5 (75.0 to 100.0) | +62.5 | 83.3 | 100.0 |' in text
    assert '| | seed | accuracy | count | exist | detector mAP | minutes of training |'.replace('| |', '|  |') in text
    minutes = 'detector 12.2 + tokens 0.5 + language model 3.0 = 15.8'
    assert f'| 64 tokens | 0 | 75.0 | 66.7 | 100.0 | 12.5 | {minutes} |' in text
    assert f'| 64 tokens | 1 | 100.0 | 100.0 | 100.0 | 25.0 | {minutes} |' in text
    assert '| blind | 0 | 25.0 | 0.0 | 100.0 | - | language model 2.0 |' in text


def test_json_is_unrounded(results):
    table = json.loads(to_json(*results, {'budget': 'small'}))
    assert table['facts'] == {'budget': 'small'} and len(table['rows']) == 5
    run = table['runs'][0]
    assert run['types']['count'] == dict(accuracy=2 / 3, right=2, count=3) and run['seed'] == 0
    assert run['minutes']['detector'] == 12.25 and run['detector_map'] == 0.125 and run['num_tokens'] == 64


def test_runs_come_back_from_json(results):
    runs, facts = runs_from_json(to_json(*results, {'budget': 'small'}))
    assert facts == {'budget': 'small'}
    assert runs == results[1]  # every number, of every run


@pytest.mark.parametrize('text', ['[]', '{"facts": {}}', 'no json', '{"facts": {}, "runs": [{"row": "64 tokens"}]}'])
def test_other_files_are_refused(text):
    with pytest.raises(ValueError, match='Expected the table.json that compare_language.py writes'):
        runs_from_json(text)


def test_more_right_answers_than_questions_are_refused(results):
    table = json.loads(to_json(*results, {}))
    table['runs'][0]['types']['count']['right'] = 4
    with pytest.raises(ValueError, match='4 right answers of 3'):
        runs_from_json(json.dumps(table))
