"""What of a language model is trained: nothing, adapters (LoRA), or all of it."""
from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from .libraries import import_peft


def set_trainable(llm: nn.Module, trainable: bool, lora: Mapping[str, Any] | None) -> nn.Module:
    """Freeze a language model, or let it be trained, or add adapters.

    Args:
        llm: A causal language model of transformers.
        trainable: Whether all of its weights are trained.
        lora: Low-rank adapters (Hu et al., arXiv 2106.09685) of peft: arguments of its ``LoraConfig``, e.g.
            ``dict(r=16, lora_alpha=32, lora_dropout=0.05)``. Without ``target_modules`` peft's choice for the family is
            taken (queries and values in Llama and Qwen2), for families that peft does not know all linear layers.
            Adapters are float32, whatever the model is.

    Returns:
        The same model; with ``lora`` inside peft's wrapper.

    Raises:
        ValueError: If both are asked for, or ``lora`` does not fit the model.
    """
    if lora is not None:
        if trainable:
            raise ValueError('trainable=True and lora=dict(...) exclude each other: with adapters the model itself '
                             'rests. Leave one of them.')
        return _add_lora(llm, dict(lora))
    return llm.requires_grad_(trainable)


def _add_lora(llm: nn.Module, settings: dict[str, Any]) -> nn.Module:
    peft = import_peft()
    known = inspect.signature(peft.LoraConfig).parameters
    if unknown := sorted(set(settings) - set(known)):
        raise ValueError(f"lora has no setting {unknown[0]!r}; peft's LoraConfig has r, lora_alpha, lora_dropout, "
                         'target_modules, bias, use_rslora and others.')
    family = llm.config.model_type
    if settings.get('target_modules') is None and family not in (
            peft.utils.constants.TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING):
        settings['target_modules'] = 'all-linear'
    # transformers' Conv1D (GPT-2 and others of its time) stores its weights transposed
    if any(type(module).__name__ == 'Conv1D' for module in llm.modules()):
        settings.setdefault('fan_in_fan_out', True)
    try:
        return peft.get_peft_model(llm, peft.LoraConfig(task_type='CAUSAL_LM', **settings))
    except ValueError as error:
        layers = sorted({name.rpartition('.')[2] for name, module in llm.named_modules()
                         if type(module).__name__ in ('Linear', 'Conv1D')})
        raise ValueError(f'lora={settings} does not fit {type(llm).__name__}: {error} Its layers are named '
                         f'{", ".join(layers)}.') from error


def set_training_mode(llm: nn.Module, mode: bool) -> None:
    """Training mode for what is trained; a frozen model's dropout rests.

    Activations of a frozen model are recomputed all the same, if gradient checkpointing is on, for which its layers
    themselves (not what is in them) must be in training mode.
    """
    trained = any(parameter.requires_grad for parameter in llm.parameters())
    llm.train(mode and trained)
    if mode and not trained:
        for module in llm.modules():
            if getattr(module, 'gradient_checkpointing', False):
                module.training = True


def recompute_activations(llm: nn.Module) -> None:
    """Gradient checkpointing: a layer's activations are computed again in the backward pass instead of being kept.

    Raises:
        ValueError: If the family has none.
    """
    if not getattr(llm, 'supports_gradient_checkpointing', False):
        raise ValueError(f'{type(llm).__name__} has no gradient checkpointing: leave gradient_checkpointing=False.')
    llm.gradient_checkpointing_enable(gradient_checkpointing_kwargs=dict(use_reentrant=False))
