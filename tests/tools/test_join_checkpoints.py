"""An encoder and what was trained behind it become one model again."""
import sys

import pytest
import torch

from scene_qformer.engine import load_from_safe_file
from scene_qformer.token_cache.provenance import weights_sha256_of
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


def test_a_reader_of_tokens_from_behind_the_projector(tmp_path):
    """It has none, and what its tokens went through is kept; an older language model is not."""
    joined = join_checkpoints.join(dict(state_dict=ENCODER), dict(state_dict={'language_model.lora': torch.ones(2)}))
    assert {name: value.tolist() for name, value in joined['state_dict'].items()} == {
        'backbone.x': [0] * 2, 'projector.w': [0] * 3, 'language_model.lora': [1] * 2}


@pytest.mark.parametrize('space', ['queries', 'tokens'])
def test_another_encoder_is_refused(space):
    """What the cache was made from stands in the meta of the data set, which mmengine writes into checkpoints."""
    source = dict(space=space, weights_sha256=weights_sha256_of(ENCODER, space))
    reader = dict(state_dict=READER, meta=dict(dataset_meta=dict(scene_tokens=source)))
    join_checkpoints.join(dict(state_dict=ENCODER), reader)
    other = {**ENCODER, 'backbone.x': torch.full((2, ), 9.)}
    with pytest.raises(ValueError, match='not of the encoder whose cached tokens the TokenReader was trained on'):
        join_checkpoints.join(dict(state_dict=other), reader)


def test_bad_input_is_a_sentence(tmp_path, monkeypatch):
    torch.save(dict(state_dict=READER), tmp_path / 'b.pth')
    for encoder, message in ((tmp_path / 'nowhere.pth', 'join_checkpoints.py: There is no checkpoint .*nowhere.pth'),
                             (tmp_path / 'b.pth', 'join_checkpoints.py: Expected the first checkpoint to be of a')):
        monkeypatch.setattr(sys, 'argv', ['join', str(encoder), str(tmp_path / 'b.pth'), '--out', str(tmp_path / 'c')])
        with pytest.raises(SystemExit, match=message):
            join_checkpoints.main()
    assert not (tmp_path / 'c').exists()
