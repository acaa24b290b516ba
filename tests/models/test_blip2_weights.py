import pytest
import safetensors.torch
import torch
from small_blip2 import ours, theirs

from scene_qformer.models import Blip2QueryDecoder, SceneQueries, load_blip2_query_tokens, load_blip2_weights


def whole_model(qformer):
    """State dict of a whole BLIP-2 model."""
    return {
        'query_tokens': torch.zeros(1, 7, 21),
        'vision_model.encoder.layers.0.mlp.fc1.weight': torch.zeros(3, 2),
        'language_projection.weight': torch.zeros(5, 21),
        **{f'qformer.{name}': tensor for name, tensor in qformer.state_dict().items()},
    }


def test_whole_model_with_text_branch():
    reference, decoder = theirs(text=True), ours()
    report = load_blip2_weights(decoder, {**whole_model(reference), 'qformer.embeddings.word_embeddings.weight':
                                          torch.zeros(13, 21)})
    for name, parameter in decoder.named_parameters():
        assert torch.equal(parameter, reference.state_dict()[name]), name
    assert 'embeddings.word_embeddings.weight' in report.text_branch
    assert 'encoder.layer.4.intermediate.dense.weight' in report.text_branch
    assert 'encoder.layer.0.output.LayerNorm.bias' in report.text_branch
    assert len(report.text_branch) == 1 + 5 * 6  # a layer: two linear layers and a LayerNorm
    assert report.other_parts == [
        'query_tokens', 'vision_model.encoder.layers.0.mlp.fc1.weight', 'language_projection.weight']
    assert str(report) == (f'BLIP-2 weights: {len(report.loaded)} loaded, 0 left as initialised, not used: 31 of the '
                           'text branch, 3 of other parts (language_projection, query_tokens, vision_model)')


def test_memory_of_another_width():
    reference, decoder = theirs(), ours(memory_dims=29)
    with pytest.raises(ValueError, match=r'6 weights .*key.weight: checkpoint \(21, 11\), decoder \(21, 29\)'):
        load_blip2_weights(decoder, reference.state_dict())
    memory_projections = ('crossattention.attention.key', 'crossattention.attention.value')
    before = {name: tensor.clone() for name, tensor in decoder.state_dict().items()}
    report = load_blip2_weights(decoder, reference.state_dict(), fresh=memory_projections)
    assert len(report.fresh) == 3 * 2 * 2  # layers 0, 2, 4; key and value; weight and bias
    for name, tensor in decoder.state_dict().items():
        kept = any(part in name for part in memory_projections)
        assert torch.equal(tensor, before[name] if kept else reference.state_dict()[name]), name


def test_position_code_is_not_of_blip2():
    decoder = ours(embed_dims=24, encode_reference_points=True)
    report = load_blip2_weights(decoder, theirs(embed_dims=24).state_dict())
    assert report.fresh == [f'position_mlp.{name}' for name in ('0.weight', '0.bias', '2.weight', '2.bias')]


@pytest.mark.parametrize(('build', 'message'), [
    (dict(num_layers=6), r'lacks encoder\.layer\.5\.attention.*Set num_layers'),
    (dict(num_layers=3), r'has encoder\.layer\.3\..*which the decoder lacks'),
    (dict(cross_attention_frequency=4), r'has encoder\.layer\.2\.crossattention'),
    (dict(cross_attention_frequency=1), r'lacks encoder\.layer\.1\.crossattention'),
])
def test_another_layout_is_refused(build, message):
    decoder = ours(**build)
    before = decoder.layernorm.weight.clone()
    with pytest.raises(ValueError, match=message):
        load_blip2_weights(decoder, theirs().state_dict())
    assert torch.equal(decoder.layernorm.weight, before)


@pytest.mark.parametrize('suffix', ['safetensors', 'pth'])
def test_init_cfg_reads_a_local_file(tmp_path, suffix):
    reference, path = theirs(), tmp_path / f'blip2.{suffix}'
    tensors = {name: tensor.clone() for name, tensor in whole_model(reference).items()}
    safetensors.torch.save_file(tensors, path) if suffix == 'safetensors' else torch.save(tensors, path)
    decoder = ours(init_cfg=dict(type='Blip2QFormerInit', checkpoint=str(path)))
    decoder.init_weights()
    assert all(torch.equal(parameter, reference.state_dict()[name]) for name, parameter in decoder.named_parameters())


def test_init_cfg_without_the_file():
    decoder = Blip2QueryDecoder(num_layers=1, init_cfg=dict(type='Blip2QFormerInit', checkpoint='nowhere.safetensors'))
    with pytest.raises(FileNotFoundError, match='There is no checkpoint nowhere.safetensors'):
        decoder.init_weights()


def whole_model_with_tokens(num_queries=7, embed_dims=21):
    return {**whole_model(theirs()), 'query_tokens': torch.randn(1, num_queries, embed_dims)}


@pytest.mark.parametrize('suffix', ['safetensors', 'pth'])
def test_query_tokens_become_the_content(tmp_path, suffix):
    tensors, path = whole_model_with_tokens(), tmp_path / f'blip2.{suffix}'
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    safetensors.torch.save_file(tensors, path) if suffix == 'safetensors' else torch.save(tensors, path)
    init = dict(type='Blip2QueryTokensInit', checkpoint=str(path))
    queries, fresh = SceneQueries(7, 21, init_cfg=init), SceneQueries(7, 21)
    for module in (queries, fresh):
        module.init_weights()
    assert torch.equal(queries.query_embedding.weight, tensors['query_tokens'][0])
    assert queries.query_embedding.weight.requires_grad
    assert torch.equal(queries.reference_points.weight, fresh.reference_points.weight)


def test_query_tokens_of_another_shape():
    state = whole_model_with_tokens()
    with pytest.raises(ValueError, match=r'= \(1, 5, 21\), .* got \(1, 7, 21\)\. Set num_queries and embed_dims'):
        load_blip2_query_tokens(SceneQueries(5, 21), state)
    with pytest.raises(ValueError, match=r'got \(7, 21\)'):
        load_blip2_query_tokens(SceneQueries(7, 21), {'query_tokens': state['query_tokens'][0]})


def test_the_qformer_alone_has_no_query_tokens():
    with pytest.raises(ValueError, match='no query_tokens; it has .* more. .*give the file of the whole model'):
        load_blip2_query_tokens(SceneQueries(7, 21), theirs().state_dict())
