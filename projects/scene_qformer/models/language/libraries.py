"""Getting at transformers and peft, which only the language side needs (the extra ``[llm]``)."""
from __future__ import annotations

import importlib
import importlib.util
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


def is_installed(name: str) -> bool:
    """Whether there is a module of this name."""
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # its parent is not there
        return False


def _import(name: str, what: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f'{what} needs {name}, and there is no module {error.name!r}: in the clone of the project, '
            "`pip install -e '.[llm]'`; `make setup` has it.", name=error.name) from error
