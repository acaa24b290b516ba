import pytest
import torch
from small_llm import BATCH, FAMILIES, SIZES, conversation

from scene_qformer.models.language import SceneLanguageModel
from scene_qformer.models.language.chat import TokenizedText
from scene_qformer.models.language.shared_scene import (
    separate_positions,
    separate_segments,
    share_prefix,
    splice_segments,
)


def test_mask_and_positions_by_hand():
    """The picture in the module's docstring, with one place of padding."""
    segments = torch.tensor([[0, 0, 1, 1, 2, 2, -1]])
    mask, position_ids = separate_segments(segments, torch.float32), separate_positions(segments)
    assert mask.shape == (1, 1, 7, 7)
    assert (mask[0, 0] == 0).int().tolist() == [
        [1, 0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 0, 0, 0],
        [1, 1, 0, 0, 1, 0, 0], [1, 1, 0, 0, 1, 1, 0], [1, 1, 0, 0, 0, 0, 1]]
    assert mask.min() == torch.finfo(torch.float32).min
    assert position_ids.tolist() == [[0, 1, 2, 3, 2, 3, 0]]


def test_texts_side_by_side_by_hand():
    no, yes = False, True
    texts = [TokenizedText([1, -200, 5, 6, 2], [no, no, no, yes, yes]),
             TokenizedText([1, 4, -200, 7, 2], [no, no, no, no, yes]),
             TokenizedText([1, -200, 8, 2], [no, no, no, yes]), TokenizedText([1, 9, 2], [no, no, yes]),
             TokenizedText([1, 3, 2, -200, 9, 2], [no, yes, no, no, no, yes])]
    shared = share_prefix(texts)
    assert shared == [
        (([1, -200, 5, 6, 2, 8, 2], [no, no, no, yes, yes, no, yes]), [0, 0, 1, 1, 1, 2, 2]),
        (([1, 4, -200, 7, 2], [no, no, no, no, yes]), [0, 0, 0, 1, 1]),
        (([1, 9, 2], [no, no, yes]), [1, 1, 1]),
        (([1, 3, 2, -200, 9, 2], [no, yes, no, no, no, yes]), [0, 0, 0, 0, 1, 1])]
    assert splice_segments(shared[:3], 3).tolist() == [
        [0, 0, 0, 0, 1, 1, 1, 2, 2], [0, 0, 0, 0, 0, 1, 1, -1, -1], [1, 1, 1, -1, -1, -1, -1, -1, -1]]


@pytest.mark.parametrize('per_pass', [None, 2])
@pytest.mark.parametrize('kwargs', [dict(), dict(lora=dict(r=2)), dict(gradient_checkpointing=True)],
                         ids=['frozen', 'lora', 'checkpointing'])
@pytest.mark.parametrize('family', FAMILIES)
def test_loss_and_gradients_as_of_separate_sequences(family, kwargs, per_pass, tokenizer_folder):
    results = []
    for share in (False, True):
        torch.manual_seed(3)
        model = SceneLanguageModel(SIZES[family], tokenizer_folder, share_scene_tokens=share, **kwargs)
        model.train('gradient_checkpointing' in kwargs)  # a frozen model drops nothing out; the others would
        model.questions_per_pass = per_pass
        torch.manual_seed(4)
        tokens = torch.randn(2, 5, 24, requires_grad=True)
        places = []
        embed = model.llm.get_input_embeddings()
        embed.register_forward_hook(lambda module, args, output, places=places: places.append(args[0].numel()))
        loss = model.loss(tokens, [BATCH[0] * 2, BATCH[1]])['loss_text']
        loss.backward()
        results.append((loss.detach(), tokens.grad, sum(places)))
    (loss, gradient, text_places), (shared_loss, shared_gradient, shared_places) = results
    assert torch.allclose(loss, shared_loss, atol=1e-5)
    assert torch.allclose(gradient, shared_gradient, atol=1e-5)
    assert shared_places < text_places  # fewer tokens went in


def test_blind_and_conversations_that_share_nothing(tokenizer_folder):
    model = SceneLanguageModel(SIZES['llama'], tokenizer_folder, share_scene_tokens=True).eval()
    plain = SceneLanguageModel(SIZES['llama'], tokenizer_folder).eval()
    plain.load_state_dict(model.state_dict())
    mixed = [[conversation(('Is there a truck?', 'yes'), ('<image> Where?', 'left')),
              conversation(('How <image> many?', '3')), conversation(('How many?', '3'))]]
    for tokens in (None, torch.randn(1, 5, 24)):
        assert torch.allclose(model.loss(tokens, mixed)['loss_text'], plain.loss(tokens, mixed)['loss_text'], atol=1e-6)


@pytest.mark.parametrize('share', [False, True])
@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_mixed_precision(share, dtype, tokenizer_folder):
    """As tools/train.py --amp trains."""
    losses = []
    for autocast in (False, True):
        torch.manual_seed(3)
        model = SceneLanguageModel(SIZES['llama'], tokenizer_folder, dtype=dtype, share_scene_tokens=share)
        tokens = torch.randn(2, 5, 24, requires_grad=True)
        with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
            loss = model.loss(tokens, BATCH)['loss_text']
        loss.backward()
        assert torch.isfinite(tokens.grad).all() and tokens.grad.abs().sum() > 0
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=0.05)
