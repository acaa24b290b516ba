"""Folders whose tokenizer is ``tokenizer.model`` alone, as those of Llama 2 and Vicuna."""
import json

import pytest
from small_llm import SIZES, TEXTS

from scene_qformer.models.language import SceneLanguageModel
from tests.models.language.test_without_transformers import run


@pytest.fixture
def folder(tmp_path):
    import sentencepiece
    (tmp_path / 'texts.txt').write_text('\n'.join(TEXTS))
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / 'texts.txt'), model_prefix=str(tmp_path / 'tokenizer'), vocab_size=60,
        hard_vocab_limit=False, minloglevel=2)
    (tmp_path / 'tokenizer_config.json').write_text(json.dumps(dict(tokenizer_class='LlamaTokenizer', legacy=False)))
    return tmp_path


def test_it_is_read(folder):
    model = SceneLanguageModel(dict(SIZES['llama'], tokenizer=str(folder)))
    ids = model.tokenizer('Is there a pedestrian?', add_special_tokens=False)['input_ids']
    assert len(ids) > 4 and model.tokenizer.decode(ids) == 'Is there a pedestrian?'


def test_without_sentencepiece_it_is_said_what_to_install(folder):
    out = run(f"""
from scene_qformer.models.language.llm_loading import load_tokenizer
try:
    load_tokenizer({str(folder)!r})
except ValueError as error:
    print(error)
""", 'sentencepiece')
    assert 'tokenizer.model alone' in out and '`pip install sentencepiece`' in out
