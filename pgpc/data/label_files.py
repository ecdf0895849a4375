"""Decoding of label files: the ids or the colors that their pixels hold."""

from __future__ import annotations

from typing import Literal

import numpy as np

from pgpc.data.formats import tiff
from pgpc.data.formats.png import GRAY, GRAY_ALPHA, PALETTE, RGB, RGBA, PngHeader, both_bytes, check_chunks, png_header
from pgpc.data.image_files import UPRIGHT, kind_of, opened, read_orientation
from pgpc.data.image_limits import PictureError
from pgpc.data.tiles import decode_tiles, is_tiled


def decode_label(data: bytes, channel: Literal["gray", "red16"] = "gray") -> np.ndarray:
    """Decode a label, the ids that its pixels hold.

    Args:
        data: A PNG, or a TIFF without loss, for other formats change ids; or ids stored as tiles (``pgpc.data.tiles``).
        channel: The place of the ids. "gray": the values of a gray picture, or the indices of one with a palette; a
            picture in RGB or with alpha is taken for gray where its channels are equal and it is opaque. "red16": the
            red channel of a 16-bit RGB picture, as in SYNTHIA, whose other channels count instances.

    Returns:
        ``(H, W)`` uint8, or uint16 where the file has 16 bits per channel. One that EXIF says to turn is refused.

    Raises:
        PictureError: The data are no such file or a damaged one, or it has more than `MAX_PIXELS`, several frames, or
            no ids in that channel.
    """
    if is_tiled(data) and channel == "gray":
        ids = decode_tiles(data)
        if ids.ndim != 2:
            raise PictureError("label must hold ids in one channel, but these tiles hold colors, an image")
        return ids
    if tiff.is_tiff(data) and channel == "gray":
        return _tiff_label(data)
    header = _label_header(data)
    with opened(data) as image:
        check_chunks(data)
        if channel == "red16":
            if (header.depth, header.color) != (16, RGB):
                raise PictureError(f"label must be a 16-bit RGB PNG with the ids in red, but it is a PNG of {header}")
            return np.ascontiguousarray(both_bytes(data, image)[..., 0])
        if header.depth == 16 and header.color != GRAY:
            raise PictureError(f"label must be a PNG of ids in one channel, but it is {header}")
        pixels = np.array(image)
        if header.color == GRAY:
            if header.depth in (2, 4):  # Pillow stretches these to 0..255
                pixels //= 255 // (2**header.depth - 1)
            return pixels.astype(np.uint16 if header.depth == 16 else np.uint8, copy=False)
        return pixels if header.color == PALETTE else _equal_channels(pixels, header)


def decode_label_colors(data: bytes, *, with_palette: bool) -> np.ndarray | None:
    """Decode a label that is a picture of colors.

    Args:
        data: A PNG, or a TIFF without loss.
        with_palette: Whether the colors of a palette are meant, rather than its indices.

    Returns:
        ``(H, W, 3)`` uint8 RGB; None where the file is gray, or has a palette that is not meant.

    Raises:
        PictureError: The data are no such file or a damaged one, or it has more than `MAX_PIXELS`, several frames, more
            than 8 bits per channel, or transparent pixels.
    """
    if tiff.is_tiff(data):
        return _tiff_colors(data, with_palette=with_palette)
    header = _label_header(data)
    if header.color not in (RGB, RGBA) and not (with_palette and header.color == PALETTE):
        return None
    with opened(data) as image:
        check_chunks(data)
        if header.depth == 16:
            raise PictureError(f"label must have 8 bits per channel, but it is {header}")
        pixels = np.array(image.convert("RGBA") if header.color != RGB else image)
    if pixels.shape[2] == 4 and pixels[..., 3].min() < 255:
        raise PictureError(f"label must be opaque, but it is {header} and has transparent pixels. Save it as RGB.")
    return np.ascontiguousarray(pixels[..., :3])


def _label_header(data: bytes) -> PngHeader:
    """Return the header of a label file, which must be a PNG."""
    header = png_header(data)
    if header is None:
        raise PictureError(
            "label must be a PNG or a TIFF file, since others may be lossy, but "
            + (f"the file is {kind_of(data)}. Save it as PNG." if data else "the file is empty (0 bytes).")
        )
    _check_upright("PNG", read_orientation(data))
    return header


def _check_upright(kind: str, orientation: int) -> None:
    """Refuse a label that viewers turn: nobody knows whether it was drawn on the photo as shown, or as stored."""
    if orientation != UPRIGHT:
        raise PictureError(
            f"label must be a {kind} that is stored as it is shown, but its orientation is {orientation}. Save it "
            "upright, without this tag."
        )


def _equal_channels(pixels: np.ndarray, header: PngHeader) -> np.ndarray:
    """Return the one channel that pixels ``(H, W, 2..4)`` hold several times."""
    values = pixels[..., :-1] if header.color in (GRAY_ALPHA, RGBA) else pixels
    if values is not pixels and pixels[..., -1].min() < 255:
        raise PictureError(f"label must be opaque, but it is {header} and has transparent pixels. Save it as gray.")
    if (values != values[..., :1]).any():
        raise PictureError(
            f"label must hold ids in one channel, but it is {header} with channels that differ, a picture of colors. "
            "Give the file of ids instead; or, for labels of your own, the color of each class (--classes)."
        )
    return np.ascontiguousarray(values[..., 0])


def _tiff_outline(data: bytes) -> tiff.Outline:
    """Return what a TIFF says of itself, which must keep ids as they are."""
    outline = tiff.read_outline(data)
    if not outline.is_lossless or outline.is_signed_or_real or outline.bits > 16:
        raise PictureError(
            f"label must be a TIFF of whole numbers, stored without loss, but it is {outline}. Save it as PNG, or as "
            "TIFF with LZW or Deflate."
        )
    _check_upright("TIFF", outline.orientation or UPRIGHT)
    return outline


def _tiff_label(data: bytes) -> np.ndarray:
    """Return the ids of a TIFF, ``(H, W)`` uint8 or uint16."""
    outline = _tiff_outline(data)
    if outline.is_inverted or (outline.bits not in (8, 16) and not outline.has_palette):  # Pillow would change these
        raise PictureError(
            f"label must be a TIFF of ids of 8 or 16 bits, with 0 for black or a palette, but it is {outline}"
            f"{' with 0 for white' * outline.is_inverted}. Save it as PNG."
        )
    with opened(data) as image:
        if outline.bands == 1 and image.mode in ("L", "P", "I;16", "I;16B"):
            return np.array(image).astype(np.uint16 if outline.bits == 16 else np.uint8, copy=False)
        if outline.bits == 8 and image.mode in ("RGB", "LA", "RGBA"):
            color = {"RGB": RGB, "LA": GRAY_ALPHA, "RGBA": RGBA}[image.mode]
            return _equal_channels(np.array(image), PngHeader(*image.size, 8, color))
        raise PictureError(f"label must hold ids in one channel, but it is {outline}")


def _tiff_colors(data: bytes, *, with_palette: bool) -> np.ndarray | None:
    """Return the colors of a TIFF, ``(H, W, 3)`` uint8; None where it is gray, or has a palette that is not meant."""
    outline = _tiff_outline(data)
    with opened(data) as image:
        if image.mode in ("1", "L", "I;16", "I;16B") or (image.mode == "P" and not with_palette):
            return None
        if image.mode not in ("P", "RGB", "RGBA") or outline.bits > 8:
            raise PictureError(f"label must be RGB with 8 bits per channel, but it is {outline}")
        pixels = np.array(image.convert("RGBA") if image.mode == "RGBA" else image.convert("RGB"))
    if pixels.shape[2] == 4 and pixels[..., 3].min() < 255:
        raise PictureError(f"label must be opaque, but it is {outline} and has transparent pixels. Save it as RGB.")
    return np.ascontiguousarray(pixels[..., :3])
