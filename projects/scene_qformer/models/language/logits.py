"""Logits at some places of a text only: for the whole text they would be the largest tensor of all."""
from __future__ import annotations

import inspect

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
    accepted = inspect.signature((llm.get_base_model() if hasattr(llm, 'get_base_model') else llm).forward).parameters
    inputs = {name: value for name, value in inputs.items() if name in accepted}
    if 'logits_to_keep' in accepted:
        return llm(**inputs, logits_to_keep=places, use_cache=False).logits
    return llm(**inputs, use_cache=False).logits[:, places]
