"""A small BLIP-2 Q-Former twice, transformers' and ours, and what goes in."""
import torch
from mmdet3d.registry import MODELS
from transformers import Blip2QFormerConfig, Blip2QFormerModel

SMALL = dict(num_layers=5, embed_dims=21, memory_dims=11, num_heads=3, feedforward_channels=17)


def theirs(cross_attention_frequency=2, text=False, **kwargs):
    """transformers' model; its random weights are spread wide, so that nothing is close by chance."""
    sizes = {**SMALL, **kwargs}
    config = Blip2QFormerConfig(
        hidden_size=sizes['embed_dims'], encoder_hidden_size=sizes['memory_dims'],
        num_hidden_layers=sizes['num_layers'], num_attention_heads=sizes['num_heads'],
        intermediate_size=sizes['feedforward_channels'], cross_attention_frequency=cross_attention_frequency,
        use_qformer_text_input=text, vocab_size=13)
    model = Blip2QFormerModel(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def ours(**kwargs):
    return MODELS.build(dict(type='Blip2QueryDecoder', **{**SMALL, **kwargs})).eval()


def inputs(embed_dims=21, memory_dims=11, num_queries=7, num_keys=2 * 15, batch_size=2):
    value = torch.randn(batch_size, num_keys, memory_dims)
    return dict(
        query=torch.randn(batch_size, num_queries, embed_dims),
        reference_points=torch.rand(batch_size, num_queries, 3),
        key=torch.full_like(value, float('nan')),  # not to be read
        key_pos=torch.full_like(value, float('nan')),
        value=value,
        spatial_shapes=torch.tensor([[3, 5], [3, 5]]),
        level_start_index=torch.tensor([0, 15]))
