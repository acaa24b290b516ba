import filecmp

import pytest
from small_llm import TEXTS

from scene_qformer.models.language.libraries import import_transformers
from scene_qformer.models.language.word_tokenizer import build_word_tokenizer, save_word_tokenizer


def test_tokens_by_hand():
    tokenizer = build_word_tokenizer(['Turn left, 12.5 m'])
    assert tokenizer.tokenize('Turn left, 12.5 m') == ['▁Turn', '▁left', ',', '▁', '1', '2', '.', '5', '▁m']
    assert tokenizer.convert_tokens_to_ids(['<pad>', '<s>', '</s>', '<unk>']) == [0, 1, 2, 3]
    assert tokenizer.tokenize('turn') == ['<unk>']


@pytest.mark.parametrize('text', ['Turn left, 12.5 m', 'CAM_FRONT', '3', '-0.5', 'yes', 'What? (two) cars: a b.'])
def test_text_comes_back(text):
    tokenizer = build_word_tokenizer(['Turn left m CAM_FRONT yes What? (two) cars: a b.'])
    ids = tokenizer(text)['input_ids']
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode([*ids, tokenizer.eos_token_id, 0, 0], skip_special_tokens=True) == text


def test_blanks_and_line_ends_are_one_blank():
    tokenizer = build_word_tokenizer(['a b'])
    assert tokenizer('\n a\n  b ')['input_ids'] == tokenizer('a b')['input_ids']


def test_any_number_is_known():
    tokenizer = build_word_tokenizer(['no digits here'])
    assert tokenizer.unk_token_id not in tokenizer('987.6, 54?')['input_ids']


def test_chat_template():
    messages = [dict(role='user', content='a b?'), dict(role='assistant', content='b')]
    assert build_word_tokenizer(['a b']).apply_chat_template(messages, tokenize=False) == '<s>a b?</s>b</s>'


def test_the_folder_is_read_by_transformers_and_is_the_same_every_time(tmp_path):
    save_word_tokenizer(TEXTS, tmp_path / 'a')
    save_word_tokenizer(iter(TEXTS), tmp_path / 'b')
    names = sorted(path.name for path in (tmp_path / 'a').iterdir())
    assert 'tokenizer.json' in names
    assert filecmp.cmpfiles(tmp_path / 'a', tmp_path / 'b', names, shallow=False)[0] == names
    loaded = import_transformers().AutoTokenizer.from_pretrained(tmp_path / 'a')
    built = build_word_tokenizer(TEXTS)
    assert all(loaded(text)['input_ids'] == built(text)['input_ids'] for text in TEXTS)
    assert loaded.chat_template == built.chat_template
    assert loaded.decode(loaded('The car, 3 m?')['input_ids']) == 'The car, 3 m?'


def test_rare_words_become_unknown():
    tokenizer = build_word_tokenizer(['often often often rare'], max_words=40)
    assert len(tokenizer) <= 40
    assert tokenizer.unk_token_id not in tokenizer('often')['input_ids']


def test_no_text():
    with pytest.raises(ValueError, match='learned from texts, and there are none'):
        build_word_tokenizer([])
