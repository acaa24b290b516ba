"""Tokens that cannot be computed: a model without images, numbers that are not finite, no frames to calibrate on."""
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from scene_qformer.token_extraction import build_split, calibration_frames, compute_tokens, load_encoder
from tests.small_encoder import make_small_encoder

AREA = 'Token caches'


@pytest.fixture(scope='module')
def encoder(tmp_path_factory):
    return make_small_encoder(tmp_path_factory.mktemp('encoder'))


@pytest.mark.fault(area=AREA, fault='tokens are to be extracted with a model that reads no images', expected='refused',
                   remedy='Give the config and the checkpoint that the encoder was trained with.')
@pytest.mark.parametrize('model', ['TokenReader', 'NoSuchModel'])
def test_no_images(encoder, tmp_path, show, model):
    path = tmp_path / 'reader.py'
    path.write_text(f"_base_ = '{encoder.config}'\nmodel = dict(_delete_=True, type='{model}')\n")
    with pytest.raises(ValueError, match=f'a model that reads images, such as .*reader.py is a {model}') as caught:
        load_encoder(Config.fromfile(str(path)), encoder.checkpoint)
    if model == 'TokenReader':
        show(caught.value)


@pytest.mark.fault(area=AREA, fault='an encoder gives tokens that are not finite',
                   expected='said of which samples; none is kept',
                   remedy='Of one sample: look at its images and calibration. Of all: use another checkpoint, or no '
                          'float16.')
@pytest.mark.parametrize('space', ['queries', 'tokens'])
@pytest.mark.parametrize('number', [float('nan'), float('inf')])
def test_not_finite(encoder, tmp_path, show, space, number):
    state = torch.load(encoder.checkpoint, weights_only=True)
    name = next(name for name in state['state_dict'] if name.startswith('decoder.') and name.endswith('norm.weight')
                or name.startswith('decoder.') and 'norms' in name)
    state['state_dict'][name].fill_(number)
    torch.save(state, tmp_path / 'broken.pth')
    model = load_encoder(encoder.cfg, tmp_path / 'broken.pth', space=space)
    batch = pseudo_collate([build_split(encoder.cfg, 'val')[index] for index in range(2)])
    with pytest.raises(FloatingPointError, match='sample scene-0103-sample-0, scene-0103-sample-1 are not') as caught:
        compute_tokens(model, batch, space)
    show(caught.value)


@pytest.mark.fault(area='Fast inference', fault='INT8 is to be calibrated on training frames that are not there',
                   expected='said why, and what else can be given',
                   remedy='Give frames: SceneTokenizer(..., calibration=[(images, cameras), ...]); or put the training '
                          'data where the config has it.')
@pytest.mark.parametrize('case', ['no info file', 'another version'])
def test_no_calibration(encoder, show, case):
    cfg = encoder.cfg
    if case == 'no info file':
        cfg.train_dataloader.dataset.ann_file = 'nowhere.pkl'
    else:
        cfg.train_dataloader.dataset.metainfo = dict(version='v1.0-trainval')
    with pytest.raises(ValueError, match="(?s)precision='int8' is calibrated on training frames .* Give ") as caught:
        calibration_frames(cfg)
    show(caught.value)
