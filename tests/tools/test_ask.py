"""Asking about a frame: from images and from cached tokens, at the shell, line by line, in a picture; bad input."""
from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path
from typing import NamedTuple

import cv2
import pytest
import torch
from mmengine.config import Config

from scene_qformer.asking import ask, find_frame, true_answer, unknown_words
from scene_qformer.inference import build_test_dataset, load_model
from scene_qformer.models.language.word_tokenizer import save_word_tokenizer
from scene_qformer.token_cache import TokenCache
from tests.small_encoder import TOKEN_WIDTH, SmallEncoder, make_small_encoder, save_weights
from tools import ask as tool
from tools import extract_tokens, join_checkpoints

ASKED = [('How many cars are ahead?', '3'), ('Is there a truck?', 'yes'), ('Where is it?', 'left')]
LANGUAGE = dict(type='SceneLanguageModel', generation=dict(max_new_tokens=5),
                model=dict(model_type='llama', hidden_size=24, intermediate_size=31, num_hidden_layers=2,
                           num_attention_heads=3, max_position_embeddings=97, initializer_range=0.5))


class Asked(NamedTuple):
    encoder: SmallEncoder
    images: Path  # config of a SceneQFormer with a language model
    whole: Path  # its checkpoint
    tokens: Path  # config of a TokenReader
    reader: Path  # its checkpoint
    samples: list[str]  # sample tokens of the test set


@pytest.fixture(scope='module')
def asked(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    """One model, once in front of images and once of a cache of their tokens; the frame in the middle has questions."""
    folder = tmp_path_factory.mktemp('ask')
    encoder = make_small_encoder(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', ['extract_tokens.py', str(encoder.config), str(encoder.checkpoint), '--split', 'val',
                                    '--out', str(folder / 'cache')])
        extract_tokens.main()
    samples = list(TokenCache(folder / 'cache'))
    questions = [dict(id=f'{sample}-{number}', type='count', sample_token=sample, scene='scene-0103', question=question,
                      answer=answer) for sample in samples[:2] for number, (question, answer) in enumerate(ASKED)]
    (folder / 'questions.json').write_text(json.dumps(dict(metainfo=dict(generation=1), questions=questions)))
    save_word_tokenizer([text for pair in ASKED for text in pair], folder / 'tokenizer')
    language = dict(LANGUAGE, model=dict(LANGUAGE['model'], tokenizer=str(folder / 'tokenizer')))
    projector = dict(type='MLPProjector', in_channels=TOKEN_WIDTH, hidden_channels=17)
    dataset = dict(type='DrivingQuestionsDataset',
                   questions=dict(type='GeneratedQuestions', path=str(folder / 'questions.json')))
    (folder / 'images.py').write_text(
        f"_base_ = '{encoder.config}'\n"
        f'model = dict(language_model={language}, projector=dict(_delete_=True, **{projector}))\n'
        f'test_dataloader = dict(dataset={dataset})\n')
    pipeline = [dict(type='LoadSceneTokens', cache=str(folder / 'cache')), dict(type='PackSceneTokens')]
    (folder / 'tokens.py').write_text(
        f"_base_ = '{encoder.config}'\n"
        f"model = dict(_delete_=True, type='TokenReader', language_model={language}, projector={projector})\n"
        f"test_dataloader = dict(dataset=dict(**{dataset}, pipeline={pipeline}))\n")
    reader = save_weights(folder / 'tokens.py', folder / 'reader.pth', seed=5)
    whole = join_checkpoints.join(*(torch.load(path) for path in (encoder.checkpoint, reader)))
    torch.save(whole, folder / 'whole.pth')
    return Asked(encoder, folder / 'images.py', folder / 'whole.pth', folder / 'tokens.py', reader, samples)


@pytest.fixture
def run(asked: Asked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    """Call the tool on the reader of tokens; returns what it prints."""
    def run(*arguments: str, config: Path = asked.tokens, checkpoint: Path = asked.reader) -> str:
        monkeypatch.setattr(sys, 'argv', ['ask.py', str(config), str(checkpoint), *arguments])
        capsys.readouterr()
        tool.main()
        return capsys.readouterr().out
    return run


def test_images_and_cached_tokens_give_the_same_answers(asked: Asked):
    questions = [question for question, _ in ASKED]
    answers = {}
    for config, checkpoint in ((asked.images, asked.whole), (asked.tokens, asked.reader)):
        cfg = Config.fromfile(str(config))
        dataset, model = build_test_dataset(cfg), load_model(cfg, str(checkpoint))
        answers[config] = [ask(model, dataset, index, questions) for index in range(2)]
        assert ask(model, dataset, 1, questions[1:2]) == answers[config][1][1:2]
    assert answers[asked.images] == answers[asked.tokens]
    frames = answers[asked.tokens]
    assert frames[0] != frames[1] and len(set(frames[0])) > 1  # the frame matters, and so does the question


def test_the_dataset_keeps_its_own_questions(asked: Asked):
    cfg = Config.fromfile(str(asked.tokens))
    dataset, model = build_test_dataset(cfg), load_model(cfg, str(asked.reader))
    ask(model, dataset, 0, ['Is there a truck?'])
    assert [text['turns'] for text in dataset[0]['data_samples'].gt_text] == [[pair] for pair in ASKED]
    assert true_answer(dataset, 0, '<image>\nis there  a TRUCK?') == 'yes'
    assert true_answer(dataset, 0, 'Is there a bus?') is None
    assert find_frame(dataset, asked.samples[1]) == 1
    assert unknown_words(model, 'How many lorries are ahead, left?') == ['lorries']


def test_question_answer_and_truth_are_printed(run, asked: Asked):
    text = run('--frame', '1', '--question', 'is there a truck?', '-q', 'Is there a zebra?')
    assert text.splitlines()[-8].startswith(f'frame 1 of 2, sample {asked.samples[1]}')
    assert re.search(r'\n\nQ: is there a truck\?\nA: .*    \(true: yes\)\n', text)
    assert re.search(r'\n\nQ: Is there a zebra\?\nA: .*\n   \(the tokenizer does not know zebra\)\n$', text)
    by_token = run('--sample', asked.samples[1], '-q', 'is there a truck?', '-q', 'Is there a zebra?')
    assert by_token.splitlines()[-8:] == text.splitlines()[-8:]


def test_line_by_line_at_a_terminal(run, monkeypatch: pytest.MonkeyPatch):
    at_shell = run('-q', 'Is there a truck?').splitlines()[-1].removeprefix('A: ')
    for typed in ('Is there a truck?\n\nWhere is it?\n', 'Is there a truck?\n'):  # an empty line ends, or nothing more
        terminal = io.StringIO(typed)
        monkeypatch.setattr(terminal, 'isatty', lambda: True)
        monkeypatch.setattr(sys, 'stdin', terminal)
        text = run()
        assert 'for example:\n  How many cars are ahead?\n  Is there a truck?\n  Where is it?\n' in text
        assert text.split('> ')[1].strip() == at_shell and text.count('true: yes') == 1


def test_picture(run, tmp_path: Path, asked: Asked):
    heights = []
    for config, checkpoint, questions in ((asked.tokens, asked.reader, 1), (asked.images, asked.whole, 2)):
        path = tmp_path / 'folder' / f'{questions}.png'
        arguments = [argument for question, _ in ASKED[:questions] for argument in ('-q', question)]
        assert f'written: {path}' in run('--picture', str(path), *arguments, config=config, checkpoint=checkpoint)
        picture = cv2.imread(str(path))
        assert picture.shape[1] == 3 * 640 + 2 * 6
        heights.append(picture.shape[0])
        assert (picture[-60:].max(axis=-1) > 200).sum() > 100  # letters
    assert heights[1] - heights[0] == 2 * 30  # a line for the question, one for the answer


def test_bad_input(run, asked: Asked, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    with pytest.raises(SystemExit, match='small_encoder.py, a SceneQFormer, has no language_model'):
        run('-q', 'Why?', config=asked.encoder.config, checkpoint=asked.encoder.checkpoint)
    with pytest.raises(SystemExit, match='There is no frame 2: the test set has 2 frames, 0 to 1'):
        run('-q', 'Why?', '--frame', '2')
    with pytest.raises(SystemExit, match='There is no frame -1'):
        run('-q', 'Why?', '--frame', '-1')
    wrong = asked.samples[1][:-2] + 'xx'
    with pytest.raises(SystemExit, match=f'no sample {wrong} among the 2 frames .* nearest are {asked.samples[1]}'):
        run('-q', 'Why?', '--sample', wrong)
    with pytest.raises(SystemExit, match=f'The first of them is {asked.samples[0]}'):
        run('-q', 'Why?', '--sample', '?')
    with pytest.raises(SystemExit, match="questions, none of them empty; got \\['Why\\?', ' '\\]"):
        run('-q', 'Why?', '-q', ' ')
    monkeypatch.setattr(sys, 'stdin', io.StringIO('Why?\n'))  # no terminal
    for arguments, message in (((), 'there is no question'), (('-q', 'Why?', '--picture', 'a.gif'), '.jpg or .png')):
        with pytest.raises(SystemExit):
            run(*arguments)
        assert message in capsys.readouterr().err


def test_a_model_without_language_model_is_refused(asked: Asked):
    cfg = asked.encoder.cfg
    model = load_model(cfg, str(asked.encoder.checkpoint))
    with pytest.raises(ValueError, match='this SceneQFormer has none'):
        ask(model, build_test_dataset(cfg), 0, ['Why?'])


def test_weights_that_were_not_trained_do_not_answer(run, asked: Asked, tmp_path: Path):
    weights = torch.load(asked.reader)['state_dict']
    name = next(name for name in weights if name.startswith('projector.'))
    for change, message in ((lambda names: names.pop(name), rf'lacks 1 weights .* such as {name};'),
                            (lambda names: names.update({'language_model.llm.lora_A': torch.zeros(2)}),
                             r'holds, unknown to this config, 1 weights .* such as language_model\.llm\.lora_A')):
        changed = dict(weights)
        change(changed)
        torch.save(dict(state_dict=changed, meta={}), tmp_path / 'changed.pth')
        with pytest.raises(SystemExit, match=message):
            run('-q', 'Why?', checkpoint=tmp_path / 'changed.pth')


def test_an_encoder_that_was_not_trained_does_not_answer(run, asked: Asked, tmp_path: Path):
    """The likeliest slip: the reader's checkpoint with the config that reads images."""
    with pytest.raises(SystemExit, match='reader.pth lacks .* weights of backbone, neck, .*decoder, '
                                         'such as backbone.*it has language_model, projector.*join_checkpoints.py'):
        run('-q', 'Why?', config=asked.images, checkpoint=asked.reader)
    weights = torch.load(asked.whole)['state_dict']
    torch.save(dict(state_dict={name: value for name, value in weights.items() if not name.startswith('bbox_head.')}),
               tmp_path / 'no_head.pth')
    assert 'A: ' in run('-q', 'Why?', config=asked.images, checkpoint=tmp_path / 'no_head.pth')
