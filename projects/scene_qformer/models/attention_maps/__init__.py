"""Where queries look: attention maps of every cross-attention, computed beside the model and not inside it."""
from . import deformable, joint, softmax  # each registers the weights of its classes
from .recorder import AttentionRecording, record_attention
from .weights import attention_weights

__all__ = ['AttentionRecording', 'attention_weights', 'deformable', 'joint', 'record_attention', 'softmax']
