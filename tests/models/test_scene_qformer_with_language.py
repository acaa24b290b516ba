"""What SceneQFormer asks of a language model, with one that can be followed by hand."""
import pytest
import torch
from mmdet3d.registry import MODELS
from mmengine.model import BaseModule
from torch import nn

from tests.models.test_scene_qformer import build, images, samples


@MODELS.register_module()
class CountingLanguageModel(BaseModule):
    """Answers with the number of scene tokens; its loss is their mean, times a weight."""

    def __init__(self, hidden_size):
        super().__init__()
        self.hidden_size, self.weight = hidden_size, nn.Parameter(torch.tensor(2.))

    def loss(self, scene_tokens, batch_text):
        assert [[text['turns'][0][1] for text in texts] for texts in batch_text] == [['a0'], ['a1', 'b1']]
        self.seen = scene_tokens
        return dict(loss_text=self.weight * scene_tokens.mean() + 5)

    def generate(self, scene_tokens, batch_text):
        return [[f'{tuple(tokens.shape)}' for _ in texts] for tokens, texts in zip(scene_tokens, batch_text)]


LANGUAGE = dict(type='CountingLanguageModel', hidden_size=23)
PROJECTOR = dict(type='MLPProjector', in_channels=12, hidden_channels=13)


def with_text(data_samples):
    for index, sample in enumerate(data_samples):
        sample.gt_text = [dict(id=f'{letter}{index}', type='x', turns=[('?', f'{letter}{index}')])
                          for letter in 'ab'[:index + 1]]
    return data_samples


def test_the_projector_takes_the_models_width():
    model = build(language_model=LANGUAGE, projector=PROJECTOR)
    assert model(images(), mode='tensor').shape == (2, 7, 23)
    with pytest.raises(ValueError, match="out_channels is 19, but the language model's embeddings have 23 numbers"):
        build(language_model=LANGUAGE)


@pytest.mark.parametrize('denoising', [None, dict(type='QueryDenoising', embed_dims=12)])
def test_the_language_loss_joins_the_heads_and_reaches_the_queries(denoising):
    model = build(language_model=LANGUAGE, projector=PROJECTOR, denoising=denoising).train()
    losses = model(dict(imgs=images()), with_text(samples()), mode='loss')
    assert losses['loss_text'].item() == pytest.approx(2 * model.language_model.seen.mean().item() + 5)
    assert {'loss_cls', 'loss_bbox'} < set(losses) and model.language_model.seen.shape == (2, 7, 23)
    losses['loss_text'].backward()
    for part in (model.projector, model.decoder.layers[-1], model.scene_queries, model.backbone):
        assert any(value.grad is not None and value.grad.any() for value in part.parameters())
    assert all(value.grad is None for value in model.bbox_head.parameters())


def test_denoising_queries_are_no_tokens():
    torch.manual_seed(3)
    model = build(language_model=LANGUAGE, projector=PROJECTOR,
                  denoising=dict(type='QueryDenoising', embed_dims=12)).eval()  # no dropout
    with torch.no_grad():
        model(dict(imgs=images()), with_text(samples()), mode='loss')
        torch.testing.assert_close(model.language_model.seen, model(images(), mode='tensor'))


def test_without_a_head_no_box_is_needed():
    model = build(language_model=LANGUAGE, projector=PROJECTOR, bbox_head=None)
    data_samples = with_text(samples())
    for sample in data_samples:
        del sample.gt_instances_3d
    assert set(model(dict(imgs=images()), data_samples, mode='loss')) == {'loss_text'}


def test_predict_answers_and_detects():
    model = build(language_model=LANGUAGE, projector=PROJECTOR).eval()
    predicted = model(dict(imgs=images()), with_text(samples()), mode='predict')
    assert [sample.pred_text for sample in predicted] == [['(7, 23)'], ['(7, 23)', '(7, 23)']]
    assert all('pred_instances_3d' in sample for sample in predicted)
    predicted = model(dict(imgs=images()), samples(), mode='predict')  # nothing is asked
    assert all('pred_text' not in sample and 'pred_instances_3d' in sample for sample in predicted)


def test_missing_questions_are_named():
    model = build(language_model=LANGUAGE, projector=PROJECTOR)
    data_samples = with_text(samples())
    del data_samples[1].gt_text
    for mode in ('loss', 'predict'):
        with pytest.raises(ValueError, match='sample token1 without gt_text.*DrivingQuestionsDataset'):
            model(dict(imgs=images()), data_samples, mode=mode)
