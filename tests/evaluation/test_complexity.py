import copy
import time

import pytest
import torch
from mmdet3d.registry import MODELS
from mmdet3d.utils import register_all_modules
from mmengine.model import BaseModel
from torch import nn

from scene_qformer.evaluation.complexity import measure_complexity, to_dicts, to_markdown
from scene_qformer.random_batch import random_batch

register_all_modules(init_default_scope=True)


class Attention(nn.Module):

    def __init__(self):
        super().__init__()
        self.register_buffer('ones', torch.ones(5))

    def forward(self, x):  # (B, Q, C): one head
        x = x[:, None]
        return nn.functional.scaled_dot_product_attention(x, x, x)[:, 0]


class Layer(nn.Module):

    def __init__(self):
        super().__init__()
        self.attn = Attention()
        self.ffn = nn.Sequential(nn.Linear(5, 11, bias=False), nn.ReLU(), nn.Linear(11, 5))

    def forward(self, x):
        return self.ffn(self.attn(x))


class Decoder(nn.Module):

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([Layer(), Layer()])

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


class Head(nn.Linear):

    def loss(self, x):
        time.sleep(0.02)
        return dict(loss=self(x).mean())


class Tiny(BaseModel):
    """B 2, Q 7: backbone 3 -> 5 channels, two layers, a head, and a projector that no loss reaches."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Linear(3, 5)
        self.decoder = Decoder()
        self.projector = nn.Linear(5, 13)
        self.bbox_head = Head(5, 2)
        self.bbox_head.bias.requires_grad_(False)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        x = self.decoder(self.backbone(inputs))
        if mode == 'loss':
            return self.bbox_head.loss(x)
        return self.projector(x) if mode == 'tensor' else self.bbox_head(x)


@pytest.fixture(scope='module')
def costs():
    torch.manual_seed(0)
    batch = dict(inputs=torch.randn(2, 7, 3), data_samples=None)
    return {cost.name: cost for cost in measure_complexity(Tiny(), batch, train=True, num_runs=3)}


ROWS = 2 * 7  # B * Q
ATTENTION = 2 * 2 * 2 * 7 * 7 * 5  # query x key and weights x value, two samples, two FLOPs a multiply-add


def test_parameters_by_hand(costs):
    counted = {name: (cost.parameters, cost.trained_parameters) for name, cost in costs.items()}
    ffn = 2 * (5 * 11 + 11 * 5 + 5)
    assert counted == {
        'backbone': (20, 20), 'decoder': (ffn, ffn), 'decoder.layers.*.attn': (0, 0),
        'decoder.layers.*.ffn': (ffn, ffn), 'projector': (78, 78), 'bbox_head': (12, 10), '': (0, 0),
        'total': (20 + ffn + 78 + 12, 20 + ffn + 78 + 10)}


def test_flops_by_hand(costs):
    ffn = 2 * 2 * 2 * ROWS * 5 * 11  # two layers of two matrix products
    assert {name: cost.flops for name, cost in costs.items()} == {
        'backbone': 2 * ROWS * 3 * 5, 'decoder': 2 * ATTENTION + ffn, 'decoder.layers.*.attn': 2 * ATTENTION,
        'decoder.layers.*.ffn': ffn, 'projector': 2 * ROWS * 5 * 13, 'bbox_head': 2 * ROWS * 5 * 2, '': 0,
        'total': 2 * ROWS * (15 + 65 + 10) + 2 * ATTENTION + ffn}


def test_training_flops_by_hand(costs):
    # Backward, a linear layer multiplies twice, for its weights and for its input, which the first has none for; the
    # fused attention, five times, as it computes its weights anew.
    ffn = 2 * 2 * 2 * ROWS * 5 * 11
    assert costs['backbone'].train_flops == 2 * (2 * ROWS * 3 * 5)
    assert costs['decoder.layers.*.ffn'].train_flops == 3 * ffn
    assert costs['decoder.layers.*.attn'].train_flops == 2 * ATTENTION * (1 + 2.5)
    assert costs['projector'].train_flops == 3 * (2 * ROWS * 5 * 13)
    assert costs['bbox_head'].train_flops == 3 * (2 * ROWS * 5 * 2)
    assert costs['total'].train_flops == sum(
        cost.train_flops for name, cost in costs.items() if '.' not in name and name != 'total')


@pytest.mark.parametrize('groups', [1, 2, 4])
@pytest.mark.parametrize(('kind', 'places'), [(nn.Conv2d, 3 * 4), (nn.ConvTranspose2d, 5 * 6)])
def test_convolutions_by_hand(kind, places, groups):
    model = Tiny()
    model.backbone = nn.Sequential(kind(4, 8, 3, groups=groups), nn.Flatten(2), nn.LazyLinear(5))
    batch = dict(inputs=torch.randn(2, 4, 5, 6, requires_grad=True), data_samples=None)
    model(**batch)
    cost = measure_complexity(model, batch, train=True, expand=['backbone'], num_runs=1)[1]
    assert cost.name == 'backbone.0'
    assert cost.flops == 2 * 2 * (4 * 8 * 9 // groups) * places  # places at which the kernel is laid
    assert cost.train_flops == 3 * cost.flops


def test_activations_by_hand(costs):
    floats = {name: cost.activation_bytes / 4 for name, cost in costs.items()}
    assert floats['backbone'] == ROWS * 3  # its input
    # The first linear layer keeps its input, which the attention kept as its output; ReLU its output, the same that
    # the second linear layer keeps as its input.
    assert floats['decoder.layers.*.ffn'] == 2 * ROWS * 11
    # query, key and value are one storage; the output; the logsumexp of every query
    assert floats['decoder.layers.*.attn'] == 2 * (ROWS * 5 + ROWS * 5 + ROWS)
    assert floats['decoder'] == floats['decoder.layers.*.ffn'] + floats['decoder.layers.*.attn']
    assert floats['projector'] == floats['bbox_head'] == ROWS * 5  # each the decoder's result, of its own pass


def test_time_is_where_it_is_spent(costs):
    assert costs['bbox_head'].train_seconds >= 0.02 > costs['decoder'].train_seconds
    assert costs['bbox_head'].seconds < 0.02
    assert all(cost.seconds > 0 for name, cost in costs.items() if name)


def test_tables(costs):
    table = to_markdown(list(costs.values()))
    assert '| part | parameters | of them trained |' in table and 'training: GFLOPs' in table
    assert '| &emsp;layers.*.attn | 0 | 0 |' in table and '| bbox_head | 12 | 10 |' in table
    assert 'Not counted: sampling' in table
    assert to_dicts(list(costs.values()))[0]['flops'] == 420


def test_model_is_left_as_it_was():
    model = Tiny()
    model.backbone = nn.Sequential(nn.Linear(3, 7), nn.BatchNorm1d(7), nn.Linear(7, 5))  # over Q
    batch = dict(inputs=torch.randn(2, 7, 3), data_samples=None)
    model(**batch, mode='loss')['loss'].backward()
    model.decoder.eval()
    before = copy.deepcopy(model.state_dict())
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    measure_complexity(model, batch, train=True, num_runs=1)
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert before['backbone.1.num_batches_tracked'] == 1
    assert all(parameter.grad is gradients[name] for name, parameter in model.named_parameters())
    assert model.training and not model.decoder.training


def test_recomputed_layers_cost_a_forward_pass_more():
    def decoder_cost(with_cp):
        model = MODELS.build(small_detector(with_cp))
        costs = measure_complexity(model, random_batch(2, (32, 16)), train=True, num_runs=1)
        return {cost.name: cost for cost in costs}

    plain, recomputed = decoder_cost(False), decoder_cost(True)
    for name in ('decoder.layers.*.self_attn', 'decoder.layers.*.ffn'):
        # one pass in the loss and one for the scene tokens, of which the first counts
        assert recomputed[name].flops == plain[name].flops > 0
        assert recomputed[name].train_flops == plain[name].train_flops + plain[name].flops
    assert recomputed['decoder'].activation_bytes < plain['decoder'].activation_bytes / 2
    assert recomputed['backbone'].train_flops == plain['backbone'].train_flops


def small_detector(with_cp):
    attention = dict(type='GlobalAttention', num_heads=2)
    return dict(
        type='SceneQFormer',
        data_preprocessor=dict(type='Det3DDataPreprocessor'),
        backbone=dict(type='mmdet.ResNet', depth=18, base_channels=4, out_indices=(1, )),
        neck=dict(type='SingleLevelFPN', in_channels=[8], out_channels=8),
        positional_encoding=dict(type='Sine2DEncoding', embed_dims=8),
        scene_queries=dict(type='SceneQueries', num_queries=5, embed_dims=8),
        decoder=dict(type='SceneQueryDecoder', num_layers=2, embed_dims=8, self_attn_cfg=attention,
                     cross_attn_cfg=attention, feedforward_channels=11, with_cp=with_cp),
        projector=dict(type='LinearProjector', in_channels=8, out_channels=3),
        bbox_head=dict(type='SceneDetectionHead', embed_dims=8))
