"""Parts that were built one by one must fit each other."""
from __future__ import annotations

from torch import nn

from .token_projector import input_width


def check_projector_width(model: nn.Module) -> None:
    """The projector reads the decoder's channels and, with ``token_position``, more.

    Detection never calls the projector, so that another width would show after the training only.

    Raises:
        ValueError: If it does not.
    """
    width = getattr(model.decoder, 'embed_dims', None)
    if model.projector is None or width is None:
        return
    given = input_width(model.projector)
    if model.token_position is None:
        if given not in (None, width):
            raise ValueError(f'The projector reads {width} channels of the decoder: set projector.in_channels={width}, '
                             f'not {given}, or give a token_position, which adds channels.')
        return
    expected = width + model.token_position.channels
    if given not in (None, expected):
        raise ValueError(f'With token_position, the projector reads {width} channels of the decoder and '
                         f'{model.token_position.channels} of the position: set projector.in_channels={expected}, not '
                         f'{given}, or token_position=None.')


def check_one_space(model: nn.Module) -> None:
    """Parts with a ``point_cloud_range`` read the same reference points, so they must mean the same space.

    Raises:
        ValueError: Names the parts that differ.
    """
    ranges = {name.rpartition('.')[0]: tuple(round(number, 4) for number in buffer.tolist())
              for name, buffer in model.named_buffers() if name.endswith('.point_cloud_range')}
    if len(set(ranges.values())) > 1:
        raise ValueError('Parts that share reference points were given different point_cloud_range:\n  '
                         + '\n  '.join(f'{name}: {numbers}' for name, numbers in ranges.items()))
