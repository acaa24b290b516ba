import pytest
import torch
from torch import nn

from scene_qformer.models.language.splice import IGNORE_INDEX, IMAGE_TOKEN_INDEX, splice_scene_tokens

IMG, NO = IMAGE_TOKEN_INDEX, IGNORE_INDEX


def splice_by_loop(input_ids, blocks, embed_tokens, attention_mask, labels, padding_side):
    """The readable twin: LLaVA's description, token by token."""
    blocks, samples = iter(blocks), []
    for ids, mask, sample_labels in zip(input_ids.tolist(), attention_mask.tolist(), labels.tolist()):
        sample = []  # (embedding, label)
        for index, used, label in zip(ids, mask, sample_labels):
            if not used:
                continue
            if index == IMG:
                sample += [(token, NO) for token in next(blocks)]
            else:
                sample.append((embed_tokens.weight[index], label))
        samples.append(sample)
    total = max(map(len, samples))
    width = embed_tokens.weight.shape[1]
    embeds, masks, positions, new_labels = [], [], [], []
    for sample in samples:
        empty = total - len(sample)
        parts = [([token for token, _ in sample], [torch.zeros(width)] * empty), ([1] * len(sample), [0] * empty),
                 (list(range(len(sample))), [0] * empty), ([label for _, label in sample], [NO] * empty)]
        for out, (content, padding) in zip((embeds, masks, positions, new_labels), parts):
            out.append(padding + content if padding_side == 'left' else content + padding)
    return (torch.stack([torch.stack(rows) for rows in embeds]), torch.tensor(masks), torch.tensor(positions),
            torch.tensor(new_labels))


def test_constants_are_llavas():
    assert (IMG, NO) == (-200, -100)


def test_by_hand():
    """The example in the module's docstring."""
    embed = nn.Embedding(7, 2)
    tokens = torch.randn(1, 3, 2)
    spliced = splice_scene_tokens(
        torch.tensor([[1, IMG, 5, 6, 2], [1, IMG, 4, 0, 0]]), tokens.expand(2, -1, -1), embed,
        attention_mask=torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
        labels=torch.tensor([[NO, NO, NO, 6, 2], [NO, 3, 4, NO, NO]]))  # a label at a placeholder is dropped
    e = embed.weight
    assert torch.equal(spliced.inputs_embeds[0], torch.stack((e[1], *tokens[0], e[5], e[6], e[2])))
    assert torch.equal(spliced.inputs_embeds[1], torch.stack((e[1], *tokens[0], e[4], *torch.zeros(2, 2))))
    assert spliced.labels.tolist() == [[NO, NO, NO, NO, NO, 6, 2], [NO, NO, NO, NO, 4, NO, NO]]
    assert spliced.attention_mask.tolist() == [[1] * 7, [1] * 5 + [0] * 2]
    assert spliced.position_ids.tolist() == [[0, 1, 2, 3, 4, 5, 6], [0, 1, 2, 3, 4, 0, 0]]


def test_left_padding_by_hand():
    embed = nn.Embedding(7, 2)
    spliced = splice_scene_tokens(torch.tensor([[IMG, 5], [3, 0]]), torch.ones(1, 3, 2), embed,
                                  torch.tensor([[1, 1], [1, 0]]), padding_side='left')
    assert spliced.attention_mask.tolist() == [[1, 1, 1, 1], [0, 0, 0, 1]]
    assert spliced.position_ids.tolist() == [[0, 1, 2, 3], [0, 0, 0, 0]]
    assert torch.equal(spliced.inputs_embeds[1], torch.stack((*torch.zeros(3, 2), embed.weight[3])))
    assert spliced.labels is None


@pytest.mark.parametrize('padding_side', ['left', 'right'])
@pytest.mark.parametrize('seed', range(20))
def test_equals_the_loop_on_ragged_batches(seed, padding_side):
    """Placeholders anywhere, also side by side or none; padding at either side and holes; blocks of any length."""
    generator = torch.Generator().manual_seed(seed)

    def rand(high, *shape):
        return torch.randint(high, shape, generator=generator)

    batch, length, width = 1 + int(rand(5, 1)), 1 + int(rand(11, 1)), 3
    embed = nn.Embedding(13, width)
    input_ids = rand(13, batch, length)
    input_ids[rand(4, batch, length) == 0] = IMG
    attention_mask = (rand(4, batch, length) > 0).long()
    labels = rand(13, batch, length)
    labels[rand(2, batch, length) == 0] = NO
    count = int(((input_ids == IMG) & (attention_mask == 1)).sum())
    blocks = [torch.randn(int(rand(4, 1)), width, generator=generator).requires_grad_() for _ in range(count)]

    fast = splice_scene_tokens(input_ids, blocks or None, embed, attention_mask, labels, padding_side)
    twin = splice_by_loop(input_ids, blocks, embed, attention_mask, labels, padding_side)
    for ours, theirs in zip(fast, twin):
        assert ours.shape == theirs.shape
        assert torch.equal(ours, theirs)

    inputs = [*blocks, embed.weight]
    weights = torch.randn(fast.inputs_embeds.shape, generator=generator)
    ours, theirs = (torch.autograd.grad((embeds * weights).sum(), inputs, allow_unused=True)
                    for embeds in (fast.inputs_embeds, twin[0]))
    for gradient, expected in zip(ours, theirs):
        assert torch.allclose(torch.zeros(1) if gradient is None else gradient,
                              torch.zeros(1) if expected is None else expected, atol=1e-6)


def test_masked_ids_are_dropped_wherever_they_stand():
    """As in LLaVA; even ids that no vocabulary has, and placeholders."""
    embed = nn.Embedding(7, 2)
    spliced = splice_scene_tokens(torch.tensor([[99, 3, IMG, -1, 4]]), None, embed, torch.tensor([[0, 1, 0, 0, 1]]))
    assert torch.equal(spliced.inputs_embeds, embed.weight[[3, 4]][None])
    assert spliced.position_ids.tolist() == [[0, 1]]


def test_text_alone_is_embedded_text():
    embed = nn.Embedding(7, 2)
    ids = torch.tensor([[1, 2, 3], [4, 5, 6]])
    assert torch.equal(splice_scene_tokens(ids, None, embed).inputs_embeds, embed(ids))


def test_of_the_models_dtype():
    embed = nn.Embedding(7, 2, dtype=torch.bfloat16)
    spliced = splice_scene_tokens(torch.tensor([[IMG, 5]]), torch.ones(1, 3, 2), embed)
    assert spliced.inputs_embeds.dtype == torch.bfloat16


IDS = torch.tensor([[1, IMG, 2], [IMG, IMG, 3]])


@pytest.mark.parametrize(('change', 'message'), [
    (dict(scene_tokens=torch.ones(2, 3, 2)),
     r'3 placeholders \(-200\), sample by sample \[1, 2\], but scene_tokens has 2 blocks; expected one'),
    (dict(scene_tokens=None), r'has 3 placeholders .* but scene_tokens has 0 blocks'),
    (dict(scene_tokens=torch.ones(3, 5, 4)), r'width of the language model, \(Q, 2\), got \(5, 4\).*out_channels'),
    (dict(scene_tokens=torch.ones(3, 2)), r'\(Q, 2\), got \(2,\)'),
    (dict(input_ids=IDS + 5 * (IDS > 0)), r'holds \[7, 8\], but the language model has embeddings for 0 to 6'),
    (dict(input_ids=torch.where(IDS == 1, -1, IDS)), r'input_ids holds \[-1\]'),
    (dict(input_ids=IDS[0]), r'Expected input_ids \(B, T\) of integers, got \(3,\)'),
    (dict(labels=IDS[:, :2]), r'Expected labels of the shape of input_ids \(2, 3\), got \(2, 2\)'),
    (dict(attention_mask=IDS[:1]), r'Expected attention_mask of the shape'),
    (dict(padding_side='both'), r"padding_side must be 'left' or 'right', got 'both'"),
])
def test_errors(change, message):
    arguments = dict(input_ids=IDS, scene_tokens=torch.ones(3, 3, 2), embed_tokens=nn.Embedding(7, 2))
    splice_scene_tokens(**arguments)
    with pytest.raises(ValueError, match=message):
        splice_scene_tokens(**arguments | change)
