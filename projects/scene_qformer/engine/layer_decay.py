"""Learning rates that fall layer by layer towards the image."""
from __future__ import annotations

from typing import Any

from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn

from .network_layers import parameter_layers


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class LayerDecayOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor, then: in the named networks every layer learns more slowly than the one after it.

    The k-th layer from the end of a network gets its rate times decay^k, k = 0 for the last (BEiT, Bao et al., arXiv
    2106.08254; for detection: ViTDet, Li et al., arXiv 2203.16527). The rate itself is what mmengine's other settings
    (``custom_keys``, ``norm_decay_mult`` ...) say, so that decoder and backbone keep theirs. What a layer is, tells
    :func:`~.network_layers.parameter_layers`. mmdet's ``LearningRateDecayOptimizerConstructor`` knows mmpretrain's
    ConvNeXt alone, has its layers counted by hand and gives all the rest one rate.

    ::

        optim_wrapper = dict(
            constructor='LayerDecayOptimWrapperConstructor',
            optimizer=dict(type='AdamW', lr=1e-4),
            paramwise_cfg=dict(
                layer_decay={'backbone': 0.8},                       # by path of the network in the model
                custom_keys={'backbone.': dict(lr_mult=0.1)}))

        group                     learning rate
        decoder                   1e-4
        backbone.model.blocks.11  1e-5
        backbone.model.blocks.10  1e-5 * 0.8
        ...
        backbone.stem             1e-5 * 0.8^12

    Parameters of equal name and settings make one group. Its ``name`` is the layer's path, elsewhere the part of the
    model (``decoder``, ``bbox_head``). Frozen parameters are in none.
    """

    def _validate_cfg(self) -> None:
        super()._validate_cfg()
        decays = self.paramwise_cfg.get('layer_decay')
        if not isinstance(decays, dict) or not all(isinstance(rate, (int, float)) and 0 < rate <= 1
                                                   for rate in decays.values()):
            raise ValueError('LayerDecayOptimWrapperConstructor needs paramwise_cfg=dict(layer_decay={network: rate}), '
                             f"rates above 0 and at most 1, e.g. {{'backbone': 0.8}}; got {decays!r}.")

    def add_params(self, params: list[dict], module: nn.Module, prefix: str = '', is_dcn_module: Any = None) -> None:
        """Add the groups of ``module``; see :class:`DefaultOptimWrapperConstructor`, which calls this recursively.

        Raises:
            ValueError: If the model has no network that ``layer_decay`` names.
        """
        super().add_params(params, module, prefix, is_dcn_module)
        if not prefix:  # back from the recursion: the whole model is in, each parameter in a group of its own
            params[:] = self._named_groups(params, module)

    def _named_groups(self, params: list[dict], model: nn.Module) -> list[dict]:
        layers = {}  # by parameter: name of its layer, factor of its rate
        for path, decay in self.paramwise_cfg['layer_decay'].items():
            for k, (layer, names) in enumerate(reversed(parameter_layers(_network(model, path)))):
                layers.update({f'{path}.{name}': (f'{path}.{layer}', decay**k) for name in names})
        name_of = {id(parameter): name for name, parameter in model.named_parameters()}
        groups: dict[str, dict] = {}
        for single in params:
            parameter, = single['params']
            name = name_of[id(parameter)]
            group_name, factor = layers.get(name, (name.split('.')[0], 1))
            settings = {key: value for key, value in single.items() if key != 'params'}
            settings['lr'] = settings.get('lr', self.base_lr) * factor
            settings['name'] = group_name
            group = groups.setdefault(repr(sorted(settings.items())), dict(settings, params=[]))
            group['params'].append(parameter)
        for group in groups.values():
            print_log(f"{group['name']}: learning rate {group['lr']:.3g}, {len(group['params'])} parameters", 'current')
        return list(groups.values())


def _network(model: nn.Module, path: str) -> nn.Module:
    try:
        return model.get_submodule(path)
    except AttributeError as error:
        raise ValueError(f'layer_decay names {path!r}, but the model has no such part; it has '
                         f'{", ".join(name for name, _ in model.named_children())}.') from error
