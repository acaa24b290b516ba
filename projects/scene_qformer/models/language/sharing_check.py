"""Whether a language model keeps texts side by side apart, tried on this very model."""
from __future__ import annotations

import torch
from torch import nn

from .logits import logits_at
from .shared_attention import inputs_apart, use_shared_attention

_WINDOWS = ('sliding_window', 'window_size', 'attention_chunk_size')  # what families call how far back they see


def prepare_to_share(llm: nn.Module) -> None:
    """Give a model the attention for texts side by side, if it can have it, and check that they stay apart.

    Raises:
        ValueError: If the results differ from those of separate texts, as this family ignores the mask or the
            positions; or would differ on longer texts, as it sees only so far back.
    """
    config = llm.config.get_text_config()
    for name in _WINDOWS:
        if (window := getattr(config, name, None)) is not None:
            raise ValueError(f'share_scene_tokens=True is not for {type(llm).__name__} with {name}={window}: the mask '
                             'that keeps texts apart would replace that of the window. Leave share_scene_tokens=False.')
    before = llm.config._attn_implementation
    use_shared_attention(llm)
    try:
        check_sharing_is_exact(llm)
    except ValueError:
        if llm.config._attn_implementation == before:
            raise
        llm.set_attn_implementation(before)  # the mask may do where the layout does not get through
        check_sharing_is_exact(llm)


@torch.no_grad()
def check_sharing_is_exact(llm: nn.Module) -> None:
    """Compare two texts side by side with the same apart.

    Raises:
        ValueError: If the results differ.
    """
    embed_tokens = llm.get_input_embeddings()
    weight = embed_tokens.weight
    prefix, first, second = (embed_tokens(torch.arange(start, start + length, device=weight.device) % len(weight))
                             for start, length in ((0, 3), (3, 2), (5, 2)))
    segments = torch.tensor([[0] * 3 + [1] * 2 + [2] * 2], device=weight.device)
    apart = torch.cat([logits_at(
        llm, torch.tensor([3, 4], device=weight.device), inputs_embeds=torch.cat((prefix, text))[None],
        attention_mask=torch.ones(1, 5, dtype=torch.long, device=weight.device),
        position_ids=torch.arange(5, device=weight.device)[None])[0].float() for text in (first, second)])
    problem: Exception | None = None
    try:
        shared = logits_at(
            llm, torch.tensor([3, 4, 5, 6], device=weight.device),
            inputs_embeds=torch.cat((prefix, first, second))[None],
            **inputs_apart(llm, segments, weight.dtype))[0].float()
        difference = ((shared - apart).abs().mean() / apart.std(-1).mean()).item()
    except (ValueError, RuntimeError, IndexError, TypeError) as error:  # of a mask of a shape that it does not know
        problem, difference = error, float('inf')
    if not difference <= (1e-4 if weight.dtype == torch.float32 else 0.1):  # nor NaN
        raise ValueError('share_scene_tokens=True gives other results than separate sequences on '
                         f'{type(llm).__name__}: it does not take a mask of four dimensions, or no position ids. Leave '
                         'share_scene_tokens=False.') from problem
