"""Getting at transformers and peft, which only the language side needs (the extra ``[llm]``)."""
from __future__ import annotations

import importlib
from typing import Any


def import_transformers() -> Any:
    """The module ``transformers``, imported on first use, so that everything else works without it.

    Raises:
        ModuleNotFoundError: If it is not installed; says how to install it.
    """
    return _import('transformers', 'SceneLanguageModel')


def import_peft() -> Any:
    """The module ``peft``, imported on first use.

    Raises:
        ModuleNotFoundError: If it is not installed; says how to install it.
    """
    return _import('peft', 'lora=dict(...)')


def _import(name: str, what: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'{what} needs {name}, and there is no module {error.name!r}: `pip install "scene-qformer[llm]"`, or in a '
            'clone `make setup`.', name=error.name) from error
