"""Getting at timm (pytorch-image-models): the import, and a model by its name."""
from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import torch
from torch import nn

PINNED = '1.0.31'  # as in requirements/openmmlab.txt
# What timm takes from torchvision when it is imported: image transforms, data sets, one class; nothing to build models.
TORCHVISION_MODULES = ('torchvision', 'torchvision.ops', 'torchvision.ops.misc', 'torchvision.transforms',
                       'torchvision.transforms.functional', 'torchvision.datasets')


def import_timm() -> Any:
    """The module ``timm``, imported on first use, so that everything else works without it.

    timm imports torchvision at once, for image transforms that its models do not use. Where torchvision is missing, or
    was built for another torch (the package index has only the CUDA build for Linux, which a CPU build of torch cannot
    load), placeholders take its place while timm is imported, and only so long.

    Raises:
        ModuleNotFoundError: If timm is not installed; says how to install it.
    """
    if 'timm' in sys.modules:
        return sys.modules['timm']
    if importlib.util.find_spec('timm') is None:
        raise ModuleNotFoundError(
            'TimmBackbone needs timm, which is not installed: `pip install --no-deps timm==' + PINNED + '` (without '
            '--no-deps pip would also bring a torchvision, and with it maybe another torch).')
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError, OSError):
        with _torchvision_placeholders():
            return importlib.import_module('timm')
    return importlib.import_module('timm')


class _PlaceholderClass(type):
    """Classes whose attributes are their own names, which is enough for an enumeration's members."""

    def __getattr__(cls, name: str) -> str:
        if name.startswith('__'):
            raise AttributeError(name)
        return f'{cls.__name__}.{name}'


class _PlaceholderModule(ModuleType):
    """A module that has every class one asks for, each empty."""

    __path__: list = []  # no folder: submodules that are not listed cannot be imported

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__'):
            raise AttributeError(name)
        setattr(self, name, _PlaceholderClass(name, (), {}))
        return getattr(self, name)


@contextmanager
def _torchvision_placeholders() -> Iterator[None]:
    def forget() -> None:
        for name in [name for name in sys.modules if name.split('.')[0] == 'torchvision']:
            del sys.modules[name]

    forget()  # what a failed import left
    for name in TORCHVISION_MODULES:
        sys.modules[name] = _PlaceholderModule(name)
        parent, _, child = name.rpartition('.')
        if parent:
            setattr(sys.modules[parent], child, sys.modules[name])
    try:
        yield
    finally:
        forget()


def check_name(name: str) -> None:
    """Whether timm has a model of this name.

    Raises:
        ValueError: If not; names the nearest ones.
    """
    timm = import_timm()
    if ':' in name or not timm.is_model(name):
        architecture = name.split(':')[-1].split('/')[-1].split('.')[0]
        nearest = difflib.get_close_matches(architecture, timm.list_models(), n=5, cutoff=0.5)
        raise ValueError(
            f'timm {timm.__version__} has no model {name!r}. '
            + (f'The nearest names are {", ".join(nearest)}. ' if nearest else '')
            + "timm.list_models('*eva*') lists names by a pattern; weights are not given by the name but by "
            "init_cfg=dict(type='Pretrained', checkpoint=<a local file>).")


def create_timm_model(name: str, **kwargs: Any) -> nn.Module:
    """``timm.create_model`` that never downloads."""
    check_name(name)
    return import_timm().create_model(name, pretrained=False, **kwargs)


def create_timm_skeleton(name: str, **kwargs: Any) -> nn.Module:
    """The whole model without memory for its weights (on torch's ``meta`` device), to read names and shapes from."""
    with torch.device('meta'):
        return create_timm_model(name, **kwargs)
