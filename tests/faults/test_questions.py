"""Question files and answers that are damaged, of another kind, or lie about themselves."""
import copy
import json

import pytest
from mmdet3d.registry import TASK_UTILS

import scene_qformer.datasets.questions  # noqa: F401  registers the sources
from faults.good_questions import CAMERAS, GOOD
from scene_qformer.evaluation.driving_answer import read_answers

AREA = 'Questions'
OTHER_COPY = 'Get the file again from where it came, or write it again with the tool that made it.'


def places(content, path=()):
    """Every place of a file, as keys to follow."""
    yield path
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield from places(value, (*path, key))


def put(content, path, value):
    """The content with another value at a place."""
    if not path:
        return value
    content = copy.deepcopy(content)
    holder = content
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return content


def at(content, path):
    for key in path:
        content = content[key]
    return content


def load(kind, tmp_path, content: bytes):
    path = tmp_path / 'questions.json'
    path.write_bytes(content)
    return TASK_UTILS.build(dict(type=kind, path=str(path))).load()


@pytest.mark.parametrize('kind', GOOD)
def test_the_good_ones_are_read(tmp_path, kind):
    assert len(load(kind, tmp_path, json.dumps(GOOD[kind]).encode())) == 1
    assert len(load(kind, tmp_path, b'\xef\xbb\xbf' + json.dumps(GOOD[kind]).encode())) == 1, 'with a byte order mark'


# What may stand anywhere instead of what should; the optional entries of a format may be null or anything.
FREE = {'answer', 'A', 'num_hop', 'image_paths', 'scene_description', *CAMERAS}
WRONG = {'null': None, 'a number': 7, 'a fraction': 0.5, 'true': True, 'nothing': '', 'a list': [], 'an object': {},
         'half a character': '\ud800'}


@pytest.mark.fault(area=AREA, fault='an entry of another kind than the format has', expected='said which entry',
                   remedy=OTHER_COPY)
@pytest.mark.parametrize(('kind', 'path', 'wrong'), [
    pytest.param(kind, path, wrong, id=f'{kind}-{".".join(map(str, path))}-{wrong}')
    for kind in GOOD for path in places(GOOD[kind]) if not FREE & set(path)
    for wrong in WRONG if WRONG[wrong] != at(GOOD[kind], path)
    and (path[-1:], wrong) != (('generation', ), 'a number')])  # any generation is one
def test_other_kinds(tmp_path, show, kind, path, wrong):
    content = put(GOOD[kind], path, WRONG[wrong])
    with pytest.raises(ValueError, match='questions.json|[Qq]uestion') as caught:
        load(kind, tmp_path, json.dumps(content).encode())
    if kind == 'DriveLMQuestions' and wrong == 'a number' and len(path) in (0, 3):
        show(caught.value)


@pytest.mark.fault(area=AREA, fault='not JSON as it should be', expected='said what and where', remedy=OTHER_COPY)
@pytest.mark.parametrize('kind', GOOD)
@pytest.mark.parametrize('damage', ['cut off', 'nothing', 'zeros', 'html', 'UTF-16', 'Latin-1', 'a key twice', 'NaN',
                                    'infinity', 'nested', 'a number of 5000 digits', 'two files', 'a pickle'])
def test_damage(tmp_path, show, kind, damage):
    text = json.dumps(GOOD[kind])
    content = {
        'cut off': text[:-9].encode(), 'nothing': b'', 'zeros': bytes(99), 'html': b'<!DOCTYPE html><html>404</html>',
        'UTF-16': text.encode('utf-16'), 'Latin-1': text.replace('A', '\xc4').encode('latin1') + b'\xc4',
        'a key twice': f'[{{"sample_token": "t0", "sample_token": "t1", "questions": {text}}}]'.encode(),
        'NaN': f'[{text}, NaN]'.encode(),
        'infinity': f'[{text}, -Infinity]'.encode(), 'nested': b'[' * 10 ** 5 + b']' * 10 ** 5,
        'a number of 5000 digits': f'[{"7" * 5000}]'.encode(), 'two files': text.encode() * 2,
        'a pickle': b'\x80\x04\x95]\x94.'}[damage]
    with pytest.raises(ValueError, match='Cannot read the question file .*questions.json as JSON: ') as caught:
        load(kind, tmp_path, content)
    if kind == 'GeneratedQuestions':
        show(caught.value)


@pytest.mark.fault(area=AREA, fault='two questions of one id, or none at all', expected='said',
                   remedy='Give each question an id of its own.')
@pytest.mark.parametrize('entries', [0, 2])
@pytest.mark.parametrize('kind', ['GeneratedQuestions', 'LLaVAConversations'])
def test_ids(tmp_path, show, kind, entries):
    content = copy.deepcopy(GOOD[kind])
    records = content if isinstance(content, list) else content['questions']
    records[:] = records * entries
    with pytest.raises(ValueError, match='holds no question|more than once') as caught:
        load(kind, tmp_path, json.dumps(content).encode())
    show(caught.value)


@pytest.mark.fault(area=AREA, fault='a file of answers that is none', expected='said which line',
                   remedy='Run the test again, with DrivingQAMetric(dump=FILE).')
@pytest.mark.parametrize('line', [
    '{"id": "a"}', '[]', '7', '{"id"', '"\\ud800"', 'NaN', '{"id": 1, "id": 2}', '[' * 10 ** 5, b'\xff\xfe',
    '{"id": 7, "type": "a", "question": "b", "answer": "c", "prediction": "d"}'], ids=lambda line: str(line)[:12])
def test_answers(tmp_path, show, line):
    path = tmp_path / 'answers.jsonl'
    good = json.dumps(dict(id='a', type='count', question='b', answer='c', prediction='d')).encode()
    path.write_bytes(good + b'\n' + (line if isinstance(line, bytes) else line.encode()) + b'\n')
    with pytest.raises(ValueError, match='answers.jsonl, line 2') as caught:
        read_answers(path)
    show(caught.value)
