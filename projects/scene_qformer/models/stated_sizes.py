"""Sizes that a config states are checked before anything is built: they are sizes, and agree.

PyTorch finds a wrong one too, but at the first product of two matrices, and names neither the part nor its key.
"""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# Keys of parts that count or measure something of which there must be one at least.
SIZES = ('embed_dims', 'in_channels', 'out_channels', 'hidden_channels', 'feedforward_channels', 'num_heads',
         'num_layers', 'num_points', 'num_levels', 'num_queries', 'num_proposals', 'num_classes', 'num_groups',
         'num_cameras')


def check_stated_sizes(**parts: Any) -> None:
    """Check the sizes in the configs of a model's parts.

    Args:
        parts: Config of each part by its name in the model's config; None where there is none. What is not stated is
            not checked.

    Raises:
        ValueError: If a config is no dict, a size is not a whole number of at least 1, or two widths that meet differ;
            names their keys.
    """
    for name, part in parts.items():
        if part is not None and not isinstance(part, Mapping):
            raise ValueError(f'Expected {name} in the config of the model to be a dict with the type of the part, or '
                             f'None for no such part, got {part!r:.80}.')
        for key, value in _sizes(part, name):
            if type(value) is not int or value < 1:
                raise ValueError(f'Expected {key} in the config of the model to be a whole number of at least 1, got '
                                 f'{value!r}.')
    neck, encodings = parts.get('neck') or {}, parts.get('positional_encoding') or {}
    several = encodings.get('encodings', [encodings])
    for encoding in several if isinstance(several, (list, tuple)) else ():
        _check_equal('neck.out_channels', neck.get('out_channels'),
                     f'embed_dims of the positional encoding {encoding.get("type")}', encoding.get('embed_dims'),
                     'the encoding is added to the image features')
    decoder = parts.get('decoder') or {}
    for name, reason in (('scene_queries', 'the decoder refines the queries'),
                         ('bbox_head', "the head reads the decoder's queries"),
                         ('denoising', 'the decoder refines these queries, too')):
        _check_equal('decoder.embed_dims', decoder.get('embed_dims'), f'{name}.embed_dims',
                     (parts.get(name) or {}).get('embed_dims'), reason)


def _check_equal(key: str, value: int | None, other_key: str, other: int | None, reason: str) -> None:
    if value is not None and other is not None and value != other:
        raise ValueError(f'{key} is {value}, but {other_key} is {other}: {reason}, so both must be of one width. '
                         'Change one of them in the config of the model.')


def _sizes(part: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Dotted key and value of every size; in_channels may be several."""
    if isinstance(part, Mapping):
        for key, value in part.items():
            if key in SIZES and value is not None:
                for each in value if isinstance(value, (list, tuple)) and key == 'in_channels' else (value, ):
                    yield f'{name}.{key}', each
            else:
                yield from _sizes(value, f'{name}.{key}')
    elif isinstance(part, (list, tuple)):
        for number, entry in enumerate(part):
            yield from _sizes(entry, f'{name}[{number}]')
