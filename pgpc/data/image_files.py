"""Decoding of picture files, which may be damaged or hostile, as arrays.

Sizes are read and limited before anything is decoded, and every fault of a file is raised as a :class:`PictureError`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from pgpc.data.formats import heif, tiff
from pgpc.data.formats.png import PNG_SIGNATURE, check_chunks, decode_deep, png_header
from pgpc.data.image_limits import MAX_PIXELS, PictureError, check_size
from pgpc.data.pixel_form import FORM_REMEDY, RGB, PixelForm
from pgpc.data.tiles import Region, decode_tiles, is_tiled, tiled_size

# Few formats: Pillow knows dozens, and each is a decoder that a bad file may reach.
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK")  # up to 8 bits per channel
_BAND_MODES = {1: ("1", "L"), 4: ("RGBA",)}  # what Pillow knows of images of other than three bands

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

_KINDS = {
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
_AVIF = b"ftypavi"


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


def goes_into_tiles(data: bytes) -> bool:
    """Return whether a picture is to be stored as tiles: all but JPEG and WebP, which would be many times as large.

    PNG, BMP and TIFF are about as large in any lossless form; of HEIC, not every machine that trains has the decoder.
    """
    return data.startswith((PNG_SIGNATURE, b"BM")) or tiff.is_tiff(data) or heif.is_heif(data)


def read_header(data: bytes | memoryview) -> tuple[int, int]:
    """Return the width and height that :func:`decode_image` would give, without decoding.

    Raises:
        PictureError: The data are no picture, or one with more than `MAX_PIXELS`.
    """
    if is_tiled(data):
        return tiled_size(data)
    if tiff.is_tiff(data):
        outline = tiff.read_outline(bytes(data))
        size = outline.width, outline.height
        return size[::-1] if outline.orientation in _SWAPPED else size
    with opened(bytes(data)) as image:
        width, height = image.size
        return (height, width) if _orientation(image) in _SWAPPED else (width, height)


def read_orientation(data: bytes) -> int:
    """Return the EXIF orientation of a picture file, 1 to 8; `UPRIGHT` where it has none, or one that means nothing.

    Raises:
        PictureError: The data are no picture, or one with more than `MAX_PIXELS`.
    """
    if tiff.is_tiff(data):
        orientation = tiff.read_outline(data).orientation
        return orientation if orientation in _TURNS else UPRIGHT
    with opened(data) as image:
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


def decode_image(data: bytes | memoryview, region: Region | None = None, form: PixelForm = RGB) -> np.ndarray:
    """Decode an image, turned as its EXIF orientation says.

    Values are those of the file. For three bands gray is repeated, a palette looked up, alpha dropped and ink (CMYK)
    made RGB by Pillow's rule, without a color profile; for others the file must have as many.

    Args:
        data: A picture file, or an image stored as tiles (``pgpc.data.tiles``).
        region: The part that will be looked at; None means all. Of tiles, those beside it are then left 0; pictures of
            other kinds are decoded as a whole.
        form: The bands and bits that the image must have.

    Returns:
        ``(H, W, bands)``, uint8 or uint16.

    Raises:
        PictureError: The data are no picture or a damaged one, or it has more than `MAX_PIXELS`, another form, or
            several frames or pages.
    """
    if is_tiled(data):
        pixels = decode_tiles(data, region)
        if pixels.ndim == 2 and form.bands == 1:
            pixels = pixels[..., None]
        if not form.fits(pixels):
            what = "one channel, a label" if pixels.ndim == 2 else f"{pixels.dtype} {pixels.shape}"
            raise PictureError(f"image must have {form}, but these tiles hold {what}")
        return pixels
    data = bytes(data)
    if tiff.is_tiff(data):
        return _decode_tiff(data, form)
    with opened(data) as image:
        header = png_header(data)
        if header is not None:
            check_chunks(data)
        rotation = _TURNS.get(_orientation(image))
        if header is not None and header.depth == 16 == form.bits:
            pixels = decode_deep(data, image, header, form)
            return pixels if rotation is None else turn(pixels, _orientation(image))
        # Pillow itself would silently halve the depth of 16-bit colors.
        if image.mode not in _MODES or form.bits != 8 or (header is not None and header.depth == 16):
            kind = f"a PNG of {header}" if header is not None else f"a {image.format} of 8 bits ({image.mode})"
            raise PictureError(f"image must have {form}, but it is {kind}. {FORM_REMEDY}")
        image.load()
        colors = _of_bands(image, form)
        return _array(colors if rotation is None else colors.transpose(rotation))


def _decode_tiff(data: bytes, form: PixelForm) -> np.ndarray:
    """Decode a TIFF: by Pillow where that knows its colors, and by tifffile otherwise."""
    outline = tiff.read_outline(data)
    check_size(outline.width, outline.height)
    if form == RGB and outline.is_picture:
        with opened(data) as image:
            image.load()  # which turns it
            return _array(_of_bands(image, form))
    try:
        return turn(tiff.decode(data, form), outline.orientation)
    except PictureError:
        raise
    except Exception as error:
        raise PictureError(f"picture is damaged: {str(error) or type(error).__name__}") from error


def _of_bands(image: Image.Image, form: PixelForm) -> Image.Image:
    """Return a loaded picture with as many bands as are asked for."""
    image.info.pop("transparency", None)  # without it Pillow need not warn that alpha is dropped
    if form.bands == 3:
        return image if image.mode == "RGB" else image.convert("RGB")
    if image.mode not in _BAND_MODES.get(form.bands, ()):
        raise PictureError(f"image must have {form}, but it is a {image.format} of {image.mode}. {FORM_REMEDY}")
    return image.convert("L") if image.mode == "1" else image


def _array(image: Image.Image) -> np.ndarray:
    """Return the pixels of a picture, ``(H, W, bands)``."""
    pixels = np.array(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def kind_of(data: bytes) -> str:
    """Return what a file is that is no picture.

    Never what stands in it: the name may be a link, of somebody else's data set, to a file with secrets.
    """
    known = next((kind for start, kind in _KINDS.items() if data.startswith(start)), None)
    if tiff.is_tiff(data) or heif.is_heif(data):
        return "a TIFF" if tiff.is_tiff(data) else "a HEIC"
    return known or ("an AVIF" if data[4:].startswith(_AVIF) else "of no kind that is known here")


@contextmanager
def opened(data: bytes) -> Iterator[Image.Image]:
    """Open a picture of a known format, one frame and at most `MAX_PIXELS`; all errors within become PictureErrors."""
    try:
        if not data:
            raise PictureError("picture must not be empty, but the file has 0 bytes")
        header = png_header(data)
        if header is not None:
            check_size(header.width, header.height)
        with Image.open(io.BytesIO(data), formats=_formats(data)) as image:
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
            f"cannot identify the file as a PNG, JPEG, WebP, BMP, TIFF or HEIC picture; it is {kind_of(data)}"
        ) from error
    # Decoders fail in many ways on damaged files: OSError, SyntaxError, struct.error, zlib.error, ...
    except Exception as error:
        raise PictureError(f"picture is damaged: {str(error) or type(error).__name__}") from error


def _formats(data: bytes) -> tuple[str, ...]:
    """Return the formats of Pillow that a file may have: those of the formats that are looked at here by themselves."""
    if tiff.is_tiff(data):
        tiff.read_outline(data)
        return ("TIFF",)
    if heif.is_heif(data):
        heif.register()
        return ("HEIF",)
    return _FORMATS


def _orientation(image: Image.Image) -> Any:
    # Not image.getexif(): that of PNGs decodes the picture, to find a tag behind it.
    return Image.Image.getexif(image).get(_ORIENTATION)
