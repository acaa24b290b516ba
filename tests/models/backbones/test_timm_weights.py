import os

import pytest
import safetensors.torch
import torch
from timm_by_hand import import_timm, with_weights_of

from scene_qformer.models import TimmBackbone


def timm_model(name='test_vit', **kwargs):
    return import_timm().create_model(name, pretrained=False, **kwargs).eval()


def write(model_or_dict, path):
    weights = model_or_dict if isinstance(model_or_dict, dict) else model_or_dict.state_dict()
    safetensors.torch.save_file(weights, path)
    return str(path)


def load(name, checkpoint, **kwargs):
    backbone = TimmBackbone(name, init_cfg=dict(type='Pretrained', checkpoint=str(checkpoint)), **kwargs).eval()
    backbone.init_weights()
    return backbone


@pytest.mark.parametrize('name', ['test_vit', 'test_convnext', 'test_resnet', 'test_efficientnet'])
def test_what_timm_writes_is_loaded(name, tmp_path):
    theirs = timm_model(name)
    backbone = load(name, write(theirs, tmp_path / 'model.safetensors'))
    weights = theirs.state_dict()
    loaded = backbone.model.state_dict()
    assert len(loaded) > 20
    assert all(torch.equal(weights[key], tensor) for key, tensor in loaded.items())


@pytest.mark.parametrize('wrap', [lambda weights: weights, lambda weights: dict(state_dict=weights, epoch=3),
                                  lambda weights: dict(model=weights, args=dict(lr=0.1))])
def test_torch_files(wrap, tmp_path):
    theirs = timm_model()
    torch.save(wrap(theirs.state_dict()), tmp_path / 'model.pth')
    assert torch.equal(load('test_vit', tmp_path / 'model.pth').model.pos_embed, theirs.pos_embed)


def test_position_embeddings_are_resampled_to_the_image(tmp_path):
    """As timm itself does when it builds a pretrained model for another size."""
    checkpoint = write(timm_model(img_size=160), tmp_path / 'model.safetensors')
    theirs = import_timm().create_model(
        'test_vit', pretrained=True, img_size=(64, 96), pretrained_cfg_overlay=dict(file=checkpoint)).eval()
    backbone = load('test_vit', checkpoint, img_size=(64, 96))
    assert backbone.model.pos_embed.shape == (1, 1 + 4 * 6, 64)
    assert torch.equal(backbone.model.pos_embed, theirs.pos_embed)
    imgs = torch.randn(1, 3, 64, 96)
    tokens = theirs.forward_features(imgs)[:, 1:]
    assert torch.allclose(backbone(imgs)[0], tokens.transpose(1, 2).reshape(1, 64, 4, 6), atol=1e-5)


def test_relative_positions_are_resampled_to_the_window(tmp_path):
    kwargs = dict(embed_dim=6, depths=(1, 1, 1, 1), num_heads=(1, 1, 2, 2))
    name = 'swin_tiny_patch4_window7_224'
    checkpoint = write(timm_model(name, window_size=7, **kwargs), tmp_path / 'model.safetensors')
    backbone = load(name, checkpoint, model_kwargs=dict(window_size=4, **kwargs))
    assert backbone.model.layers[0].blocks[0].attn.relative_position_bias_table.shape == (7 * 7, 1)


def test_half_precision_file(tmp_path):
    weights = {key: tensor.half() for key, tensor in timm_model().state_dict().items()}
    backbone = load('test_vit', write(weights, tmp_path / 'model.safetensors'))
    assert backbone.model.pos_embed.dtype == torch.float32
    assert torch.equal(backbone.model.pos_embed, weights['pos_embed'].float())


def test_text_tower_and_pretraining_head_are_left_out(tmp_path):
    weights = timm_model().state_dict() | {'lm_head.weight': torch.ones(2), 'text.blocks.0.weight': torch.ones(2)}
    load('test_vit', write(weights, tmp_path / 'model.safetensors'))


@pytest.mark.parametrize(('kwargs', 'message'), [
    (dict(depth=8), r'weights of the file are unknown to the model: blocks.6.'),
    (dict(depth=5), r'weights are missing in the file: blocks.5.'),
    (dict(embed_dim=32), r'weights have another shape: cls_token \(file \(1, 1, 32\), model \(1, 1, 64\)\), '),
])
def test_file_of_another_vit(kwargs, message, tmp_path):
    checkpoint = write(timm_model(**kwargs), tmp_path / 'model.safetensors')
    with pytest.raises(ValueError, match=f'(?s)does not fit VisionTransformer:.*{message}.*belongs to the name'):
        load('test_vit', checkpoint)


@pytest.mark.parametrize(('name', 'other'), [
    ('test_vit', 'test_resnet'), ('test_convnext', 'test_vit'), ('test_resnet', 'test_convnext'),
    ('swin_tiny_patch4_window7_224', 'test_vit')])
def test_file_of_another_architecture(name, other, tmp_path):
    checkpoint = write(timm_model(other), tmp_path / 'model.safetensors')
    with pytest.raises(ValueError, match=r'(?s)does not fit.*(weights are missing in the file|another model)'):
        load(name, checkpoint)


def test_a_failed_load_changes_nothing(tmp_path):
    backbone = TimmBackbone(
        'test_vit', init_cfg=dict(type='Pretrained', checkpoint=write(timm_model(depth=5), tmp_path / 'a.safetensors')))
    before = {key: tensor.clone() for key, tensor in backbone.state_dict().items()}
    with pytest.raises(ValueError, match='does not fit'):
        backbone.init_weights()
    assert all(torch.equal(before[key], tensor) for key, tensor in backbone.state_dict().items())


def test_weights_are_loaded_once(tmp_path):
    backbone = load('test_vit', write(timm_model(), tmp_path / 'a.safetensors'))
    with torch.no_grad():
        backbone.model.cls_token.fill_(7)
    backbone.init_weights()
    assert (backbone.model.cls_token == 7).all()


@pytest.mark.parametrize(('checkpoint', 'error', 'message'), [
    ('nowhere.safetensors', FileNotFoundError, 'There is no checkpoint nowhere.safetensors'),
    ('https://huggingface.co/timm/test_vit/model.safetensors', ValueError, 'not a local file, and nothing is downl'),
])
def test_only_local_files(checkpoint, error, message):
    with pytest.raises(error, match=message):
        load('test_vit', checkpoint)


class RunsCommand:
    def __reduce__(self):
        return os.system, ('false', )


def test_a_file_that_carries_code_is_refused(tmp_path):
    torch.save(dict(state_dict=timm_model().state_dict(), extra=RunsCommand()), tmp_path / 'model.pth')
    with pytest.raises(ValueError, match='carries more than weights'):
        load('test_vit', tmp_path / 'model.pth')


def test_round_trip_of_the_backbone_itself():
    backbone, other = TimmBackbone('test_convnext').eval(), TimmBackbone('test_convnext').eval()
    imgs = torch.randn(1, 3, 64, 64)
    assert not torch.allclose(backbone(imgs)[0], other(imgs)[0], atol=1e-3)
    other.load_state_dict(backbone.state_dict())
    assert torch.equal(backbone(imgs)[0], other(imgs)[0])


def test_by_hand_helper_takes_the_weights():
    backbone = TimmBackbone('test_vit')
    assert torch.equal(with_weights_of(backbone, 'test_vit').pos_embed, backbone.model.pos_embed)
