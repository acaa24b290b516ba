import pytest
import torch
from small_llm import BATCH, FAMILIES, SIZES

from scene_qformer.models.language import SceneLanguageModel, shared_attention
from scene_qformer.models.language.shared_attention import NAME, shared_scene_attention
from scene_qformer.models.language.sharing_check import check_sharing_is_exact, prepare_to_share

OTHERS = dict(
    opt=dict(model_type='opt', hidden_size=24, word_embed_proj_dim=24, ffn_dim=31, num_hidden_layers=2,
             num_attention_heads=3, max_position_embeddings=97, init_std=0.3),
    bloom=dict(model_type='bloom', hidden_size=24, n_layer=2, n_head=3, initializer_range=0.3),  # no position ids
    gpt_neo=dict(model_type='gpt_neo', hidden_size=24, num_layers=2, num_heads=3, window_size=3,
                 attention_types=[[['global', 'local'], 1]], max_position_embeddings=97),
    gemma3=dict(model_type='gemma3_text', hidden_size=24, intermediate_size=31, num_hidden_layers=2, head_dim=8,
                num_attention_heads=3, num_key_value_heads=1, max_position_embeddings=97, sliding_window=3,
                layer_types=['sliding_attention', 'full_attention']))


@pytest.mark.parametrize('family', FAMILIES)
def test_a_layout_that_is_lost_later_gives_no_number(family, tokenizer_folder, monkeypatch):
    """Not a wrong one."""
    model = SceneLanguageModel(SIZES[family], tokenizer_folder, share_scene_tokens=True).eval()
    tokens = torch.randn(2, 5, 24)
    assert model.loss(tokens, BATCH)['loss_text'].isfinite()
    whole = shared_attention.layout_as_mask
    monkeypatch.setattr(shared_attention, 'layout_as_mask', lambda *args: whole(*args).clone())
    assert model.loss(tokens, BATCH)['loss_text'].isnan()


def test_other_families_are_tried(tokenizer_folder):
    """OPT takes the mask, though it has positions of its own making."""
    SceneLanguageModel(OTHERS['opt'], tokenizer_folder, share_scene_tokens=True)
    with pytest.raises(ValueError, match='other results than separate sequences on BloomForCausalLM'):
        SceneLanguageModel(OTHERS['bloom'], tokenizer_folder, share_scene_tokens=True)
    with pytest.raises(ValueError, match='is not for Gemma3ForCausalLM with sliding_window=3'):
        SceneLanguageModel(OTHERS['gemma3'], tokenizer_folder, share_scene_tokens=True)
    with pytest.raises(ValueError, match='is not for GPTNeoForCausalLM with window_size=3'):
        SceneLanguageModel(OTHERS['gpt_neo'], tokenizer_folder, share_scene_tokens=True)


def test_the_trial_notices_a_model_that_ignores_the_mask(tokenizer_folder):
    """With initial weights as small as those of the configs."""
    for family in FAMILIES:
        llm = SceneLanguageModel(dict(SIZES[family], initializer_range=0.02), tokenizer_folder).llm
        check_sharing_is_exact(llm)
        forward = llm.forward
        llm.forward = lambda inputs_embeds, attention_mask, position_ids, forward=forward, **kwargs: forward(
            inputs_embeds=inputs_embeds, position_ids=position_ids)
        with pytest.raises(ValueError, match='share_scene_tokens=False'):
            check_sharing_is_exact(llm)
        llm.forward = lambda inputs_embeds, attention_mask, position_ids, forward=forward, **kwargs: forward(
            inputs_embeds=inputs_embeds, attention_mask=attention_mask)
        with pytest.raises(ValueError, match='share_scene_tokens=False'):
            check_sharing_is_exact(llm)


@pytest.mark.parametrize('family', FAMILIES)
def test_a_family_that_loses_the_layout_takes_the_mask(family, tokenizer_folder, monkeypatch):
    def attention() -> str:
        model = SceneLanguageModel(SIZES[family], tokenizer_folder, share_scene_tokens=True)
        return model.llm.config._attn_implementation

    def without_layout(module, query, key, value, mask, **kwargs):
        return shared_scene_attention(module, query, key, value, None if mask is None else mask.clone(), **kwargs)

    assert attention() == NAME
    monkeypatch.setattr(shared_attention, 'shared_scene_attention', without_layout)
    assert attention() == 'sdpa'


def test_another_attention_stays(tokenizer_folder):
    llm = SceneLanguageModel(SIZES['llama'], tokenizer_folder).llm
    llm.set_attn_implementation('eager')
    prepare_to_share(llm)
    assert llm.config._attn_implementation == 'eager'
