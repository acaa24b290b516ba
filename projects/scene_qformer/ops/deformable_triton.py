"""Deformable attention by Triton kernels, as operators of ``torch.library``.

``torch.compile`` takes the operators as they are and CUDA graphs capture them (after a first call, which compiles the
kernels): shapes come as Python integers, and nothing waits for the device. float32, float16 and bfloat16, also mixed;
arithmetic is float32. Any number of samples, queries, heads, levels and points, any width of the heads.

Without a GPU the kernels run in Triton's interpreter, slowly, if ``TRITON_INTERPRET=1`` is set before Triton is first
imported: so they are tested.
"""
from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .deformable_inputs import Shapes, check_deformable_inputs, check_surround_inputs

# (queries, channels) of a program: 4 numbers a thread, 16 bytes of float32. Chosen by counting, not by measuring.
TILE = 512
MAX_QUERIES_PER_PROGRAM = 128
# Tuples as arguments of kernels. Comes with PyTorch 2.7.
OLDEST_TRITON = (3, 3)


def triton_deformable_attention(value: Tensor, spatial_shapes: Shapes, locations: Tensor, logits: Tensor) -> Tensor:
    """As :func:`reference_deformable_attention`. Differentiable once.

    Raises:
        ValueError: If the shapes do not fit each other.
        RuntimeError: If there is no Triton, an old one, or the tensors are not on a GPU and Triton does not interpret.
    """
    check_deformable_inputs(value, spatial_shapes, locations, logits)
    _check_offsets(value, spatial_shapes)
    return _attend(value[:, None], _sides(spatial_shapes), locations, logits, None, None)


def triton_surround_attention(value: Tensor, spatial_shapes: Shapes, projections: Tensor, visible: Tensor,
                              offsets: Tensor, logits: Tensor) -> Tensor:
    """As :func:`reference_surround_attention`. Differentiable once.

    Raises:
        ValueError: If the shapes do not fit each other.
        RuntimeError: If there is no Triton, an old one, or the tensors are not on a GPU and Triton does not interpret.
    """
    check_surround_inputs(value, spatial_shapes, projections, visible, offsets, logits)
    _check_offsets(value, spatial_shapes)
    return _attend(value, _sides(spatial_shapes), offsets, logits, projections, visible)


# Schemas, as PyTorch 2.4 and 2.5 cannot read these annotations
@torch.library.custom_op('scene_qformer::deformable_attention', mutates_args=(),
                         schema='(Tensor value, SymInt[] sides, Tensor places, Tensor logits, Tensor? projections, '
                                'Tensor? visible) -> Tensor')
def _attend(value: Tensor, sides: Sequence[int], places: Tensor, logits: Tensor, projections: Tensor | None,
            visible: Tensor | None) -> Tensor:
    """``value`` is (B, N, K, heads, D); ``projections`` and ``visible`` are both given or both None."""
    kernels = _load_kernels(value)
    value, places, logits, projections, visible = _contiguous(value, places, logits, projections, visible)
    out = value.new_zeros(*logits.shape[:2], logits.shape[2] * value.shape[-1])
    if out.numel() and value.numel():
        with torch.cuda.device_of(value):
            grid, sizes, blocks = _plan(value, sides, places, projections)
            kernels.forward_kernel[grid](out, value, places, logits, projections, _bytes(visible), tuple(sides),
                                         *sizes, **blocks)
    return out


@torch.library.custom_op('scene_qformer::deformable_attention_backward', mutates_args=(),
                         schema='(Tensor grad, Tensor value, SymInt[] sides, Tensor places, Tensor logits, '
                                'Tensor? projections, Tensor? visible) -> (Tensor, Tensor, Tensor, Tensor)')
def _attend_backward(grad: Tensor, value: Tensor, sides: Sequence[int], places: Tensor, logits: Tensor,
                     projections: Tensor | None, visible: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The gradient of ``projections`` is empty where there are none."""
    kernels = _load_kernels(value)
    grad = grad.contiguous()
    value, places, logits, projections, visible = _contiguous(value, places, logits, projections, visible)
    grad_value = torch.zeros_like(value, dtype=torch.float32)
    grad_places, grad_logits = torch.zeros_like(places), torch.zeros_like(logits)
    grad_projections = value.new_zeros(0 if projections is None else projections.shape, dtype=torch.float32)
    if grad.numel() and value.numel():
        with torch.cuda.device_of(value):
            grid, sizes, blocks = _plan(value, sides, places, projections)
            kernels.backward_kernel[grid](grad_value, grad_places, grad_logits, grad_projections, grad, value, places,
                                          logits, projections, _bytes(visible), tuple(sides), *sizes, **blocks)
    dtype = torch.float32 if projections is None else projections.dtype
    return grad_value.to(value.dtype), grad_places, grad_logits, grad_projections.to(dtype)


def _check_offsets(value: Tensor, spatial_shapes: Shapes) -> None:
    """Inside of a level the kernels count in 32 bits."""
    num_heads, width = value.shape[-2:]
    cells = max(height * width for height, width in spatial_shapes)
    if cells * num_heads * width >= 2**31:
        raise ValueError(f'A level of {cells} cells x {num_heads} heads x {width} channels has 2**31 numbers or more, '
                         'too many for the Triton kernels. Use smaller feature maps.')


def _sides(spatial_shapes: Shapes) -> list[int]:
    return [side for shape in spatial_shapes for side in shape]


def _contiguous(*tensors: Tensor | None) -> list[Tensor | None]:
    return [None if tensor is None else tensor.contiguous() for tensor in tensors]


def _bytes(mask: Tensor | None) -> Tensor | None:
    return None if mask is None else mask.view(torch.uint8)


def _plan(value: Tensor, sides: Sequence[int], places: Tensor,
          projections: Tensor | None) -> tuple[tuple[int], tuple[int, ...], dict]:
    """The number of programs, the kernels' sizes, and what they are compiled for."""
    batch_size, num_queries, num_heads, num_levels, num_points, _ = places.shape
    width = value.shape[-1]
    block_width = _power_of_2(width)
    block_queries = min(max(TILE // block_width, 1), MAX_QUERIES_PER_PROGRAM, _power_of_2(num_queries))
    grid = (batch_size * num_heads * -(-num_queries // block_queries), )
    sizes = (value.shape[1], value.shape[2], num_queries, num_heads)
    return grid, sizes, dict(D=width, L=num_levels, P=num_points, SURROUND=projections is not None,
                             BLOCK_Q=block_queries, BLOCK_S=_power_of_2(num_levels * num_points), BLOCK_D=block_width)


def _power_of_2(number: int) -> int:
    """The next."""
    return 1 << (number - 1).bit_length()


def _load_kernels(value: Tensor) -> Any:
    kernels, interpreted = _import_kernels()
    if not value.is_cuda and not interpreted:
        raise RuntimeError(f'The Triton kernels need tensors on a GPU, got {value.device}. On a CPU use '
                           'vectorized_deformable_attention, or set TRITON_INTERPRET=1 before Python starts to run '
                           'them slowly in the interpreter.')
    return kernels


@functools.cache
def _import_kernels() -> tuple[Any, bool]:
    """The kernels, and whether Triton interprets them."""
    try:
        import triton

        from . import deformable_kernels
    except ImportError as error:
        raise RuntimeError('This way of deformable attention needs Triton, which could not be imported. Install it '
                           "(pip install triton; PyTorch's builds for CUDA bring it), or choose another operator."
                           ) from error
    if tuple(map(int, triton.__version__.split('.')[:2])) < OLDEST_TRITON:
        oldest = '.'.join(map(str, OLDEST_TRITON))
        raise RuntimeError(f'This way of deformable attention needs Triton {oldest} or newer, but here is '
                           f"{triton.__version__}. Update it (PyTorch's builds for CUDA bring theirs), or choose "
                           'another operator.')
    return deformable_kernels, not isinstance(deformable_kernels.forward_kernel, triton.JITFunction)


@_attend.register_fake
def _(value: Tensor, sides: Sequence[int], places: Tensor, logits: Tensor, projections: Tensor | None,
      visible: Tensor | None) -> Tensor:
    return value.new_empty(*logits.shape[:2], logits.shape[2] * value.shape[-1])


@_attend_backward.register_fake
def _(grad: Tensor, value: Tensor, sides: Sequence[int], places: Tensor, logits: Tensor, projections: Tensor | None,
      visible: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    of_projections = value.new_empty(0, dtype=torch.float32) if projections is None else _empty_like(projections)
    return _empty_like(value), _empty_like(places), _empty_like(logits), of_projections


def _empty_like(tensor: Tensor) -> Tensor:
    return torch.empty_like(tensor, memory_format=torch.contiguous_format)


def _save(ctx, inputs: tuple, output: Tensor) -> None:
    value, ctx.sides, places, logits, projections, visible = inputs
    ctx.save_for_backward(value, places, logits, projections, visible)


def _differentiate(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
    value, places, logits, projections, visible = ctx.saved_tensors
    grads = _attend_backward(grad, value, ctx.sides, places, logits, projections, visible)
    return grads[0], None, grads[1], grads[2], None if projections is None else grads[3], None


_attend.register_autograd(_differentiate, setup_context=_save)
