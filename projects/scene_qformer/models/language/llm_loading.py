"""Causal language models and their tokenizers, from a folder, from the local Hugging Face cache, or by a config."""
from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .libraries import import_transformers, is_installed

DTYPES = ('float32', 'bfloat16', 'float16')


def load_tokenizer(name: str, download: bool = False) -> Any:
    """A tokenizer by the name or folder of its model.

    Raises:
        FileNotFoundError: If its files are not on this machine; says what to do.
    """
    return _from_pretrained(import_transformers().AutoTokenizer, name, 'tokenizer', download)


def load_causal_lm(name: str, dtype: str = 'float32', download: bool = False) -> nn.Module:
    """A causal language model with its weights, in evaluation mode.

    Args:
        name: Local folder, or a name that is looked up in the local Hugging Face cache.
        dtype: 'float32', 'bfloat16' or 'float16'.
        download: Whether transformers may fetch what is not on this machine.

    Raises:
        FileNotFoundError: If the weights are not on this machine; says what to do.
        ValueError: If transformers cannot read them as a causal language model, or some are missing.
    """
    llm, report = _from_pretrained(import_transformers().AutoModelForCausalLM, name, 'weights', download,
                                   dtype=torch_dtype(dtype), output_loading_info=True)
    if missing := sorted(report['missing_keys']):  # transformers would go on with random ones
        raise ValueError(f'{name!r} lacks {len(missing)} weights of {type(llm).__name__}, the first is {missing[0]}. '
                         'Is it another kind of model, or one without its head?')
    return llm


def create_causal_lm(config: Mapping[str, Any], tokenizer: Any, dtype: str = 'float32') -> nn.Module:
    """A causal language model with random weights.

    Args:
        config: ``model_type`` (llama, qwen2, gpt2 ...) and settings of that family's config. The size of the vocabulary
            and the special tokens are the tokenizer's unless given.
        tokenizer: Its tokenizer.
        dtype: Of the weights.

    Raises:
        ValueError: If the family or a setting is unknown, or the vocabulary is too small for the tokenizer.
    """
    transformers = import_transformers()
    settings = dict(vocab_size=len(tokenizer), bos_token_id=tokenizer.bos_token_id,
                    eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id) | dict(config)
    family = settings.pop('model_type', None)
    families = transformers.models.auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    if family not in families:
        raise ValueError(f'model=dict(...) needs model_type, the family of a causal language model; got {family!r}.'
                         + _nearest(str(family), families) + " For example model=dict(model_type='llama', "
                         'hidden_size=256, intermediate_size=512, num_hidden_layers=4, num_attention_heads=4).')
    default = transformers.AutoConfig.for_model(family)
    known = set(default.to_dict()) | set(default.attribute_map)
    if unknown := sorted(set(settings) - known):
        raise ValueError(f'{type(default).__name__} has no setting {unknown[0]!r}.' + _nearest(unknown[0], known))
    llm = transformers.AutoModelForCausalLM.from_config(
        transformers.AutoConfig.for_model(family, **settings), dtype=torch_dtype(dtype))
    return llm.eval()


def check_vocabulary_fits(llm: nn.Module, tokenizer: Any) -> None:
    """Every token must have an embedding.

    Raises:
        ValueError: If not.
    """
    embeddings = llm.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > embeddings:
        raise ValueError(f'The tokenizer {tokenizer.name_or_path!r} has {len(tokenizer)} tokens, but the language '
                         f'model has embeddings for {embeddings}. Give the tokenizer that belongs to the model, or '
                         'leave vocab_size to the tokenizer.')


def torch_dtype(name: str) -> torch.dtype:
    """The dtype of this name.

    Raises:
        ValueError: If it is none that weights may have.
    """
    if name not in DTYPES:
        raise ValueError(f'dtype must be one of {", ".join(map(repr, DTYPES))}, got {name!r}.')
    return getattr(torch, name)


def _from_pretrained(auto_class: Any, name: str, what: str, download: bool, **kwargs: Any) -> Any:
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / 'config.json').is_file() and not (path / 'tokenizer_config.json').is_file():
            raise FileNotFoundError(f'{path} is no folder of a Hugging Face model: it has neither config.json nor '
                                    f'tokenizer_config.json. It holds {_listing(path)}.')
        name = str(path)
    elif _means_folder(name):
        raise FileNotFoundError(f'There is no folder {path}. Expected a folder with config.json, weights in '
                                '.safetensors and the files of the tokenizer, as save_pretrained() writes it. To '
                                f'download a model there: `hf download <owner>/<name> --local-dir {path}`.')
    try:
        # None would ask at the terminal whether to run the code of a folder
        return auto_class.from_pretrained(name, local_files_only=not download, trust_remote_code=False, **kwargs)
    except OSError as error:  # whatever is missing, transformers raises this
        there = f'{path} holds {_listing(path)}.' if path.is_dir() else (
            f'There is no folder {name!r} either.' if download else
            f'{name!r} is neither a folder nor in the local Hugging Face cache, and nothing is downloaded unasked: '
            f'fetch it yourself (`hf download {name}`), give the folder where it lies, or set download=True.')
        raise FileNotFoundError(
            f'The {what} of the language model {name!r} cannot be loaded. {there} transformers says: '
            f'{_first_line(error)}{_missing_reader(path)}') from error
    except (ImportError, ValueError, KeyError) as error:
        raise ValueError(f'transformers cannot read the {what} of {name!r} as those of a causal language model: '
                         f'{_first_line(error)}{_missing_reader(path)}') from error


def _means_folder(name: str) -> bool:
    """Whether it is a path rather than ``owner/name``, which has one slash at most."""
    first = Path(name).parts[0]
    return (name.startswith(('/', './', '../', '~')) or name.count('/') > 1
            or ('/' in name and (first == 'checkpoints' or Path(first).is_dir())))


def _missing_reader(path: Path) -> str:
    """What a folder's tokenizer needs, if it is not installed."""
    missing = [package for package, module in (('sentencepiece', 'sentencepiece'), ('protobuf', 'google.protobuf'))
               if not is_installed(module)]
    if not missing or not (path / 'tokenizer.model').is_file() or (path / 'tokenizer.json').is_file():
        return ''
    return (f' The tokenizer is tokenizer.model alone, and to read it {" and ".join(missing)} must be installed: '
            f'`pip install {" ".join(missing)}`.')


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]


def _listing(path: Path) -> str:
    names = sorted(child.name for child in path.iterdir())
    return ', '.join(names[:10]) + (', ...' if len(names) > 10 else '') if names else 'nothing'


def _nearest(name: str, names: Any) -> str:
    nearest = difflib.get_close_matches(name, list(names), n=3, cutoff=0.5)
    return f' The nearest are {", ".join(nearest)}.' if nearest else ''
