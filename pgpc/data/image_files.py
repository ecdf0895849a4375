"""Decoding of picture files, which may be damaged or hostile, as arrays.

Sizes are read and limited before anything is decoded, and every fault of a file is raised as a :class:`PictureError`.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from pgpc.data.image_limits import MAX_PIXELS, PictureError, check_size
from pgpc.data.tiles import Region, decode_tiles, is_tiled, tiled_size

# Few formats: Pillow knows dozens, and each is a decoder that a bad file may reach.
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX")  # up to 8 bits per channel and no colors of ink

_ORIENTATION = 0x0112  # the tag of EXIF
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPPED = (5, 6, 7, 8)  # orientations that exchange width and height
UPRIGHT = 1
"""EXIF orientation of a picture that is stored as it is shown."""

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KINDS = {
    b"II*\0": "a TIFF",
    b"MM\0*": "a TIFF",
    b"GIF8": "a GIF",
    b"\xff\xd8\xff": "a JPEG",
    b"BM": "a BMP",
    b"RIFF": "a WebP or another RIFF file",
    b"%PDF": "a PDF",
    b"PK\3\4": "a zip",
    b"\x1f\x8b": "compressed by gzip",
    b"\0\0\0\x0cjP  ": "a JPEG 2000",
    b"version https://git-lfs": "a pointer of Git LFS, whose contents `git lfs pull` fetches",
}
"""Other files that stand in the place of pictures, by what they begin with."""
_HEIF = (b"ftyphei", b"ftypmif", b"ftypavi")
_GRAY, _RGB, _PALETTE, _GRAY_ALPHA, _RGBA = 0, 2, 3, 4, 6
_COLORS = {_GRAY: "gray", _RGB: "RGB", _PALETTE: "palette", _GRAY_ALPHA: "gray with alpha", _RGBA: "RGB with alpha"}


class _PngHeader(NamedTuple):
    width: int
    height: int
    depth: int  # bits per channel, or per palette index
    color: int  # color type

    def __str__(self) -> str:
        return f"{self.depth}-bit {_COLORS.get(self.color, 'of an unknown kind')}"


def read_file(file: Path) -> bytes:
    """Return the contents of a picture file.

    Raises:
        PictureError: It cannot be read, is a link to nothing or no regular file, or is too long for a picture.
    """
    try:
        size = file.stat().st_size
        if not file.is_file():  # reading a pipe would wait for ever
            raise PictureError("a picture must be a regular file, but this is none")
        if size > 8 * MAX_PIXELS:
            raise PictureError(f"a picture must have at most {8 * MAX_PIXELS} bytes, but this has {size}")
        return file.read_bytes()
    except OSError as error:
        link = ": it is a link to nothing" if file.is_symlink() and not file.exists() else ""
        raise PictureError(f"the file cannot be read ({error.strerror}){link}") from error


def is_lossless(data: bytes) -> bool:
    """Return whether a picture file is a PNG or a BMP, which is about as large in any other lossless form."""
    return data.startswith((_PNG_SIGNATURE, b"BM"))


def read_header(data: bytes | memoryview) -> tuple[int, int]:
    """Return the width and height that :func:`decode_image` would give, without decoding.

    Raises:
        PictureError: The data are no picture, or one with more than `MAX_PIXELS`.
    """
    if is_tiled(data):
        return tiled_size(data)
    with _opened(bytes(data)) as image:
        width, height = image.size
        return (height, width) if _orientation(image) in _SWAPPED else (width, height)


def read_orientation(data: bytes) -> int:
    """Return the EXIF orientation of a picture file, 1 to 8; `UPRIGHT` where it has none, or one that means nothing.

    Raises:
        PictureError: The data are no picture, or one with more than `MAX_PIXELS`.
    """
    with _opened(data) as image:
        orientation = _orientation(image)
        return orientation if orientation in _TURNS else UPRIGHT


def turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn the stored pixels ``(H, W, ...)`` of a picture as its EXIF orientation says: as the picture is shown."""
    if orientation in (5, 7):
        pixels = pixels.swapaxes(0, 1)
    quarters = {3: 2, 6: 3, 7: 2, 8: 1}.get(orientation, 0)
    turned = np.rot90(pixels, quarters)
    if orientation in (2, 4):
        turned = np.flip(turned, axis=1 if orientation == 2 else 0)
    return np.ascontiguousarray(turned)


def decode_image(data: bytes | memoryview, region: Region | None = None) -> np.ndarray:
    """Decode an image, turned as its EXIF orientation says; alpha is dropped.

    Args:
        data: A picture file, or an image stored as tiles (``pgpc.data.tiles``).
        region: The part that will be looked at; None means all. Of tiles, those beside it are then left 0; pictures of
            other kinds are decoded as a whole.

    Returns:
        ``(H, W, 3)`` uint8 RGB.

    Raises:
        PictureError: The data are no picture or a damaged one, or it has more than `MAX_PIXELS`, more than 8 bits per
            channel, the colors of ink (CMYK), or several frames.
    """
    if is_tiled(data):
        pixels = decode_tiles(data, region)
        if pixels.ndim != 3:
            raise PictureError("image must have colors, but these tiles hold one channel, a label")
        return pixels
    data = bytes(data)
    with _opened(data) as image:
        header = _png_header(data)
        if header is not None:
            _check_chunks(data)
        # Pillow itself would silently halve the depth of 16-bit colors.
        if image.mode not in _MODES or (header is not None and header.depth == 16):
            kind = f"a {header} PNG" if header is not None else f"{image.format} of mode {image.mode}"
            raise PictureError(
                f"image must be gray, palette or RGB with 8 bits per channel, but it is {kind}. Convert it to RGB."
            )
        turn = _TURNS.get(_orientation(image))
        image.load()
        image.info.pop("transparency", None)  # without it Pillow need not warn that alpha is dropped
        colors = image if image.mode == "RGB" else image.convert("RGB")
        return np.array(colors if turn is None else colors.transpose(turn))


def decode_label(data: bytes, channel: Literal["gray", "red16"] = "gray") -> np.ndarray:
    """Decode a label, the ids that its pixels hold.

    Args:
        data: A PNG, for other formats may be lossy, which changes ids; or ids stored as tiles (``pgpc.data.tiles``).
        channel: The place of the ids. "gray": the values of a gray picture, or the indices of one with a palette; a
            picture in RGB or with alpha is taken for gray where its channels are equal and it is opaque. "red16": the
            red channel of a 16-bit RGB picture, as in SYNTHIA, whose other channels count instances.

    Returns:
        ``(H, W)`` uint8, or uint16 where the file has 16 bits per channel. EXIF orientation is not looked at.

    Raises:
        PictureError: The data are no PNG or a damaged one, or it has more than `MAX_PIXELS`, several frames, or no ids
            in that channel.
    """
    if is_tiled(data) and channel == "gray":
        ids = decode_tiles(data)
        if ids.ndim != 2:
            raise PictureError("label must hold ids in one channel, but these tiles hold colors, an image")
        return ids
    header = _label_header(data)
    with _opened(data) as image:
        _check_chunks(data)
        if channel == "red16":
            if (header.depth, header.color) != (16, _RGB):
                raise PictureError(f"label must be a 16-bit RGB PNG with the ids in red, but it is a {header} PNG")
            return _red16(data, image)
        if header.depth == 16 and header.color != _GRAY:
            raise PictureError(f"label must be a PNG of ids in one channel, but it is {header}")
        pixels = np.array(image)
        if header.color == _GRAY:
            if header.depth in (2, 4):  # Pillow stretches these to 0..255
                pixels //= 255 // (2**header.depth - 1)
            return pixels.astype(np.uint16 if header.depth == 16 else np.uint8, copy=False)
        return pixels if header.color == _PALETTE else _equal_channels(pixels, header)


def decode_label_colors(data: bytes, *, with_palette: bool) -> np.ndarray | None:
    """Decode a label that is a picture of colors.

    Args:
        data: A PNG.
        with_palette: Whether the colors of a palette are meant, rather than its indices.

    Returns:
        ``(H, W, 3)`` uint8 RGB; None where the file is gray, or has a palette that is not meant.

    Raises:
        PictureError: The data are no PNG or a damaged one, or it has more than `MAX_PIXELS`, several frames, more than
            8 bits per channel, or transparent pixels.
    """
    header = _label_header(data)
    if header.color not in (_RGB, _RGBA) and not (with_palette and header.color == _PALETTE):
        return None
    with _opened(data) as image:
        _check_chunks(data)
        if header.depth == 16:
            raise PictureError(f"label must have 8 bits per channel, but it is {header}")
        pixels = np.array(image.convert("RGBA") if header.color != _RGB else image)
    if pixels.shape[2] == 4 and pixels[..., 3].min() < 255:
        raise PictureError(f"label must be opaque, but it is {header} and has transparent pixels. Save it as RGB.")
    return np.ascontiguousarray(pixels[..., :3])


def _label_header(data: bytes) -> _PngHeader:
    """Return the header of a label file, which must be a PNG."""
    header = _png_header(data)
    if header is None:
        raise PictureError(
            "label must be a PNG file, since others may be lossy, but "
            + (f"the file is {_kind(data)}. Save it as PNG." if data else "the file is empty (0 bytes).")
        )
    return header


def _kind(data: bytes) -> str:
    """Return what a file is that is no picture.

    Never what stands in it: the name may be a link, of somebody else's data set, to a file with secrets.
    """
    known = next((kind for start, kind in _KINDS.items() if data.startswith(start)), None)
    return known or ("a HEIF or AVIF" if data[4:].startswith(_HEIF) else "of no kind that is known here")


def _equal_channels(pixels: np.ndarray, header: _PngHeader) -> np.ndarray:
    """Return the one channel that pixels ``(H, W, 2..4)`` hold several times."""
    values = pixels[..., :-1] if header.color in (_GRAY_ALPHA, _RGBA) else pixels
    if values is not pixels and pixels[..., -1].min() < 255:
        raise PictureError(f"label must be opaque, but it is {header} and has transparent pixels. Save it as gray.")
    if (values != values[..., :1]).any():
        raise PictureError(
            f"label must hold ids in one channel, but it is {header} with channels that differ, a picture of colors. "
            "Give the file of ids instead; or, for labels of your own, the color of each class (--classes)."
        )
    return np.ascontiguousarray(values[..., 0])


def _red16(data: bytes, image: Image.Image) -> np.ndarray:
    """Return the red channel of a 16-bit RGB PNG, ``(H, W)`` uint16."""
    # Pillow unpacks such pixels to 8 bits only: the high bytes, or, told that the low byte comes first, the low bytes.
    high = np.array(image)[..., 0]
    with Image.open(io.BytesIO(data), formats=("PNG",)) as again:
        codec, box, offset, _ = again.tile[0]
        again.tile = [(codec, box, offset, "RGB;16L")]
        low = np.array(again)[..., 0]
    red: np.ndarray = high.astype(np.uint16) << 8 | low
    return red


@contextmanager
def _opened(data: bytes) -> Iterator[Image.Image]:
    """Open a picture of a known format, one frame and at most `MAX_PIXELS`; all errors within become PictureErrors."""
    try:
        if not data:
            raise PictureError("picture must not be empty, but the file has 0 bytes")
        header = _png_header(data)
        if header is not None:
            check_size(header.width, header.height)
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            check_size(*image.size)
            # Several pictures in a JPEG are one photo: depth maps and thumbnails of phones.
            if image.format in ("PNG", "WEBP") and getattr(image, "is_animated", False):
                raise PictureError("picture must have one frame, but it is animated")
            yield image
    except PictureError:
        raise
    except Image.DecompressionBombError as error:
        raise PictureError(f"picture must have at most {MAX_PIXELS} pixels: {error}") from error
    except UnidentifiedImageError as error:
        raise PictureError(
            f"cannot identify the file as a PNG, JPEG, WebP or BMP picture; it is {_kind(data)}"
        ) from error
    # Decoders fail in many ways on damaged files: OSError, SyntaxError, struct.error, zlib.error, ...
    except Exception as error:
        raise PictureError(f"picture is damaged: {str(error) or type(error).__name__}") from error


def _orientation(image: Image.Image) -> Any:
    # Not image.getexif(): that of PNGs decodes the picture, to find a tag behind it.
    return Image.Image.getexif(image).get(_ORIENTATION)


def _png_header(data: bytes) -> _PngHeader | None:
    """Return the contents of a PNG's first chunk; None where the file is no PNG."""
    if not data.startswith(_PNG_SIGNATURE):
        return None
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise PictureError("picture is damaged: the PNG has no header, or is truncated within it")
    return _PngHeader(*struct.unpack_from(">IIBB", data, 16))


def _check_chunks(data: bytes) -> None:
    """Check that a PNG is whole: its checksums, which Pillow does not look at for the pixels, and its end."""
    view, position, kind = memoryview(data), len(_PNG_SIGNATURE), b""
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
