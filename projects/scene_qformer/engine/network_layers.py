"""The layers of a network, in the order in which an image passes them."""
from __future__ import annotations

from collections.abc import Iterator

from torch import nn

STEM = 'stem'


def parameter_layers(network: nn.Module) -> list[tuple[str, list[str]]]:
    """Which parameter belongs to which layer.

    A network that knows (``TimmBackbone``, by timm's own grouping) is asked: ``network.parameter_layers()`` gives lists
    of parameter names, from the image on. Otherwise layers are the *blocks*: members of a ``Sequential`` or a
    ``ModuleList`` that have children themselves, in the order in which they were defined::

        mmdet.ResNet                          mmdet.SwinTransformer
        conv1, bn1           -> stem          patch_embed          -> stem
        layer1.0             -> layer1.0      stages.0.blocks.0    -> stages.0.blocks.0
        layer1.1             -> layer1.1      stages.0.blocks.1    -> stages.0.blocks.1
        ...                                   stages.0.downsample  -> stages.0.blocks.1

    Whatever stands before the first block is the stem; what stands between blocks belongs to the block before it.

    Returns:
        ``(layer, names of its parameters)``, from the image on; together all of ``network.named_parameters()``.

    Raises:
        ValueError: If the network's own grouping leaves a parameter out.
    """
    if not hasattr(network, 'parameter_layers'):
        return list(_layers_by_structure(network).items())
    groups = network.parameter_layers()
    root = len(shared_path([name for names in groups for name in names]))
    layers = [(layer_name(names, root) if index else STEM, names) for index, names in enumerate(groups)]
    left_out = {name for name, _ in network.named_parameters()}.difference(*(names for _, names in layers))
    if left_out:
        raise ValueError(f'{type(network).__name__}.parameter_layers() leaves out {sorted(left_out)[:5]}.')
    return layers


def _layers_by_structure(network: nn.Module) -> dict[str, list[str]]:
    blocks = list(_blocks(network, ''))
    layers: dict[str, list[str]] = {}
    current = STEM
    for name, _ in network.named_parameters():
        current = next((block for block in blocks if name.startswith(f'{block}.')), current)
        layers.setdefault(current, []).append(name)
    return layers


def _blocks(module: nn.Module, prefix: str) -> Iterator[str]:
    """Paths of the blocks: the search goes on inside lists, and inside modules that hold a list of modules."""
    for name, child in module.named_children():
        path = f'{prefix}{name}'
        is_list = isinstance(child, (nn.Sequential, nn.ModuleList))
        if is_list or any(isinstance(grandchild, nn.ModuleList) for grandchild in child.children()):
            yield from _blocks(child, f'{path}.')
        elif isinstance(module, (nn.Sequential, nn.ModuleList)) and next(child.children(), None) is not None:
            yield path


def layer_name(parameter_names: list[str], root: int = 0) -> str:
    """The path that a layer's parameters share; where they lie apart, that of the first of them.

    ::

        blocks.3.norm1.weight, blocks.3.attn.qkv.weight     -> blocks.3
        blocks.11.norm1.weight, ..., norm.weight            -> blocks.11
        stages.1.downsample.0.weight, stages.1.blocks.0 ... -> stages.1    (its other blocks are stages.1.blocks.1 ...)

    Args:
        parameter_names: Names with dots.
        root: How many parts all names of the network begin with; sharing those alone is lying apart.
    """
    together = [parameter_names[0]]
    for name in parameter_names[1:]:
        if len(shared_path([*together, name])) > root:
            together.append(name)
    return '.'.join(shared_path(together)) or parameter_names[0]


def shared_path(parameter_names: list[str]) -> list[str]:
    """The modules, from the outermost on, that hold all these parameters."""
    shared = []
    for parts in zip(*(name.split('.')[:-1] for name in parameter_names)):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return shared
