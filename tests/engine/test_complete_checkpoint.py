"""A checkpoint that would leave a part of the model at random is refused."""
from __future__ import annotations

import pytest
import torch
from torch import nn

from scene_qformer.engine import DETECTION_PARTS, checkpoint_weights, require_weights


@pytest.fixture
def model():
    return nn.ModuleDict(dict(backbone=nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2)), bbox_head=nn.Linear(2, 5)))


def saved(path, weights, prefix=''):
    torch.save(dict(state_dict={prefix + name: value for name, value in weights.items()}), path)
    return path


def test_all_is_there(model, tmp_path):
    require_weights(model, saved(tmp_path / 'a.pth', model.state_dict()))
    require_weights(model, saved(tmp_path / 'b.pth', model.state_dict(), prefix='module.'))
    assert checkpoint_weights(tmp_path / 'b.pth').keys() == model.state_dict().keys()
    torch.save(dict(model.state_dict(), more=torch.zeros(1)), tmp_path / 'c.pth')
    require_weights(model, tmp_path / 'c.pth')


def test_counters_and_marks_may_be_missing(model, tmp_path):
    model['language_model'] = nn.Module()
    model['language_model'].register_buffer('llm_fingerprint', torch.zeros(33))
    weights = {name: value for name, value in model.state_dict().items() if 'num_batches_tracked' not in name
               and 'fingerprint' not in name}
    assert len(weights) == len(model.state_dict()) - 2
    require_weights(model, saved(tmp_path / 'a.pth', weights))


def test_a_part_is_missing(model, tmp_path):
    weights = model.state_dict()
    path = saved(tmp_path / 'head.pth', {name: weights[name] for name in weights if name.startswith('bbox_head')})
    with pytest.raises(ValueError, match='head.pth lacks 6 weights of backbone, such as backbone.0.bias; it has '
                                         'bbox_head. They would be random. .* language model and adapters.$'):
        require_weights(model, path)
    path = saved(tmp_path / 'reader.pth', {'projector.w': torch.zeros(2)})
    with pytest.raises(ValueError, match='TokenReader.*join_checkpoints.py'):
        require_weights(model, path)
    path = saved(tmp_path / 'backbone.pth', {name: weights[name] for name in weights if name.startswith('backbone')})
    with pytest.raises(ValueError, match='lacks 2 weights of bbox_head, such as bbox_head.bias; it has backbone'):
        require_weights(model, path)
    require_weights(model, path, DETECTION_PARTS)
