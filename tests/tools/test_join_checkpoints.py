"""An encoder and what was trained behind it become one model again."""
import sys

import pytest
import torch

from scene_qformer.engine import load_from_safe_file
from tools import join_checkpoints

ENCODER = {'backbone.x': torch.zeros(2), 'projector.w': torch.zeros(3), 'language_model.w': torch.zeros(5)}
READER = {'projector.w': torch.ones(7), 'language_model.w': torch.ones(5)}


def test_each_part_comes_from_where_it_was_trained(tmp_path, monkeypatch):
    torch.save(dict(state_dict=ENCODER, meta=dict(dataset_meta=dict(classes=('car', )), epoch=3)), tmp_path / 'a.pth')
    torch.save(dict(state_dict=READER, meta=dict(epoch=9)), tmp_path / 'b.pth')
    out = tmp_path / 'folder' / 'whole.pth'
    monkeypatch.setattr(sys, 'argv', ['join', str(tmp_path / 'a.pth'), str(tmp_path / 'b.pth'), '--out', str(out)])
    join_checkpoints.main()
    joined = load_from_safe_file(str(out))
    assert {name: value.tolist() for name, value in joined['state_dict'].items()} == {
        'backbone.x': [0] * 2, 'projector.w': [1] * 7, 'language_model.w': [1] * 5}
    assert joined['meta'] == dict(dataset_meta=dict(classes=('car', )))


def test_the_wrong_way_round():
    with pytest.raises(ValueError, match='second checkpoint to be of a TokenReader.*also has backbone.x'):
        join_checkpoints.join(dict(state_dict=READER), dict(state_dict=ENCODER))
    with pytest.raises(ValueError, match='first checkpoint to be of a model that reads images'):
        join_checkpoints.join(dict(state_dict=READER), dict(state_dict=READER))
