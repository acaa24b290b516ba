"""transformers' ``generate`` after a prompt that is given as embeddings."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from .splice import SplicedText

DEFAULTS = dict(max_new_tokens=64, do_sample=False)
SAMPLING = ('temperature', 'top_p', 'top_k', 'min_p', 'typical_p')


def generate_after_embeds(llm: nn.Module,
                          tokenizer: Any,
                          prompt: SplicedText,
                          end_token_id: int,
                          room: int | None = None,
                          options: Mapping[str, Any] | None = None,
                          cache: Any = None) -> Tensor:
    """Go on after prompts that end at the same place.

    Args:
        llm: A causal language model of transformers.
        tokenizer: Its tokenizer.
        prompt: B prompts, padded on the left or in the middle. Position ids are counted by transformers from the mask,
            which gives the same.
        end_token_id: Ends an answer, as the model's own end tokens do.
        room: How many new tokens the model has places for.
        options: Of transformers' ``generate``, beside ``DEFAULTS``; ``max_new_tokens=None`` is the default.
        cache: transformers' cache of the prompts' first places, where these have been read already.

    Returns:
        ``(B, n)`` new ids without the prompt, n the longest answer's length.

    Raises:
        ValueError: If an option would give more than one answer a prompt, or bounds prompt and answer together.
    """
    settings: dict[str, Any] = DEFAULTS | {name: value for name, value in (options or {}).items()
                                           if (name, value) != ('max_new_tokens', None)}
    if settings.pop('max_length', None) is not None:
        raise ValueError('generate takes no max_length: it would count the scene tokens and the question too. Bound '
                         'the answer by max_new_tokens.')
    for name, single in (('num_return_sequences', 1), ('return_dict_in_generate', False)):
        if settings.get(name, single) != single:
            raise ValueError(f'{name}={settings[name]!r}: one answer is returned for each question, as text. Leave the '
                             'option out.')
    if not settings['do_sample']:  # the model's own settings of sampling would only bring warnings
        settings = dict.fromkeys(SAMPLING) | settings
    if room is not None:
        settings['max_new_tokens'] = min(settings['max_new_tokens'], room)
    own_ends = llm.generation_config.eos_token_id
    ends = {end_token_id, tokenizer.eos_token_id, *(own_ends if isinstance(own_ends, (list, tuple)) else [own_ends])}
    settings.setdefault('eos_token_id', sorted(ends - {None}))
    settings.setdefault('pad_token_id', end_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id)
    mask = prompt.attention_mask
    if settings.get('use_cache', True):
        read = {} if cache is None else dict(past_key_values=cache)
        return llm.generate(inputs_embeds=prompt.inputs_embeds, attention_mask=mask, **read, **settings)
    # After a prompt of embeddings transformers keeps keys whatever is asked: so it gets ids, embedded as the prompt is.
    with _prompt_as_embedding(llm.get_input_embeddings(), prompt.inputs_embeds):
        stand_in = torch.full_like(mask, settings['pad_token_id'])
        return llm.generate(input_ids=stand_in, attention_mask=mask, **settings)[:, mask.shape[1]:]


@contextmanager
def _prompt_as_embedding(embed_tokens: nn.Module, inputs_embeds: Tensor) -> Iterator[None]:
    """Meanwhile the first ids of each sequence have these embeddings, ``(B, T, D)``, whatever they are."""
    def put(module: nn.Module, args: tuple, output: Tensor) -> Tensor:
        # beams: each sample's are side by side
        prompt = inputs_embeds.repeat_interleave(len(output) // len(inputs_embeds), dim=0)
        return torch.cat((prompt, output[:, prompt.shape[1]:]), dim=1)

    handle = embed_tokens.register_forward_hook(put)
    try:
        yield
    finally:
        handle.remove()
