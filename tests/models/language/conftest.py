"""Its being here also lets the tests beside it import ``small_llm``."""
import pytest
import torch
from small_llm import SIZES, TEXTS

from scene_qformer.models.language import SceneLanguageModel
from scene_qformer.models.language.word_tokenizer import save_word_tokenizer


@pytest.fixture(scope='session')
def tokenizer_folder(tmp_path_factory):
    return str(save_word_tokenizer(TEXTS, tmp_path_factory.mktemp('tokenizer')))


@pytest.fixture(scope='session')
def llm_folders(tmp_path_factory, tokenizer_folder):
    """A folder with random weights and tokenizer for each family, as ``save_pretrained`` writes it."""
    folders = {}
    for family, size in SIZES.items():
        torch.manual_seed(5)
        model = SceneLanguageModel(size, tokenizer_folder)
        folder = tmp_path_factory.mktemp(family)
        model.llm.save_pretrained(folder)
        model.tokenizer.save_pretrained(folder)
        folders[family] = str(folder)
    return folders
