"""Logits at some places of a text only: for the whole text they would be the largest tensor of all."""
from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn


def logits_at(llm: nn.Module, places: Tensor, **inputs: Tensor) -> Tensor:
    """Run a causal language model of transformers.

    Args:
        llm: The model, maybe inside peft's wrapper.
        places: ``(K,)`` int64, the same for all samples.
        **inputs: ``inputs_embeds`` ``(B, T, D)``, ``attention_mask`` and ``position_ids`` ``(B, T)``; what a family
            does not take (some count positions from the mask) is left out.

    Returns:
        ``(B, K, V)``. Families that cannot choose compute the others too.
    """
    logits = call_causal_lm(llm, places, use_cache=False, **inputs).logits
    return logits if 'logits_to_keep' in _parameters(llm) else logits[:, places]


def call_causal_lm(llm: nn.Module, places: Tensor, use_cache: bool, **inputs: Tensor) -> Any:
    """As :func:`logits_at`; returns all that transformers does, with logits of all places in some families."""
    accepted = _parameters(llm)
    chosen: dict[str, Any] = {name: value for name, value in inputs.items() if name in accepted}
    if 'logits_to_keep' in accepted:
        chosen['logits_to_keep'] = places
    return llm(**chosen, use_cache=use_cache)


def _parameters(llm: nn.Module) -> Mapping[str, inspect.Parameter]:
    """What its ``forward`` takes."""
    return inspect.signature((llm.get_base_model() if hasattr(llm, 'get_base_model') else llm).forward).parameters
