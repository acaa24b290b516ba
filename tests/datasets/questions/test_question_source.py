"""What all sources share: files that are missing or broken, ids, and the choice of scenes."""
import itertools
import json

import pytest
from mmdet3d.registry import TASK_UTILS
from question_files import drivelm, generated, llava, nuscenes_qa, write

from scene_qformer.datasets.questions import DrivingQuestion, QuestionSource

CONTENTS = dict(DriveLMQuestions=drivelm, NuScenesQAQuestions=nuscenes_qa, LLaVAConversations=llava,
                GeneratedQuestions=generated)


@pytest.fixture(params=CONTENTS)
def source_type(request):
    return request.param


def load(source_type, path, **options):
    return TASK_UTILS.build(dict(type=source_type, path=str(path), **options)).load()


def test_every_source_gives_driving_questions(source_type, tmp_path):
    questions = load(source_type, write(tmp_path, CONTENTS[source_type]()))
    assert len(questions) >= 3 and all(isinstance(question, DrivingQuestion) for question in questions)
    assert len({question.id for question in questions}) == len(questions)
    assert {question.sample_token for question in questions} <= {'t0', 't1', 't2'}


def test_no_file(source_type, tmp_path):
    with pytest.raises(FileNotFoundError, match=f'There is no question file .*nowhere.json.\n{source_type} reads '):
        load(source_type, tmp_path / 'nowhere.json')


def test_a_file_that_was_cut_off(source_type, tmp_path):
    path = tmp_path / 'cut.json'
    path.write_text(json.dumps(CONTENTS[source_type]())[:-20])
    with pytest.raises(ValueError, match=rf'Cannot read the .*cut.json as JSON: .*\n.*{source_type} reads'):
        load(source_type, path)


@pytest.mark.parametrize('source_type, other', list(itertools.permutations(CONTENTS, 2)))
def test_a_file_of_another_format(source_type, other, tmp_path):
    """Each format is told from the other three."""
    with pytest.raises(ValueError, match=rf'questions.json, .*: expected .*, found .*\n{source_type} reads '):
        load(source_type, write(tmp_path, CONTENTS[other]()))


@pytest.mark.parametrize('source_type, content', [
    ('DriveLMQuestions', {}),
    ('NuScenesQAQuestions', dict(questions=[])),
    ('LLaVAConversations', []),
    ('GeneratedQuestions', dict(metainfo=dict(generation=1), questions=[])),
])
def test_no_question(source_type, content, tmp_path):
    with pytest.raises(ValueError, match='questions.json holds no question'):
        load(source_type, write(tmp_path, content))


def test_an_id_used_twice(tmp_path):
    content = generated()
    content['questions'][2]['id'] = content['questions'][0]['id']
    with pytest.raises(ValueError, match="uses 1 ids more than once, first 't0-0'"):
        load('GeneratedQuestions', write(tmp_path, content))


class TestScenes:

    def test_choice(self, tmp_path):
        path = write(tmp_path, drivelm())
        assert [question.sample_token for question in load('DriveLMQuestions', path, scenes=['scene-b'])] == ['t2'] * 4
        assert len(load('DriveLMQuestions', path, scenes=['scene-b', 'scene-a'])) == len(load('DriveLMQuestions', path))

    def test_unknown(self, tmp_path):
        with pytest.raises(ValueError, match='has no question about scene-c: .* its 2 scenes: scene-a, scene-b'):
            load('DriveLMQuestions', write(tmp_path, drivelm()), scenes=['scene-a', 'scene-c'])

    @pytest.mark.parametrize('scenes, message', [('scene-a', 'to be a list of names'), ([], 'no scene at all')])
    def test_no_list_of_scenes(self, tmp_path, scenes, message):
        with pytest.raises(ValueError, match=message):
            load('DriveLMQuestions', write(tmp_path, drivelm()), scenes=scenes)

    def test_a_file_without_scenes(self, tmp_path):
        with pytest.raises(ValueError, match='3 of 3 questions name no scene. Leave scenes out'):
            load('NuScenesQAQuestions', write(tmp_path, nuscenes_qa()), scenes=['scene-a'])


def test_a_source_of_ones_own(tmp_path):
    """As docs/questions.md writes it."""

    class PairQuestions(QuestionSource):
        origin = 'a list of [sample token, question, answer]'

        def parse(self, content):
            for number, record in enumerate(self.check(content, list, 'the whole file')):
                token, question, answer = (self.take(record, k, str, f'entry {number}') for k in range(3))
                yield DrivingQuestion(id=str(number), type='pair', turns=((question, answer), ), sample_token=token)

    source = PairQuestions(write(tmp_path, [['t0', 'Where?', 'Here.'], ['t1', 'Who?']]))
    with pytest.raises(ValueError, match='entry 1: expected a text 2, found none.\nPairQuestions reads a list of'):
        source.load()
