"""TIFF files: what their tags say, and the pixels of those that Pillow does not decode or would halve."""

from __future__ import annotations

import io
from typing import Any, NamedTuple

import numpy as np
from PIL import TiffImagePlugin

from pgpc.data.image_limits import MAX_PIXELS, PictureError
from pgpc.data.pixel_form import BITS, FORM_REMEDY, MAX_BANDS, PixelForm

_MAX_PAGES = 64
"""Pages that are looked for: overviews, of which large files have about ten."""

_NEW_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_STRIP_OFFSETS, _ORIENTATION, _BANDS, _STRIP_BYTES, _TILE_OFFSETS, _TILE_BYTES = 273, 274, 277, 279, 324, 325
_EXTRA, _SAMPLE_FORMAT = 338, 339

_UNSIGNED, _SIGNED, _REAL = 1, 2, 3
_FORMATS = {_UNSIGNED: "", _SIGNED: "signed ", _REAL: "real "}
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK = 0, 1, 2, 3, 5
_OF_COLORS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4, 6: 3}
"""Bands that make the color of a pixel, by what they mean; others are alpha or of the sensor."""
_MEASURED = (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB)
"""What bands mean whose values are light; others are an index, ink, or colors of another kind, such as L*a*b*."""
_MEANINGS = {
    **dict.fromkeys(_MEASURED, ""),
    **{
        _PALETTE: "with a palette",
        _CMYK: "in ink (CMYK)",
        6: "in YCbCr",
        8: "in L*a*b*",
        32803: "of single colors (CFA)",
    },
}
_ALPHA = (1, 2)
_LOSSLESS = (1, 2, 3, 4, 5, 8, 32773, 32946, 34925, 50000)
"""Compressions that keep every value: none, those of bilevel pictures, LZW, Deflate, PackBits, LZMA, Zstandard."""


class Outline(NamedTuple):
    """What a TIFF says of its first page.

    Attributes:
        width: Width in pixels, as it is stored.
        height: Height in pixels, as it is stored.
        bands: Number of bands, alpha included.
        bits: Bits of each band.
        sample_format: 1 for whole numbers from 0 on, 2 for signed ones, 3 for real ones.
        photometric: What the bands mean.
        alpha: Number of the bands that are alpha: at most 1.
        alpha_at: Place of the band that is alpha; `bands` where none is.
        orientation: Orientation as in EXIF, 1 to 8.
        compression: How pixels are compressed.
        pages: Number of pages that are no overviews or masks.
    """

    width: int
    height: int
    bands: int
    bits: int
    sample_format: int
    photometric: int
    alpha: int
    alpha_at: int
    orientation: int
    compression: int
    pages: int

    @property
    def is_signed_or_real(self) -> bool:
        """Whether values are no whole numbers from 0 on."""
        return self.sample_format != _UNSIGNED

    @property
    def is_lossless(self) -> bool:
        """Whether the compression keeps every value."""
        return self.compression in _LOSSLESS

    @property
    def is_inverted(self) -> bool:
        """Whether 0 is white."""
        return self.photometric == _WHITE_IS_ZERO

    @property
    def has_palette(self) -> bool:
        """Whether values are indices of colors."""
        return self.photometric == _PALETTE

    @property
    def is_picture(self) -> bool:
        """Whether it shows gray, a palette, RGB or colors of ink, in up to 8 bits and with nothing but alpha beside."""
        colors = _OF_COLORS.get(self.photometric)
        return self.bits <= 8 and not self.is_signed_or_real and colors == self.bands - self.alpha

    def __str__(self) -> str:
        numbers = _FORMATS.get(self.sample_format, "unknown ")
        meaning = _MEANINGS.get(self.photometric, f"in colors of kind {self.photometric}")
        bands = f"{self.bands} band{'s' * (self.bands != 1)}"
        return f"a TIFF of {bands} of {self.bits} {numbers}bits{meaning and ', '}{meaning}"


def is_tiff(data: bytes | memoryview) -> bool:
    """Return whether a file is a TIFF, by its first bytes."""
    return bytes(data[:4]) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_outline(data: bytes) -> Outline:
    """Read the tags of a TIFF, and check that all of its pixels are there.

    Raises:
        PictureError: The file is damaged or truncated, has no pixels, or has several pages.
    """
    try:
        pages = _pages(data)
        first = pages[0]
        _check_whole(first, len(data))
        bits = _several(first.get(_BITS, 1))
        extra = _several(first.get(_EXTRA, ()))
        bands, transparent = int(first.get(_BANDS, 1)), [k for k, value in enumerate(extra) if value in _ALPHA]
        outline = Outline(
            width=int(first[_WIDTH]),
            height=int(first[_HEIGHT]),
            bands=bands,
            bits=max(bits),
            sample_format=max(_several(first.get(_SAMPLE_FORMAT, _UNSIGNED))),
            photometric=int(first.get(_PHOTOMETRIC, 1)),
            alpha=len(transparent[:1]),
            alpha_at=bands - len(extra) + transparent[0] if transparent else bands,
            orientation=int(first.get(_ORIENTATION, 1)),
            compression=int(first.get(_COMPRESSION, 1)),
            pages=sum(not int(page.get(_NEW_SUBFILE, 0)) & 5 for page in pages),  # 1: an overview, 4: a mask
        )
    except PictureError:
        raise
    except Exception as error:  # damaged tags make the reader fail in many ways
        raise PictureError("picture is damaged: it is a TIFF whose tags cannot be read") from error
    if min(outline.width, outline.height) < 1:
        raise PictureError(f"picture must have pixels, but the TIFF is {outline.width} x {outline.height}")
    if len(set(bits)) > 1:
        raise PictureError(f"bands of a TIFF must have the same bits, but they have {bits}")
    if outline.pages > 1:
        raise PictureError(f"picture must have one page, but the TIFF has {outline.pages}. Save each by itself.")
    if not 1 <= outline.bands <= MAX_BANDS or outline.width * outline.height * outline.bands > 8 * MAX_PIXELS:
        raise PictureError(
            f"picture must have at most {MAX_BANDS} bands and {8 * MAX_PIXELS} values, but it is {outline.width} x "
            f"{outline.height} of {outline.bands} bands. Cut it into parts."
        )
    return outline


def decode(data: bytes, form: PixelForm) -> np.ndarray:
    """Decode a TIFF of the form that is asked for, by tifffile.

    Alpha is dropped where it is not asked for as a band, and gray is repeated for three bands.

    Args:
        data: The file.
        form: What pixels are asked for.

    Returns:
        ``(H, W, bands)`` uint8 or uint16, as it is stored: not yet turned by its orientation.

    Raises:
        PictureError: The image has another form, is damaged, or tifffile is not installed.
    """
    outline = read_outline(data)
    colors = outline.bands - outline.alpha
    fits = form.bands in (outline.bands, colors) or (form.bands == 3 and colors == 1)
    if outline.is_signed_or_real or outline.bits > max(BITS):
        raise PictureError(
            f"image must have whole numbers of 8 or 16 bits from 0 on, but it is {outline}. Convert all images of the "
            "data set with one fixed range, such as `gdal_translate -ot UInt16 -scale LOW HIGH 0 65535`."
        )
    if not fits or outline.bits != form.bits or outline.photometric not in _MEASURED:
        raise PictureError(f"image must have {form}, but it is {outline}. {FORM_REMEDY}")
    pixels = _by_tifffile(data)
    if pixels.shape != (outline.height, outline.width, outline.bands) or pixels.dtype != form.dtype:
        raise PictureError(f"picture is damaged: it is {outline}, but its pixels are {pixels.dtype} {pixels.shape}")
    if form.bands == outline.bands - 1 and outline.alpha:
        pixels = np.delete(pixels, outline.alpha_at, axis=2)
    elif form.bands != outline.bands:
        pixels = np.repeat(pixels[..., :1], form.bands, axis=2)
    return form.highest - pixels if outline.is_inverted else pixels


def _by_tifffile(data: bytes) -> np.ndarray:
    """Return the pixels of the first page, ``(H, W, bands)``."""
    try:
        import tifffile
    except ImportError as error:
        raise PictureError(
            "TIFF files of 16 bits, or of other bands than gray or RGB, are read by tifffile, which is not installed. "
            "Install it: pip install 'pgpc[tiff]'"
        ) from error
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page: Any = file.pages[0]
        pixels: np.ndarray = page.asarray()
        # Bands by themselves come first; a single band has no axis.
        if page.axes == "SYX":
            pixels = np.moveaxis(pixels, 0, 2)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    return np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder("="), copy=False))


def _pages(data: bytes) -> list[TiffImagePlugin.ImageFileDirectory_v2]:
    """Return the tags of all pages."""
    is_big = data[2:3] == b"+" or data[3:4] == b"+"
    pages: list[TiffImagePlugin.ImageFileDirectory_v2] = []
    file, position = io.BytesIO(data), None
    while position != 0 and len(pages) < _MAX_PAGES:
        tags = TiffImagePlugin.ImageFileDirectory_v2(data[: 16 if is_big else 8])
        file.seek(tags.next if position is None else position)
        tags.load(file)
        pages.append(tags)
        position = tags.next
    return pages


def _check_whole(tags: TiffImagePlugin.ImageFileDirectory_v2, size: int) -> None:
    """Check that the file is as long as its tags say; tifffile would fill up what is missing."""
    for begins, lengths in ((_STRIP_OFFSETS, _STRIP_BYTES), (_TILE_OFFSETS, _TILE_BYTES)):
        pairs = zip(_several(tags.get(begins, ())), _several(tags.get(lengths, ())))
        if any(begin + length > size for begin, length in pairs):
            raise PictureError("picture is truncated: the TIFF ends before its pixels do")


def _several(value: Any) -> tuple[int, ...]:
    """Return the values of a tag, which may be one."""
    return tuple(map(int, value)) if isinstance(value, (tuple, list)) else (int(value),)
