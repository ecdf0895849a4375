"""PNG files: their header and chunks, and pixels of 16 bits, of which Pillow keeps a half."""

from __future__ import annotations

import io
import struct
import zlib
from typing import NamedTuple

import numpy as np
from PIL import Image

from pgpc.data.image_limits import PictureError
from pgpc.data.pixel_form import FORM_REMEDY, PixelForm

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6
"""Color types."""
_COLORS = {GRAY: "gray", RGB: "RGB", PALETTE: "palette", GRAY_ALPHA: "gray with alpha", RGBA: "RGB with alpha"}


class PngHeader(NamedTuple):
    """The first chunk of a PNG.

    Attributes:
        width: Width in pixels.
        height: Height in pixels.
        depth: Bits per channel, or per palette index.
        color: Color type.
    """

    width: int
    height: int
    depth: int
    color: int

    def __str__(self) -> str:
        return f"{self.depth}-bit {_COLORS.get(self.color, 'of an unknown kind')}"


def png_header(data: bytes) -> PngHeader | None:
    """Return the contents of a PNG's first chunk; None where the file is no PNG."""
    if not data.startswith(PNG_SIGNATURE):
        return None
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise PictureError("picture is damaged: the PNG has no header, or is truncated within it")
    return PngHeader(*struct.unpack_from(">IIBB", data, 16))


def check_chunks(data: bytes) -> None:
    """Check that a PNG is whole: its checksums, which Pillow does not look at for the pixels, and its end."""
    view, position, kind = memoryview(data), len(PNG_SIGNATURE), b""
    while kind != b"IEND":
        if position + 12 > len(data):
            raise PictureError("picture is truncated: the PNG has no end")
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            raise PictureError(f"picture is truncated: the PNG ends within chunk {kind!r}")
        if zlib.crc32(view[position + 4 : end - 4]) != int.from_bytes(view[end - 4 : end], "big"):
            raise PictureError(f"picture is damaged: the checksum of PNG chunk {kind!r} is wrong")
        position = end


def decode_deep(data: bytes, image: Image.Image, header: PngHeader, form: PixelForm) -> np.ndarray:
    """Return the pixels of an image with 16 bits per channel.

    Args:
        data: The file.
        image: The file, opened by Pillow.
        header: Its header, of 16 bits.
        form: What pixels are asked for, of 16 bits; gray is repeated for three bands, and alpha dropped for fewer than
            four.

    Returns:
        ``(H, W, bands)`` uint16.

    Raises:
        PictureError: The image has other bands.
    """
    if header.color == GRAY and form.bands in (1, 3):
        gray = np.array(image).astype(np.uint16, copy=False)
        return np.repeat(gray[..., None], form.bands, axis=2)
    if (header.color, form.bands) in ((RGB, 3), (RGBA, 3), (RGBA, 4)):
        return np.ascontiguousarray(both_bytes(data, image)[..., : form.bands])
    raise PictureError(f"image must have {form}, but it is a PNG of {header}. {FORM_REMEDY}")


def both_bytes(data: bytes, image: Image.Image) -> np.ndarray:
    """Return the channels of a 16-bit RGB PNG, with or without alpha, ``(H, W, 3 or 4)`` uint16.

    Pillow unpacks such pixels to 8 bits only: the high bytes, or, told that the low byte comes first, the low bytes.

    Args:
        data: The file.
        image: The file, opened by Pillow.
    """
    high = np.array(image)
    with Image.open(io.BytesIO(data), formats=("PNG",)) as again:
        codec, box, offset, _ = again.tile[0]
        again.tile = [(codec, box, offset, f"{again.mode};16L")]
        low = np.array(again)
    pixels: np.ndarray = high.astype(np.uint16) << 8 | low
    return pixels
