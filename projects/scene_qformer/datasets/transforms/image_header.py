"""What an image file says of itself, before anything of that size is made of it."""
from __future__ import annotations

import io
import warnings

from PIL import Image

MAX_PIXELS = 2**26  # forty times those of nuScenes; 200 MB decoded


def check_image_header(content: bytes, path: str, where: str) -> tuple[int, int]:
    """Check that a file is an image of a believable size, and if it is a JPEG, that it is whole.

    OpenCV reserves what the header asks for, and decodes a cut-off JPEG to an image with a grey rest.

    Args:
        content: The file's.
        path: For the error, as ``where``.
        where: Camera and sample.

    Returns:
        (height, width) in pixels.

    Raises:
        ValueError: If it is none.
    """
    is_jpeg = content[:2] == b'\xff\xd8'
    shape = jpeg_shape(content) if is_jpeg else _other_shape(content)
    if shape is None:
        raise ValueError(f'Cannot decode the image file {path} ({where}): {len(content)} bytes without the header of '
                         'an image.\nReplace the file.')
    height, width = shape
    if not 0 < height * width <= MAX_PIXELS:
        raise ValueError(f'The header of the image file {path} ({where}) says {width}x{height} pixels; expected at '
                         f'least 1 and at most {MAX_PIXELS}, so that nothing is decoded that would fill the memory.\n'
                         'Replace the file.')
    if is_jpeg:
        _check_jpeg_is_whole(content, path, where)
        # Of each 8x8 block at least a bit is written: the length of its mean's code (ITU-T T.81, F.1.2.1).
        if 8 * len(content) < -(-height // 8) * -(-width // 8):
            raise ValueError(f'The header of the JPEG file {path} ({where}) says {width}x{height} pixels, of which its '
                             f'{len(content)} bytes cannot tell.\nReplace the file.')
    return height, width


def _other_shape(content: bytes) -> tuple[int, int] | None:
    """(height, width) of a file that is no JPEG; None if it is no image."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of large sizes: they are checked above
        try:
            with Image.open(io.BytesIO(content)) as file:  # reads the header alone
                return file.size[1], file.size[0]
        except Image.DecompressionBombError:
            return MAX_PIXELS, MAX_PIXELS
        except (OSError, ValueError, SyntaxError):
            return None


def jpeg_shape(content: bytes) -> tuple[int, int] | None:
    """(height, width) from a JPEG's frame header (ITU-T T.81, B.2.2), or None if there is none."""
    position = 2
    while position + 9 <= len(content):
        if content[position] != 0xFF:
            return None
        marker = content[position + 1]
        if marker == 0xFF:  # fill byte
            position += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(content[position + 5:position + 7], 'big'), int.from_bytes(
                content[position + 7:position + 9], 'big')
        position += 2 + int.from_bytes(content[position + 2:position + 4], 'big')
    return None


def _check_jpeg_is_whole(content: bytes, path: str, where: str) -> None:
    """OpenCV decodes a cut-off JPEG to an image with a grey rest, and only warns; training on that must not happen."""
    if content.endswith(b'\xff\xd9'):
        return
    # An end marker must follow the last scan; an earlier one may belong to an embedded thumbnail.
    if content.rfind(b'\xff\xd9') < max(content.rfind(b'\xff\xda'), 2):
        raise ValueError(f'The JPEG file {path} ({where}) is truncated: {len(content)} bytes without an end marker.\n'
                         'Unpack or download it again.')
