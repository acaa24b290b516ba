"""Reading cached scene queries instead of images: losses, answers, checkpoints; blind; bad input."""
from __future__ import annotations

import pytest
import torch
from mmdet3d.registry import MODELS
from mmdet3d.structures import Det3DDataSample
from mmengine.model import BaseModule
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from torch import nn

from scene_qformer.models import NonFiniteLossError, TokenReader
from tests.models.test_scene_qformer import build as build_whole
from tests.models.test_scene_qformer import images, samples


@MODELS.register_module()
class EchoLanguageModel(BaseModule):
    """Its loss is the tokens' mean times a weight plus the number of answers; it answers with what it is given."""

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size, self.weight = hidden_size, nn.Parameter(torch.tensor(2.0))

    def loss(self, scene_tokens, batch_text):
        mean = torch.zeros(()) if scene_tokens is None else scene_tokens.mean()
        return dict(loss_text=self.weight * mean + sum(map(len, batch_text)))

    def generate(self, scene_tokens, batch_text, **options):
        seen = 'nothing' if scene_tokens is None else tuple(scene_tokens.shape[1:])
        return [[f'{seen}: {text["turns"][-1][0]}' for text in texts] for texts in batch_text]


@pytest.fixture(autouse=True)
def mmdet3d_scope():
    init_default_scope('mmdet3d')


def build(**options) -> TokenReader:
    options = {**dict(projector=dict(type='MLPProjector', in_channels=5, hidden_channels=7),
                      language_model=dict(type='EchoLanguageModel', hidden_size=11)), **options}
    return MODELS.build(dict(type='TokenReader', **options))


def batch(shapes=((3, 5), (3, 5)), blind=False, dtype=torch.float32) -> dict:
    """Two frames as a loader collates them, the second with two questions."""
    samples = []
    for number in range(2):
        sample = Det3DDataSample(metainfo=dict(sample_token=f'token{number}'))
        sample.gt_text = [dict(id=f'{number}{k}', type='count', turns=[(f'q{k}?', 'one')]) for k in range(number + 1)]
        samples.append(sample)
    inputs = {} if blind else dict(scene_queries=[torch.randn(shape).to(dtype) for shape in shapes])
    return dict(inputs=inputs, data_samples=samples)


def run(model: TokenReader, data: dict, mode: str):
    return model(**model.data_preprocessor(data), mode=mode)


def test_loss_by_hand_and_its_gradients():
    model, data = build(), batch()
    losses = run(model, data, 'loss')
    tokens = model.projector(torch.stack(data['inputs']['scene_queries']))
    assert losses.keys() == {'loss_text'}
    torch.testing.assert_close(losses['loss_text'], 2 * tokens.mean() + 3)
    losses['loss_text'].backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())


def test_answers_and_tokens():
    model, data = build(), batch(dtype=torch.bfloat16)  # a cache may hold another type than the projector's
    samples = run(model, data, 'predict')
    assert [sample.pred_text for sample in samples] == [['(3, 11): q0?'], ['(3, 11): q0?', '(3, 11): q1?']]
    tokens = run(model, data, 'tensor')
    assert tokens.shape == (2, 3, 11) and tokens.dtype == torch.float32


def test_tokens_of_the_models_width_need_no_projector():
    model = build(projector=None)
    data = batch(((3, 11), (3, 11)))
    torch.testing.assert_close(run(model, data, 'tensor'), torch.stack(data['inputs']['scene_queries']))
    with pytest.raises(ValueError, match="have 5 channels, but the language model's embeddings expected 11"):
        run(model, batch(), 'loss')


def test_a_blind_model_sees_the_text_alone():
    model = build(blind=True)
    for data in (batch(blind=True), batch()):
        assert float(run(model, data, 'loss')['loss_text']) == 3
        assert run(model, data, 'predict')[1].pred_text == ['nothing: q0?', 'nothing: q1?']
        assert run(model, data, 'tensor') is None
    assert model.projector is None


def test_checkpoints_of_the_whole_model_carry_over(tmp_path):
    source, target = build(), build()
    weights = {**source.state_dict(), 'backbone.conv1.weight': torch.zeros(3), 'decoder.x': torch.zeros(2)}
    torch.save(dict(state_dict=weights), tmp_path / 'whole.pth')
    load_checkpoint(target, str(tmp_path / 'whole.pth'))
    for name, value in source.state_dict().items():
        torch.testing.assert_close(target.state_dict()[name], value)
    with pytest.raises(ValueError, match='projector.layers.2.weight: checkpoint .11, 7., model .13, 7.'):
        load_checkpoint(build(language_model=dict(type='EchoLanguageModel', hidden_size=13)),
                        str(tmp_path / 'whole.pth'))


def test_reading_the_cache_is_reading_the_images():
    options = dict(language_model=dict(type='EchoLanguageModel', hidden_size=23),
                   projector=dict(type='MLPProjector', in_channels=12 + 32, hidden_channels=13))
    whole = build_whole(bbox_head=None, token_position=dict(type='PolarTokenPosition'), **options).eval()
    reader, text = build(**options), batch()['data_samples']
    weights = {name: value for name, value in whole.state_dict().items() if name in reader.state_dict()}
    reader.load_state_dict(weights)
    imgs, data_samples = images(), samples()
    for sample, other in zip(data_samples, text):
        sample.gt_text = other.gt_text
    decoded = whole.decode_queries(imgs, [sample.metainfo for sample in data_samples])
    cached = list(whole.token_queries(decoded).detach())
    from_images = whole(dict(imgs=imgs), data_samples, mode='loss')['loss_text']
    from_cache = run(reader, dict(inputs=dict(scene_queries=cached), data_samples=text), 'loss')['loss_text']
    torch.testing.assert_close(from_cache, from_images, rtol=0, atol=0)


def test_names_are_those_of_the_whole_model():
    assert {name.split('.')[0] for name in build().state_dict()} == {'projector', 'language_model'}


def test_bad_input_is_named():
    with pytest.raises(ValueError, match='expects scene_queries .B, Q, C., got no inputs.*LoadSceneTokens.*blind=True'):
        run(build(), batch(blind=True), 'loss')
    with pytest.raises(ValueError, match='have 6 channels, but the projector expected 5. Is it the cache of another'):
        run(build(), batch(((3, 6), (3, 6))), 'loss')
    with pytest.raises(ValueError, match=r'expects scene_queries \(B, Q, C\), got \(3, 5\)'):
        build()(dict(scene_queries=torch.zeros(3, 5)), mode='tensor')
    with pytest.raises(ValueError, match=r'one shape \(Q, C\) in a batch, got \(3, 5\), \(4, 5\)'):
        run(build(), batch(((4, 5), (3, 5))), 'loss')
    data = batch()
    del data['data_samples'][1].gt_text
    with pytest.raises(ValueError, match='token1 without gt_text'):
        run(build(), data, 'loss')
    with pytest.raises(ValueError, match='out_channels is 9, but'):
        build(projector=dict(type='LinearProjector', in_channels=5, out_channels=9))
    with pytest.raises(ValueError, match='takes no train_cfg'):
        build(train_cfg=dict(rate=1))


def test_a_loss_that_is_no_number_stops():
    model = build()
    model.language_model.weight.data.fill_(float('nan'))
    with pytest.raises(NonFiniteLossError, match='loss_text'):
        run(model, batch(), 'loss')
