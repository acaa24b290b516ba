import pytest
import torch
from small_llm import BATCH, FAMILIES, SIZES, conversation

from scene_qformer.models.language import SceneLanguageModel
from scene_qformer.models.language.chat import TokenizedText
from scene_qformer.models.language.shared_prompt import can_share, cut_rows, shared_length
from scene_qformer.models.language.text_rows import TextRow

QUESTIONS = [[conversation(('How many cars are ahead?', '')), conversation(('Where?', '')),
              conversation(('Is there a truck?', 'yes'), ('Is the pedestrian behind left?', ''))],
             [conversation(('Describe the scene.', '')), conversation(('What is the state of the truck?', ''))]]


def row(frame, number, ids):
    return TextRow(frame, number, TokenizedText(ids, [False] * len(ids)))


def test_what_prompts_share_by_hand():
    rows = [row(2, 0, [1, -200, 5, 6]), row(2, 1, [1, -200, 7]), row(4, 0, [1, -200, 8])]
    assert shared_length(rows) == 2
    first, rest, owners = cut_rows(rows, 2)
    assert first == [row(2, 1, [1, -200]), row(4, 0, [1, -200])]
    assert rest == [row(2, 0, [5, 6]), row(2, 1, [7]), row(4, 0, [8])] and owners == [0, 0, 1]
    assert shared_length([*rows, row(4, 1, [3, -200, 8])]) == 0  # begins in another way
    assert shared_length([*rows, row(4, 1, [1, -200, 8, -200])]) == 0  # another block of scene tokens
    assert shared_length([row(0, 0, [1, 2])]) == 0  # none at all


@pytest.mark.parametrize('per_pass', [None, 3])
@pytest.mark.parametrize('kwargs', [dict(), dict(lora=dict(r=2))], ids=['frozen', 'lora'])
@pytest.mark.parametrize('family', FAMILIES)
def test_answers_as_of_separate_prompts(family, kwargs, per_pass, tokenizer_folder):
    results = []
    for share in (False, True):
        torch.manual_seed(3)
        model = SceneLanguageModel(SIZES[family], tokenizer_folder, share_scene_tokens=share,
                                   questions_per_pass=per_pass, **kwargs).eval()
        read = []  # places that a layer reads, by call
        layer = next(module for name, module in model.llm.named_modules() if name.endswith(('layers.1', 'h.1')))
        layer.register_forward_pre_hook(lambda module, args, read=read: read.append(args[0][..., 0].numel()))
        tokens = torch.randn(2, 5, 24, generator=torch.Generator().manual_seed(4))
        answers = model.generate(tokens, QUESTIONS, max_new_tokens=7)
        results.append((answers, sum(read)))
        if share:
            assert model.generate(tokens, QUESTIONS, max_new_tokens=7, do_sample=True, top_k=1) == answers
    (apart, places), (together, shared_places) = results
    assert together == apart and len({answer for frame in apart for answer in frame}) > 1
    if per_pass is None:
        assert shared_places < places


def test_what_cannot_be_shared_is_answered_all_the_same(tokenizer_folder):
    tokens = torch.randn(2, 5, 24, generator=torch.Generator().manual_seed(4))
    torch.manual_seed(3)
    model = SceneLanguageModel(SIZES['llama'], tokenizer_folder, share_scene_tokens=True).eval()
    plain = SceneLanguageModel(SIZES['llama'], tokenizer_folder).eval()
    plain.load_state_dict(model.state_dict())
    placed = [[*BATCH[0], conversation(('Where <image> is it?', ''))], BATCH[1]]
    for options in (dict(), dict(num_beams=2), dict(use_cache=False), dict(cache_implementation='static')):
        for batch in (placed, QUESTIONS):
            assert model.generate(tokens, batch, max_new_tokens=5, **options) == plain.generate(
                tokens, batch, max_new_tokens=5, **options)
    assert model.generate(None, QUESTIONS, max_new_tokens=5) == plain.generate(None, QUESTIONS, max_new_tokens=5)


@pytest.mark.parametrize('own', [dict(num_beams=2), dict(use_cache=False), dict(cache_implementation='static')])
def test_the_models_own_settings_count(own, tokenizer_folder):
    tokens = torch.randn(2, 5, 24, generator=torch.Generator().manual_seed(4))
    model = SceneLanguageModel(SIZES['llama'], tokenizer_folder, share_scene_tokens=True).eval()
    assert can_share(model.llm, {})
    model.llm.generation_config.update(**own)
    assert not can_share(model.llm, {})
    plain = SceneLanguageModel(SIZES['llama'], tokenizer_folder).eval()
    plain.load_state_dict(model.state_dict())
    plain.llm.generation_config.update(**own)
    assert model.generate(tokens, QUESTIONS, max_new_tokens=3) == plain.generate(tokens, QUESTIONS, max_new_tokens=3)


@pytest.mark.parametrize('share', [False, True])
def test_layers_that_are_recomputed(share, tokenizer_folder):
    """In training mode transformers then keeps no keys, and would answer after the last token alone."""
    tokens = torch.randn(2, 5, 24, generator=torch.Generator().manual_seed(4))
    model = SceneLanguageModel(SIZES['llama'], tokenizer_folder, share_scene_tokens=share, trainable=True,
                               gradient_checkpointing=True)
    assert model.llm.training
    answers = model.generate(tokens, QUESTIONS, max_new_tokens=3)
    assert model.llm.training
    assert model.eval().generate(tokens, QUESTIONS, max_new_tokens=3) == answers


def test_the_places_of_the_cache_are_counted(tokenizer_folder):
    """They are part of the prompt: what has been read must not make more room for the answer."""
    model = SceneLanguageModel(SIZES['llama'], tokenizer_folder, share_scene_tokens=True, max_length=23).eval()
    plain = SceneLanguageModel(SIZES['llama'], tokenizer_folder, max_length=23).eval()
    plain.load_state_dict(model.state_dict())
    tokens = torch.randn(2, 5, 24, generator=torch.Generator().manual_seed(5))
    short = [frame[:1] for frame in QUESTIONS]
    assert model.generate(tokens, short, eos_token_id=-1) == plain.generate(tokens, short, eos_token_id=-1)
