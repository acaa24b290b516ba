"""What a checkpoint of the whole detector holds of its language model, and what it needs."""
import copy

import pytest
import torch
from mmengine.model import BaseModule
from mmengine.runner.checkpoint import get_state_dict, load_state_dict
from small_llm import BATCH, FAMILIES, SIZES
from torch import nn

from scene_qformer.models.checkpoint_shapes import refuse_other_shapes
from scene_qformer.models.language import SceneLanguageModel
from scene_qformer.models.language.saved_weights import FINGERPRINT

LORA = dict(r=3, lora_alpha=6)


class Detector(nn.Module):
    """A parent, as the detector is."""

    def __init__(self, *args, **kwargs):
        super().__init__()
        self.projector = nn.Linear(3, 24)
        self.language_model = SceneLanguageModel(*args, **kwargs)
        self.register_load_state_dict_pre_hook(refuse_other_shapes)


def perturb(model):
    """As if trained: all that is trainable is another."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return model


def answers(model):
    torch.manual_seed(11)
    tokens = model.projector(torch.randn(2, 5, 3))
    return model.eval().language_model.generate(tokens, BATCH, max_new_tokens=9)


@pytest.mark.parametrize('kwargs', [dict(), dict(lora=LORA), dict(trainable=True)], ids=['frozen', 'lora', 'trainable'])
@pytest.mark.parametrize('from_files', [False, True], ids=['random', 'files'])
@pytest.mark.parametrize('family', FAMILIES)
def test_save_load_same_answers(family, from_files, kwargs, llm_folders, tokenizer_folder, tmp_path):
    def build():
        return Detector(llm_folders[family] if from_files else SIZES[family], tokenizer_folder, **kwargs)

    model = perturb(build())
    torch.save(model.state_dict(), tmp_path / 'a.pth')
    other = perturb(build())
    assert answers(model) != answers(other)
    other.load_state_dict(torch.load(tmp_path / 'a.pth', weights_only=True))  # strict: nothing missing, nothing unknown
    assert answers(model) == answers(other)


def test_what_is_saved(llm_folders, tokenizer_folder):
    folder = llm_folders['llama']

    def saved(*args, **kwargs):
        names = set(Detector(*args, **kwargs).state_dict())
        assert {'projector.weight', 'projector.bias'} < names
        return {name.removeprefix('language_model.') for name in names if name.startswith('language_model.')}

    every = saved(SIZES['llama'], tokenizer_folder)
    assert len(every) > 20
    assert saved(folder) == {FINGERPRINT}
    assert saved(folder, trainable=True) == every
    assert FINGERPRINT not in every
    adapters = saved(folder, lora=LORA) - {FINGERPRINT}
    assert adapters and all('.lora_' in name for name in adapters)
    assert len(saved(SIZES['llama'], tokenizer_folder, lora=LORA)) == len(every) + len(adapters)


def test_mmengine_saves_and_loads_the_same(llm_folders):
    """Its runner has functions of its own for both."""
    model = perturb(Detector(llm_folders['gpt2'], lora=LORA))
    weights = get_state_dict(model)
    assert set(weights) == set(model.state_dict())
    other = perturb(Detector(llm_folders['gpt2'], lora=LORA))
    load_state_dict(other, weights, strict=True)
    assert answers(model) == answers(other)


def test_adapters_start_from_a_checkpoint_without_them(llm_folders, tokenizer_folder):
    """Stage 1 trains a frozen or random language model's projector, stage 2 adds adapters."""
    for args in ((SIZES['llama'], tokenizer_folder), (llm_folders['llama'], )):
        stage_1 = Detector(*args)
        stage_2 = Detector(*args, lora=LORA)  # adapters begin with no effect
        missing = load_state_dict(stage_2, stage_1.state_dict()) or stage_2.load_state_dict(
            stage_1.state_dict(), strict=False)
        assert missing.unexpected_keys == []
        assert missing.missing_keys and all('.lora_' in name for name in missing.missing_keys)
        assert answers(stage_1) == answers(stage_2)


def test_a_trained_model_is_missed(llm_folders):
    frozen, trained = Detector(llm_folders['llama']), Detector(llm_folders['llama'], trainable=True)
    with pytest.raises(RuntimeError, match='Missing key.*language_model.llm.model.embed_tokens'):
        trained.load_state_dict(frozen.state_dict())


def test_trained_weights_load_into_a_frozen_model(llm_folders):
    trained, frozen = perturb(Detector(llm_folders['llama'], trainable=True)), Detector(llm_folders['llama'])
    frozen.load_state_dict(trained.state_dict())
    assert answers(trained) == answers(frozen)


@pytest.mark.parametrize('kwargs', [dict(), dict(lora=LORA)], ids=['frozen', 'lora'])
def test_weights_that_a_checkpoint_brought_are_saved_again(kwargs, llm_folders):
    trained = perturb(Detector(llm_folders['llama'], trainable=True))
    brought, untouched, last = (Detector(llm_folders['llama'], **kwargs) for _ in range(3))
    twin = copy.deepcopy(brought)
    brought.load_state_dict(trained.state_dict(), strict=not kwargs)
    last.load_state_dict(brought.state_dict())
    assert answers(last) == answers(brought) == answers(trained) != answers(twin)
    for other in (twin, untouched):  # each model by itself
        assert not any('embed_tokens' in name for name in other.state_dict())


class TestAnotherLanguageModel:

    @pytest.fixture
    def other_folder(self, tmp_path, tokenizer_folder):
        def save(**sizes):
            torch.manual_seed(7)
            other = SceneLanguageModel(SIZES['llama'] | sizes, tokenizer_folder)
            other.llm.save_pretrained(tmp_path)
            other.tokenizer.save_pretrained(tmp_path)
            return str(tmp_path)
        return save

    @pytest.mark.parametrize('kwargs', [dict(), dict(lora=LORA), dict(trainable=True)])
    def test_of_the_same_shapes(self, kwargs, llm_folders, other_folder):
        model = Detector(other_folder(), **kwargs)
        with pytest.raises(ValueError, match='trained with another language model, whose weights it does not hold'):
            load_state_dict(model, Detector(llm_folders['llama']).state_dict())

    def test_that_a_checkpoint_brings_whole(self, llm_folders, other_folder):
        source, model = Detector(llm_folders['llama'], trainable=True), Detector(other_folder())
        model.load_state_dict(source.state_dict())
        assert answers(model) == answers(source)

    def test_the_same_in_another_dtype(self, llm_folders):
        source, model = Detector(llm_folders['llama']), Detector(llm_folders['llama'], dtype='bfloat16')
        model.load_state_dict(source.state_dict())
        assert torch.equal(model.projector.weight, source.projector.weight)

    def test_of_other_shapes(self, llm_folders, other_folder):
        """In its frozen weights, which no checkpoint of its own holds; mmengine would log it and go on."""
        model = Detector(other_folder(intermediate_size=37))
        with pytest.raises(ValueError, match=r'gate_proj.weight: checkpoint \(31, 24\), model \(37, 24\)'):
            load_state_dict(model, Detector(llm_folders['llama'], trainable=True).state_dict())


def test_init_weights_leaves_loaded_weights_alone(llm_folders):
    """mmengine's parents initialise their children, and transformers' models have an ``init_weights`` too."""
    parent = BaseModule()
    parent.language_model = SceneLanguageModel(llm_folders['llama'], lora=LORA)
    before = {name: parameter.clone() for name, parameter in parent.named_parameters()}
    parent.init_weights()
    assert all(torch.equal(before[name], parameter) for name, parameter in parent.named_parameters())


def test_init_cfg(tokenizer_folder, tmp_path):
    model = SceneLanguageModel(SIZES['llama'], tokenizer_folder)
    torch.save(model.state_dict(), tmp_path / 'a.pth')
    other = SceneLanguageModel(SIZES['llama'], tokenizer_folder,
                               init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'a.pth')))
    other.init_weights()
    assert all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in model.state_dict().items())
