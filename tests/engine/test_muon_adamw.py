"""Which parameter is whose, and that each part is torch's own optimizer."""
import copy

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from scene_qformer.engine import MuonAdamW

OPTIMIZER = dict(type='MuonAdamW', lr=0.01, muon_lr=0.03, weight_decay=0.1, betas=(0.8, 0.9), momentum=0.7)


class Reader(nn.Module):
    def __init__(self, tied=True):
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(11, 5)
        self.norm = nn.LayerNorm(5)
        self.hidden, self.frozen = nn.Linear(5, 7), nn.Linear(7, 7)
        self.out, self.words = nn.Linear(7, 5, bias=False), nn.Linear(5, 11, bias=False)
        self.frozen.requires_grad_(False)
        if tied:
            self.words.weight = self.embed.weight

    def get_output_embeddings(self):
        return self.words

    def forward(self, ids):
        return self.words(self.out(self.frozen(torch.relu(self.hidden(self.norm(self.embed(ids)))))))


def wrapper_of(model, **optimizer):
    return build_optim_wrapper(model, dict(constructor='MuonOptimWrapperConstructor', clip_grad=dict(max_norm=1),
                                           optimizer={**OPTIMIZER, **optimizer}))


def train(model, steps, *optimizers, start=0):
    for step in range(start, start + steps):
        for optimizer in optimizers:
            optimizer.zero_grad()
        model(torch.arange(step, step + 3) % 11).logsumexp(-1).sum().backward()
        for optimizer in optimizers:
            optimizer.step()


@pytest.mark.parametrize('tied', [True, False])
def test_hidden_matrices_are_for_muon(tied):
    model = Reader(tied)
    parts = wrapper_of(model).optimizer.parts
    names = {id(value): name for name, value in model.named_parameters()}
    found = {part: {names[id(value)] for group in optimizer.param_groups for value in group['params']}
             for part, optimizer in parts.items()}
    assert found['muon'] == {'hidden.weight', 'out.weight'}
    assert found['adamw'] == {'embed.weight', 'norm.weight', 'norm.bias', 'hidden.bias'} | (
        set() if tied else {'words.weight'})


def test_steps_are_torchs():
    model, twin = Reader(), Reader()
    optimizer = wrapper_of(model).optimizer
    matrices = [twin.hidden.weight, twin.out.weight]
    others = [twin.embed.weight, *twin.norm.parameters(), twin.hidden.bias]
    train(model, 5, optimizer)
    train(twin, 5, torch.optim.Muon(matrices, lr=0.03, weight_decay=0.1, momentum=0.7, adjust_lr_fn='match_rms_adamw'),
          torch.optim.AdamW(others, lr=0.01, weight_decay=0.1, betas=(0.8, 0.9)))
    for value, expected, start in zip(model.parameters(), twin.parameters(), Reader().parameters()):
        torch.testing.assert_close(value, expected, rtol=0, atol=0)
        assert value.requires_grad != torch.equal(value, start)


def test_goes_on_where_it_stopped():
    whole, half = Reader(), Reader()
    train(whole, 6, wrapper_of(whole).optimizer)
    first = wrapper_of(half)
    train(half, 3, first.optimizer)
    resumed = Reader()
    resumed.load_state_dict(half.state_dict())
    second = wrapper_of(resumed)
    second.load_state_dict(first.state_dict())
    train(resumed, 3, second.optimizer, start=3)
    for value, expected in zip(resumed.parameters(), whole.parameters()):
        torch.testing.assert_close(value, expected, rtol=0, atol=0)
    with pytest.raises(ValueError, match='state of MuonAdamW .muon, adamw., got state, param_groups'):
        second.load_state_dict(torch.optim.SGD(resumed.parameters(), lr=1).state_dict())


def test_schedules_and_clipping_reach_both_parts():
    model = Reader()
    wrapper = wrapper_of(model)
    assert [group['lr'] for group in wrapper.optimizer.param_groups] == [0.03, 0.01]
    for group in wrapper.optimizer.param_groups:
        group['lr'] = 0.
    before = {name: value.clone() for name, value in model.named_parameters()}
    wrapper.update_params(model(torch.arange(3)).sum() * 1e6)
    assert all(torch.equal(value, before[name]) for name, value in model.named_parameters())
    model(torch.arange(3)).sum().mul(1e6).backward()
    wrapper._clip_grad()
    norm = sum(value.grad.square().sum() for value in model.parameters() if value.requires_grad) ** 0.5
    assert norm.item() == pytest.approx(1, abs=1e-4)


def test_a_checkpoint_of_mixed_precision_goes_on_without():
    model = Reader()
    optimizer = wrapper_of(model).optimizer
    train(model, 2, optimizer)
    fresh = wrapper_of(model).optimizer
    fresh.load_state_dict({**optimizer.state_dict(), 'loss_scaler': dict(scale=2.)})
    assert fresh.parts['muon'].state[model.out.weight]['momentum_buffer'].any()


def test_copies_and_later_parameters():
    model = Reader()
    optimizer = wrapper_of(model).optimizer
    copied = copy.deepcopy(optimizer)
    assert copied.parts.keys() == optimizer.parts.keys() and copied.parts['muon'] is not optimizer.parts['muon']
    with pytest.raises(RuntimeError, match='takes no parameters later'):
        optimizer.add_param_group(dict(params=[nn.Parameter(torch.ones(2))]))


def test_a_model_without_matrices_or_without_others():
    assert list(wrapper_of(nn.Conv2d(2, 3, 1)).optimizer.parts) == ['adamw']
    assert list(wrapper_of(nn.Linear(2, 3, bias=False)).optimizer.parts) == ['muon']


def test_torch_without_muon_is_named(monkeypatch):
    monkeypatch.delattr(torch.optim, 'Muon')
    with pytest.raises(ImportError, match='needs torch 2.9 or later.*AdamW'):
        wrapper_of(Reader())


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="constructor='MuonOptimWrapperConstructor'"):
        MuonAdamW(Reader().parameters())
    with pytest.raises(ValueError, match='takes no paramwise_cfg'):
        build_optim_wrapper(Reader(), dict(constructor='MuonOptimWrapperConstructor', optimizer=OPTIMIZER,
                                           paramwise_cfg=dict(norm_decay_mult=0)))
