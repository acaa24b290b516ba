"""The file of generated questions."""
import pytest
from question_files import generated, write

from scene_qformer.datasets.questions import DrivingQuestion, GeneratedQuestions


def test_by_hand(tmp_path):
    assert GeneratedQuestions(write(tmp_path, generated())).load()[1:] == [
        DrivingQuestion(id='t0-1', type='ego', turns=(('Is the ego vehicle moving?', 'yes'), ), sample_token='t0',
                        scene='scene-0061'),
        DrivingQuestion(id='t1-2', type='where', turns=(('Where is the bus?', 'front left, 11 to 20 m'), ),
                        sample_token='t1', scene='scene-0553')]


@pytest.mark.parametrize('damage, message', [
    (lambda c: c.pop('metainfo'), "the file: expected an object 'metainfo', found none; it has questions"),
    (lambda c: c['metainfo'].pop('generation'), "metainfo: expected a whole number 'generation', found none"),
    (lambda c: c['questions'][2].update(answer=2), "'answer' of question 2: expected a text, found 2"),
    *((lambda c, key=key: c['questions'][2].pop(key), f"question 2: expected a text '{key}', found none")
      for key in ('id', 'type', 'sample_token', 'scene', 'question')),
])
def test_damage(tmp_path, damage, message):
    content = generated()
    damage(content)
    with pytest.raises(ValueError, match=f'questions.json, {message}'):
        GeneratedQuestions(write(tmp_path, content)).load()
