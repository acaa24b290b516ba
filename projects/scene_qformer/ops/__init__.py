"""Accelerated operators, each beside a readable twin.

Deformable attention samples a few points of a feature map instead of reading all of it (Deformable DETR, Zhu et al.,
arXiv 2010.04159, eq. 2 and 3). There are three ways to the same result, with the same signature, all differentiable:

- :func:`reference_deformable_attention`: plain PyTorch that is easy to check; any device, any floating dtype.
- :func:`vectorized_deformable_attention`: for CPUs.
- :func:`triton_deformable_attention`: fused Triton kernels for GPUs.

:func:`reference_surround_attention` and :func:`triton_surround_attention` look into several cameras at once.
"""
from .deformable_reference import reference_deformable_attention, reference_surround_attention
from .deformable_triton import triton_deformable_attention, triton_surround_attention
from .deformable_vectorized import vectorized_deformable_attention

__all__ = [
    'reference_deformable_attention', 'reference_surround_attention', 'triton_deformable_attention',
    'triton_surround_attention', 'vectorized_deformable_attention'
]
