"""Cases that every way of deformable attention must pass, and what comparing takes."""
import math

import torch

# (B, Q, spatial shapes, heads, D, P): odd sizes, one level, one query, one cell, D and L * P no powers of two
SHAPES = {
    'one level': (3, 7, ((5, 7), ), 1, 8, 4),
    'three levels': (2, 3, ((5, 7), (3, 2), (1, 1)), 2, 5, 2),
    'one of all': (1, 1, ((1, 1), ), 1, 1, 1),
    'wide heads': (1, 3, ((3, 11), (7, 1)), 1, 17, 2),
    'many queries': (1, 131, ((2, 3), ), 1, 3, 1),
    'empty batch': (0, 5, ((5, 7), ), 2, 3, 2),
    'no queries': (2, 0, ((5, 7), (2, 2)), 2, 3, 2),
}
NOT_FINITE = [(math.inf, 0.5), (0.5, -math.inf), (-math.inf, math.inf), (math.nan, 0.5), (0.5, math.nan),
              (math.nan, -9.), (math.inf, math.nan)]


def make_inputs(batch_size, num_queries, shapes, num_heads, width, num_points, dtype=torch.float32, seed=0):
    """value, spatial_shapes, locations, logits; a third of the points is outside, some far."""
    generator = torch.Generator().manual_seed(seed)

    def rand(*size):
        return torch.rand(*size, generator=generator, dtype=torch.float64)

    num_levels, num_keys = len(shapes), sum(height * width for height, width in shapes)
    locations = rand(batch_size, num_queries, num_heads, num_levels, num_points, 2) * 1.4 - 0.2
    locations = torch.where(rand(*locations.shape[:-1], 1) < 0.05, locations * 1e6, locations)
    return (rand(batch_size, num_keys, num_heads, width).sub(0.5).to(dtype), shapes, locations.to(dtype),
            rand(batch_size, num_queries, num_heads, num_levels * num_points).sub(0.5).mul(6).to(dtype))


def make_surround_inputs(num_cameras, batch_size, num_queries, shapes, num_heads, width, num_points,
                         dtype=torch.float32):
    """value, spatial_shapes, projections, visible, offsets, logits; a query may be seen by none, one or more."""
    values, projections = [], []
    for camera in range(num_cameras):
        value, _, locations, logits = make_inputs(batch_size, num_queries, shapes, num_heads, width, num_points, dtype,
                                                  seed=camera)
        values.append(value)
        projections.append(torch.rand(batch_size, num_queries, 2))
    visible = torch.rand(batch_size, num_cameras, num_queries) < 0.4
    offsets = (torch.rand_like(locations.float()) * 6 - 3).to(dtype)
    return torch.stack(values, 1), shapes, torch.stack(projections, 1), visible, offsets, logits


def run(function, *arguments):
    """The result, and the gradients of all floating arguments, for an output gradient that differs everywhere."""
    arguments = [argument.clone().requires_grad_() if isinstance(argument, torch.Tensor)
                 and argument.is_floating_point() else argument for argument in arguments]
    out = function(*arguments)
    out.backward(torch.linspace(-1, 1, out.numel()).view_as(out).to(out.dtype))
    return [out.detach()] + [argument.grad for argument in arguments
                             if isinstance(argument, torch.Tensor) and argument.requires_grad]


def largest_differences(results, expected):
    """Of each tensor, relative to its largest entry, or to 0.1 where all are smaller (a lone logit's gradient is 0)."""
    for ours, twin in zip(results, expected, strict=True):
        assert ours.shape == twin.shape
    return [((ours.double() - twin.double()).abs().max() / twin.double().abs().max().clamp(min=0.1)).item()
            if twin.numel() else 0. for ours, twin in zip(results, expected)]


def check_place(function, arguments, samples, place):
    """One sample, of ``arguments[samples]``, lies at infinity or is NaN: it reads nothing, or its head's result is NaN.

    The other results stay as they are. Gradients are finite at infinity, and computed without an error in any case.
    """
    def run_at(place):
        changed = list(arguments)
        changed[samples] = changed[samples].clone()
        changed[samples][-1, -1, -1, -1, -1] = torch.tensor(place)
        return run(function, *changed)

    results, outside = run_at(place), run_at((-1e4, 1e4))
    if any(map(math.isnan, place)):
        width = arguments[0].shape[-1]  # the last query's last head is the end of the result
        out, rest = results[0].flatten(), outside[0].flatten()
        assert out[-width:].isnan().all()
        assert torch.equal(out[:-width], rest[:-width])
    else:
        assert max(largest_differences(results, outside)) < 1e-6
    assert all(result.isfinite().all() for result in outside)
