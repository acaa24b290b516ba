"""The tokenizer of a small language model, from question files of any format."""
import json
import sys

import pytest
from transformers import AutoTokenizer

from tools import create_word_tokenizer

GENERATED = dict(
    metainfo=dict(generation=1),
    questions=[dict(id='a', type='count', sample_token='s', scene='scene-1', question='How many cars?', answer='12')])
LLAVA = [dict(id='b', sample_token='s', conversations=[dict(**{'from': 'human'}, value='Any wheelbarrows?'),
                                                       dict(**{'from': 'gpt'}, value='Yes.')])]


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, 'argv', ['create_word_tokenizer.py', *map(str, arguments)])
    create_word_tokenizer.main()


@pytest.mark.parametrize(('content', 'options', 'known', 'unknown'), [
    (GENERATED, [], 'How many cars? 12', 'wheelbarrows'),
    (LLAVA, ['--questions-type', 'LLaVAConversations'], 'Any wheelbarrows? Yes.', 'cars'),
], ids=['generated', 'llava'])
def test_knows_the_words_of_the_file(content, options, known, unknown, monkeypatch, tmp_path):
    file, out = tmp_path / 'questions.json', tmp_path / 'tokenizer'
    file.write_text(json.dumps(content))
    run(monkeypatch, '--questions', file, '--out', out, *options)
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert tokenizer.decode(tokenizer(known).input_ids, skip_special_tokens=True) == known
    assert tokenizer.unk_token_id in tokenizer(unknown).input_ids


def test_refuses_to_replace_and_names_what_is_wrong(monkeypatch, tmp_path):
    file, out = tmp_path / 'questions.json', tmp_path / 'tokenizer'
    with pytest.raises(SystemExit, match='create_word_tokenizer.py: .*questions.json'):
        run(monkeypatch, '--questions', file, '--out', out)
    file.write_text(json.dumps(GENERATED))
    with pytest.raises(SystemExit, match='NoSuchQuestions is not in'):
        run(monkeypatch, '--questions', file, '--out', out, '--questions-type', 'NoSuchQuestions')
    run(monkeypatch, '--questions', file, '--out', out)
    with pytest.raises(SystemExit, match='holds a tokenizer already; say --overwrite'):
        run(monkeypatch, '--questions', file, '--out', out)
    run(monkeypatch, '--questions', file, '--out', out, '--overwrite')
