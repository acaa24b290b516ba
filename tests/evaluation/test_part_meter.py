import pytest
import torch
from torch import nn

from scene_qformer.evaluation.part_meter import REST, PartMeter, list_parts


class Ticks:
    """A number that grows only where a module or a graph node says so."""

    def __init__(self):
        self.value = 0

    def __call__(self):
        return self.value


class Tick(torch.autograd.Function):
    """Identity that ticks ``forward`` times forward and ``backward`` times backward."""

    @staticmethod
    def forward(ctx, x, ticks, forward, backward):
        ctx.ticks, ctx.amount = ticks, backward
        ticks.value += forward
        return x * 1

    @staticmethod
    def backward(ctx, grad):
        ctx.ticks.value += ctx.amount
        return grad, None, None, None


class Part(nn.Module):

    def __init__(self, ticks, forward, backward, inner=()):
        super().__init__()
        self.amounts = ticks, forward, backward
        self.layers = nn.ModuleList(inner)

    def forward(self, x):
        x = Tick.apply(x, *self.amounts)
        for layer in self.layers:
            x = layer(x)
        return dict(x=[x]) if self.layers else x  # an output with structure

    def loss(self, x):
        return Tick.apply(x, *self.amounts)


class Model(nn.Module):

    def __init__(self, ticks):
        super().__init__()
        self.ticks = ticks
        self.data_preprocessor = nn.Identity()
        self.backbone = Part(ticks, 2, 3)
        layers = [Part(ticks, 5, 7, [Part(ticks, 11, 13)]) for _ in range(2)]
        self.decoder = Part(ticks, 17, 19, [])
        self.decoder.blocks = nn.ModuleDict(dict(some=nn.ModuleList(layers)))
        self.head = Part(ticks, 23, 29)

    def forward(self, x):
        x = self.backbone(x)
        x = Tick.apply(x, self.ticks, 31, 37)  # between backbone and decoder
        x = self.decoder(x)
        for layer in self.decoder.blocks['some']:
            x = layer(x)['x'][0]
        return Tick.apply(self.head.loss(x).sum(), self.ticks, 41, 43)


def test_parts_are_called_modules():
    parts = list_parts(Model(Ticks()))
    assert list(parts) == ['backbone', 'decoder', 'decoder.blocks.some.*.layers.*', 'head']
    assert [len(modules) for modules in parts.values()] == [1, 1, 2, 1]
    assert list(list_parts(Model(Ticks()), expand=())) == ['backbone', 'decoder', 'head']


def test_unknown_part_to_expand():
    with pytest.raises(ValueError, match="Model has no part 'neck' to expand; it has backbone, decoder, head"):
        list_parts(Model(Ticks()), ['neck'])


def test_each_part_gets_what_grew_while_it_ran():
    ticks = Ticks()
    model = Model(ticks)
    with PartMeter(list_parts(model), ticks) as meter:
        model(torch.ones(3, requires_grad=True))
    # the layers of the decoder are called from outside here, and only their children are parts
    assert dict(meter.amounts) == {
        REST: 31 + 2 * 5 + 41, 'backbone': 2, 'decoder': 17, 'decoder.blocks.some.*.layers.*': 2 * 11, 'head': 23}
    assert meter.total('decoder') == 17 + 2 * 11
    assert meter.called == {REST, 'backbone', 'decoder', 'decoder.blocks.some.*.layers.*', 'head'}


def test_backward_counts_to_the_part_that_made_the_graph():
    ticks = Ticks()
    model = Model(ticks)
    with PartMeter(list_parts(model), ticks) as meter:
        meter.backward(model(torch.ones(3, requires_grad=True)))
    forward = {REST: 31 + 2 * 5 + 41, 'backbone': 2, 'decoder': 17, 'decoder.blocks.some.*.layers.*': 2 * 11,
               'head': 23}
    # what lies between two parts counts to the later one: 37 to the decoder, a layer's own 7 to what it holds
    backward = {REST: 43, 'backbone': 3, 'decoder': 37 + 19, 'decoder.blocks.some.*.layers.*': 2 * (7 + 13),
                'head': 29}
    assert dict(meter.amounts) == {name: forward[name] + backward[name] for name in forward}
    assert sum(meter.amounts.values()) == ticks.value


def test_recomputation_counts_to_the_part_recomputed():
    ticks = Ticks()
    model = nn.Module()
    model.part = Part(ticks, 2, 3)
    model.other = Part(ticks, 5, 7)
    x = torch.ones(3, requires_grad=True)
    with PartMeter(list_parts(model, ()), ticks) as meter:
        y = torch.utils.checkpoint.checkpoint(model.part, x.exp(), use_reentrant=False)
        meter.backward((model.other(y) * y).sum())
    assert meter.amounts['part'] >= 2 + 3
    assert meter.amounts['other'] == 5 + 7
    assert sum(meter.amounts.values()) == ticks.value


def test_leaves_no_trace():
    ticks = Ticks()
    model = Model(ticks)
    with PartMeter(list_parts(model), ticks) as meter:
        pass
    model(torch.ones(3))
    assert not any(meter.amounts.values())
    assert 'loss' not in model.head.__dict__
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
