"""NuScenes-QA's official JSON."""
import pytest
from question_files import nuscenes_qa, write

from scene_qformer.datasets.questions import NuScenesQAQuestions


def load(folder, content, **options):
    return NuScenesQAQuestions(write(folder, content), **options).load()


def test_by_hand(tmp_path):
    questions = load(tmp_path, nuscenes_qa())
    assert [(question.id, question.type, question.sample_token) for question in questions] == [
        ('0', 'exist', 't0'), ('1', 'object', 't0'), ('2', 'count', 't1')]
    assert questions[0].turns == (('Are there any moving pedestrians?', 'yes'), )
    assert questions[2].turns[0][1] == '3'  # a text, though the file has a number
    assert questions[0].scene is None and questions[0].image_paths is None


def test_by_hop(tmp_path):
    assert [q.type for q in load(tmp_path, nuscenes_qa(), by_hop=True)] == ['exist_0', 'object_1', 'count_0']


@pytest.mark.parametrize('damage, message', [
    (lambda q: q[1].pop('sample_token'), "question 1: expected a text 'sample_token', found none; it has split"),
    (lambda q: q[1].update(answer=True), "'answer' of question 1: expected a text, found True"),
    (lambda q: q[1].update(answer=''), "'answer' of question 1: expected a text, found an empty one"),
    (lambda q: q[1].update(num_hop='1'), "'num_hop' of question 1: expected a whole number, found '1'"),
    (lambda q: q[1].update(num_hop=True), "'num_hop' of question 1: expected a whole number, found True"),
    (lambda q: q[1].pop('template_type'), "question 1: expected a text 'template_type', found none"),
    (lambda q: q.insert(1, 'a word'), "question 1: expected an object, found 'a word'"),
])
def test_damage(tmp_path, damage, message):
    content = nuscenes_qa()
    damage(content['questions'])
    with pytest.raises(ValueError, match=f'questions.json, {message}'):
        load(tmp_path, content, by_hop=True)
