"""Triton kernels of deformable attention, forward and backward. Their twin is ``deformable_reference.py``.

A program takes one head of ``BLOCK_Q`` queries of one sample, keeps their ``(BLOCK_Q, D)`` sums in registers and walks
through cameras, levels and points; nothing the size of the samples, ``(B, Q, heads, L * P, D)``, is ever written. The
softmax is computed on the way in. Channels of a cell lie side by side, so that threads read them in vectors. Whatever
the dtype of the inputs, arithmetic is float32. The gradient of the value is added up by float32 atomics, whose order,
and with it the last bits, differs from run to run.

Two layouts, told apart by ``SURROUND``. Without: one camera, ``places`` are fractions of width and height. With:
``places`` are offsets in cells from ``projections`` (fractions), and pairs of camera and query that are not ``visible``
are skipped: their loads are masked off, a block's camera altogether where nobody in the block sees anything.

This module imports Triton; :mod:`.deformable_triton` imports it when a kernel is first needed.
"""
from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def forward_kernel(out, value, places, logits, projections, visible, sides, num_cameras, num_keys, num_queries,
                   num_heads, D: tl.constexpr, L: tl.constexpr, P: tl.constexpr, SURROUND: tl.constexpr,
                   BLOCK_Q: tl.constexpr, BLOCK_S: tl.constexpr, BLOCK_D: tl.constexpr):
    """``out (B, Q, heads, D)``; ``sides`` are L pairs of height and width, one after the other."""
    sample, head, queries, rows, exists = _locate(num_queries, num_heads, BLOCK_Q)
    channels = tl.arange(0, BLOCK_D)
    top, total = _softmax_terms(logits, rows, exists, L * P, BLOCK_S)
    sums = tl.zeros((BLOCK_Q, BLOCK_D), tl.float32)
    for camera in range(num_cameras):
        pairs = (sample * num_cameras + camera) * num_queries + queries
        looks, center_x, center_y = _look(projections, visible, pairs, exists, SURROUND)
        if tl.max(looks.to(tl.int32), 0) > 0:
            cells = value + ((sample * num_cameras + camera) * num_keys * num_heads + head) * D
            for level in tl.static_range(L):
                height, width = sides[2 * level], sides[2 * level + 1]
                for point in tl.static_range(P):
                    entries = rows * (L * P) + level * P + point
                    weight = tl.exp(tl.load(logits + entries, mask=looks, other=0.).to(tl.float32) - top) / total
                    x, y = _place(places, entries, looks, center_x, center_y, width, height, SURROUND)
                    column, row, beyond_x, beyond_y = _corner(x, y, width, height)
                    for right in tl.static_range(2):
                        for down in tl.static_range(2):
                            inside = _inside(looks, column + right, row + down, width, height)
                            cell = (row + down) * width + column + right
                            read = _read(cells, cell, inside, channels, num_heads, D, BLOCK_D)
                            share = weight * _share(beyond_x, right) * _share(beyond_y, down)
                            sums += share[:, None] * read
                cells += height * width * num_heads * D
    tl.store(out + rows[:, None] * D + channels[None, :], sums, mask=exists[:, None] & (channels < D)[None, :])


@triton.jit
def backward_kernel(grad_value, grad_places, grad_logits, grad_projections, grad, value, places, logits, projections,
                    visible, sides, num_cameras, num_keys, num_queries, num_heads, D: tl.constexpr, L: tl.constexpr,
                    P: tl.constexpr, SURROUND: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_S: tl.constexpr,
                    BLOCK_D: tl.constexpr):
    """``grad_value`` and ``grad_projections`` are float32 and zero at first; the others are written once."""
    sample, head, queries, rows, exists = _locate(num_queries, num_heads, BLOCK_Q)
    channels, samples = tl.arange(0, BLOCK_D), tl.arange(0, BLOCK_S)
    channel_exists = (channels < D)[None, :]
    top, total = _softmax_terms(logits, rows, exists, L * P, BLOCK_S)
    grads = tl.load(grad + rows[:, None] * D + channels[None, :], mask=exists[:, None] & channel_exists,
                    other=0.).to(tl.float32)
    along_x = tl.zeros((BLOCK_Q, BLOCK_S), tl.float32)
    along_y = tl.zeros((BLOCK_Q, BLOCK_S), tl.float32)
    of_weight = tl.zeros((BLOCK_Q, BLOCK_S), tl.float32)
    for camera in range(num_cameras):
        pairs = (sample * num_cameras + camera) * num_queries + queries
        looks, center_x, center_y = _look(projections, visible, pairs, exists, SURROUND)
        if tl.max(looks.to(tl.int32), 0) > 0:
            start = ((sample * num_cameras + camera) * num_keys * num_heads + head) * D
            cells, grad_cells = value + start, grad_value + start
            moved_x = tl.zeros((BLOCK_Q,), tl.float32)
            moved_y = tl.zeros((BLOCK_Q,), tl.float32)
            for level in tl.static_range(L):
                height, width = sides[2 * level], sides[2 * level + 1]
                for point in range(P):  # not unrolled: 80 registers a thread instead of 200
                    entries = rows * (L * P) + level * P + point
                    weight = tl.exp(tl.load(logits + entries, mask=looks, other=0.).to(tl.float32) - top) / total
                    x, y = _place(places, entries, looks, center_x, center_y, width, height, SURROUND)
                    column, row, beyond_x, beyond_y = _corner(x, y, width, height)
                    slope_x = tl.zeros((BLOCK_Q,), tl.float32)
                    slope_y = tl.zeros((BLOCK_Q,), tl.float32)
                    dotted = tl.zeros((BLOCK_Q,), tl.float32)
                    for right in tl.static_range(2):
                        for down in tl.static_range(2):
                            inside = _inside(looks, column + right, row + down, width, height)
                            cell = (row + down) * width + column + right
                            read = _read(cells, cell, inside, channels, num_heads, D, BLOCK_D)
                            dot = tl.sum(grads * read, 1)
                            share_x, share_y = _share(beyond_x, right), _share(beyond_y, down)
                            dotted += share_x * share_y * dot
                            slope_x += (2 * right - 1) * share_y * dot
                            slope_y += (2 * down - 1) * share_x * dot
                            tl.atomic_add(
                                grad_cells + cell[:, None] * (num_heads * D) + channels[None, :],
                                (weight * share_x * share_y)[:, None] * grads, mask=inside[:, None] & channel_exists,
                                sem='relaxed')
                    slope_x *= weight
                    slope_y *= weight
                    moved_x += slope_x * width
                    moved_y += slope_y * height
                    if not SURROUND:  # fractions, not cells
                        slope_x *= width
                        slope_y *= height
                    here = (samples == level * P + point)[None, :]
                    along_x += tl.where(here, slope_x[:, None], 0.)
                    along_y += tl.where(here, slope_y[:, None], 0.)
                    of_weight += tl.where(here, dotted[:, None], 0.)
                cells += height * width * num_heads * D
                grad_cells += height * width * num_heads * D
            if SURROUND:
                tl.atomic_add(grad_projections + pairs * 2, moved_x, mask=looks, sem='relaxed')
                tl.atomic_add(grad_projections + pairs * 2 + 1, moved_y, mask=looks, sem='relaxed')

    entries = rows[:, None] * (L * P) + samples[None, :]
    exists = exists[:, None] & (samples < L * P)[None, :]
    tl.store(grad_places + entries * 2, along_x, mask=exists)
    tl.store(grad_places + entries * 2 + 1, along_y, mask=exists)
    weights = tl.exp(tl.load(logits + entries, mask=exists, other=0.).to(tl.float32) - top[:, None]) / total[:, None]
    weights = tl.where(exists, weights, 0.)
    mean = tl.sum(weights * of_weight, 1)
    tl.store(grad_logits + entries, weights * (of_weight - mean[:, None]), mask=exists)


@triton.jit
def _locate(num_queries, num_heads, BLOCK_Q: tl.constexpr):
    """This program's sample, head and queries ``(BLOCK_Q,)``; their rows of (B, Q, heads); which of them exist.

    Heads run fastest: programs that run together read neighbouring memory. 64 bits, as tensors may be large.
    """
    program = tl.program_id(0)
    head = program % num_heads
    block = program // num_heads
    num_blocks = tl.cdiv(num_queries, BLOCK_Q)
    sample = (block // num_blocks).to(tl.int64)
    queries = (block % num_blocks) * BLOCK_Q + tl.arange(0, BLOCK_Q)
    rows = (sample * num_queries + queries) * num_heads + head
    return sample, head, queries, rows, queries < num_queries


@triton.jit
def _softmax_terms(logits, rows, exists, S: tl.constexpr, BLOCK_S: tl.constexpr):
    """The largest of each row's S logits, and the sum of exponentials: a weight is exp(logit - top) / total."""
    samples = tl.arange(0, BLOCK_S)
    scores = tl.load(logits + rows[:, None] * S + samples[None, :], mask=exists[:, None] & (samples < S)[None, :],
                     other=0.).to(tl.float32)
    scores = tl.where((samples < S)[None, :], scores, float('-inf'))
    top = tl.max(scores, 1)
    return top, tl.sum(tl.exp(scores - top[:, None]), 1)


@triton.jit
def _look(projections, visible, pairs, exists, SURROUND: tl.constexpr):
    """Which queries look into the camera, and where their points appear (0 without ``SURROUND``)."""
    looks, center_x, center_y = exists, 0., 0.
    if SURROUND:
        looks = exists & (tl.load(visible + pairs, mask=exists, other=0) != 0)
        center_x = tl.load(projections + pairs * 2, mask=looks, other=0.).to(tl.float32)
        center_y = tl.load(projections + pairs * 2 + 1, mask=looks, other=0.).to(tl.float32)
    return looks, center_x, center_y


@triton.jit
def _place(places, entries, looks, center_x, center_y, width, height, SURROUND: tl.constexpr):
    """Where to sample, in cells from the centre of the first; from far outside brought to where nothing is either.

    NaN stays NaN, which minima and maxima of GPUs drop unless told.
    """
    x = tl.load(places + entries * 2, mask=looks, other=0.).to(tl.float32)
    y = tl.load(places + entries * 2 + 1, mask=looks, other=0.).to(tl.float32)
    if SURROUND:
        x += center_x * width
        y += center_y * height
    else:
        x *= width
        y *= height
    return _clamp(x - 0.5, width + 1.), _clamp(y - 0.5, height + 1.)


@triton.jit
def _clamp(x, high):
    return tl.minimum(tl.maximum(x, -2., tl.PropagateNan.ALL), high, tl.PropagateNan.ALL)


@triton.jit
def _corner(x, y, width, height):
    """The upper left of the four cells around a place, and how far beyond it the place is."""
    left, upper = tl.floor(x), tl.floor(y)
    return _to_integer(left), _to_integer(upper), x - left, y - upper


@triton.jit
def _to_integer(cell):
    """Outside where it is NaN, whose conversion is undefined; ``beyond`` stays NaN, and with it the result."""
    return tl.where(cell == cell, cell, -2.).to(tl.int32)


@triton.jit
def _inside(looks, column, row, width, height):
    return looks & (column >= 0) & (column < width) & (row >= 0) & (row < height)


@triton.jit
def _share(beyond, second: tl.constexpr):
    """Of the first or the second of two neighbouring cells."""
    return beyond if second else 1 - beyond


@triton.jit
def _read(cells, cell, inside, channels, num_heads, D: tl.constexpr, BLOCK_D: tl.constexpr):
    """The cells' channels ``(BLOCK_Q, BLOCK_D)`` in float32, 0 outside."""
    mask = inside[:, None] if BLOCK_D == D else inside[:, None] & (channels < D)[None, :]
    return tl.load(cells + cell[:, None] * (num_heads * D) + channels[None, :], mask=mask, other=0.).to(tl.float32)
