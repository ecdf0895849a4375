"""TIFF files: all values of all bands, what Pillow reads and what tifffile does, and what is refused."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from pgpc.data.formats import tiff as tiff_files
from pgpc.data.image_files import decode_image, goes_into_tiles, read_header, read_orientation
from pgpc.data.image_limits import PictureError
from pgpc.data.label_files import decode_label, decode_label_colors
from pgpc.data.pixel_form import RGB, PixelForm
from tests.helpers.tiffs import tiff

RNG = np.random.default_rng(0)
DEEP = RNG.integers(0, 2**16, (9, 13, 6), dtype=np.uint16)
DEEP[0, 0], DEEP[0, 1] = 0, 65535
PIXELS = RNG.integers(0, 256, (9, 13, 6), dtype=np.uint8)


@pytest.mark.parametrize("compression", [None, "lzw", "zlib", "zstd", "packbits"])
@pytest.mark.parametrize("bands", [1, 2, 3, 4, 6])
@pytest.mark.parametrize("bits", [8, 16])
def test_every_value_of_every_band_is_kept(compression: str | None, bands: int, bits: int) -> None:
    pixels = (DEEP if bits == 16 else PIXELS)[..., :bands]
    data = tiff(pixels[..., 0] if bands == 1 else pixels, compression=compression)
    decoded = decode_image(data, form=PixelForm(bands, bits))
    assert decoded.dtype == pixels.dtype and np.array_equal(decoded, pixels)
    assert read_header(data) == (13, 9) and read_orientation(data) == 1 and goes_into_tiles(data)


@pytest.mark.parametrize(
    "options",
    [
        {"planarconfig": "separate"},
        {"byteorder": ">"},
        {"bigtiff": True},
        {"tile": (16, 16)},
        {"rowsperstrip": 2, "compression": "lzw", "predictor": True},
    ],
)
def test_every_way_of_storing_them_is_read(options: dict[str, object]) -> None:
    assert np.array_equal(decode_image(tiff(DEEP[..., :4], **options), form=PixelForm(4, 16)), DEEP[..., :4])


def test_gray_is_repeated_and_alpha_dropped_where_three_bands_are_asked_for() -> None:
    for pixels, bits in ((PIXELS, 8), (DEEP, 16)):
        gray = decode_image(tiff(pixels[..., 0]), form=PixelForm(3, bits))
        assert np.array_equal(gray, np.stack([pixels[..., 0]] * 3, axis=2))
        with_alpha = tiff(pixels[..., :4], photometric="rgb", extrasamples=("unassalpha",))
        assert np.array_equal(decode_image(with_alpha, form=PixelForm(3, bits)), pixels[..., :3])
        assert np.array_equal(decode_image(with_alpha, form=PixelForm(4, bits)), pixels[..., :4])
    white_is_zero = tiff(DEEP[..., 0], photometric="miniswhite")
    assert np.array_equal(decode_image(white_is_zero, form=PixelForm(1, 16))[..., 0], 65535 - DEEP[..., 0])


def test_alpha_is_dropped_wherever_it_lies() -> None:
    """GIS tools add bands behind it: red, green, blue, alpha, near infrared."""
    data = tiff(PIXELS[..., :5], photometric="rgb", extrasamples=("unassalpha", "unspecified"))
    assert np.array_equal(decode_image(data, form=PixelForm(4, 8)), PIXELS[..., [0, 1, 2, 4]])
    assert np.array_equal(decode_image(data, form=PixelForm(5, 8)), PIXELS[..., :5])


def test_colors_of_other_kinds_are_not_taken_for_bands() -> None:
    lab = tiff(PIXELS[..., :3], photometric="cielab")
    ink = io.BytesIO()
    Image.fromarray(PIXELS[..., :4], "CMYK").save(ink, "tiff")
    for data, bands, kind in ((lab, 3, r"L\*a\*b\*"), (ink.getvalue(), 4, "ink")):
        with pytest.raises(PictureError, match=f"a TIFF of {bands} bands of 8 bits, in {kind}"):
            decode_image(data, form=PixelForm(bands, 8))


def test_a_fourth_band_that_is_not_said_to_be_alpha_is_not_dropped() -> None:
    near_infrared = tiff(PIXELS[..., :4], photometric="rgb", extrasamples=("unspecified",))
    with pytest.raises(PictureError, match="must have 3 bands of 8 bits, but it is a TIFF of 4 bands of 8 bits"):
        decode_image(near_infrared)


@pytest.mark.parametrize("dtype", ["int16", "float32", "uint32", "float64"])
def test_numbers_that_would_have_to_be_scaled_are_refused(dtype: str) -> None:
    data = tiff(DEEP[..., :3].astype(dtype))
    for form in (RGB, PixelForm(3, 16)):
        with pytest.raises(PictureError, match="gdal_translate -ot UInt16 -scale LOW HIGH"):
            decode_image(data, form=form)


def test_sixteen_bits_are_not_halved_unasked() -> None:
    """Pillow would: it opens RGB of 16 bits as 8 bits."""
    data = tiff(DEEP[..., :3])
    with pytest.raises(PictureError, match="must have 3 bands of 8 bits, but it is a TIFF of 3 bands of 16 bits"):
        decode_image(data)


def test_pages_overviews_and_orientation() -> None:
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        writer.write(DEEP[..., 0], photometric="minisblack", metadata=None)
        writer.write(DEEP[::2, ::2, 0], photometric="minisblack", metadata=None, subfiletype=1)
    assert np.array_equal(decode_image(file.getvalue(), form=PixelForm(1, 16))[..., 0], DEEP[..., 0])
    pages = io.BytesIO()
    Image.fromarray(PIXELS[..., :3]).save(pages, "tiff", save_all=True, append_images=[Image.new("RGB", (13, 9))])
    with pytest.raises(PictureError, match="one page, but the TIFF has 2"):
        decode_image(pages.getvalue())
    turned = tiff(DEEP[..., 0], extratags=[(274, "H", 1, 6, True)])
    assert read_header(turned) == (9, 13) and read_orientation(turned) == 6
    assert np.array_equal(decode_image(turned, form=PixelForm(1, 16))[..., 0], np.rot90(DEEP[..., 0], 3))
    photo = tiff(PIXELS[..., :3], extratags=[(274, "H", 1, 6, True)])
    assert np.array_equal(decode_image(photo), np.rot90(PIXELS[..., :3], 3))


def test_a_file_that_ends_too_early_is_not_filled_up() -> None:
    data = tiff(DEEP, compression="zlib", rowsperstrip=3)
    outline = tiff_files.read_outline(data)
    assert (outline.width, outline.height, outline.bands, outline.bits) == (13, 9, 6, 16)
    with pytest.raises(PictureError, match="truncated|tags cannot be read"):
        decode_image(data[:-40], form=PixelForm(6, 16))


@pytest.mark.parametrize(("tag", "size"), [(256, "0 x 9"), (257, "13 x 0")], ids=["width", "height"])
def test_a_file_without_pixels_is_refused_before_it_is_decoded(tag: int, size: str) -> None:
    data = tiff(PIXELS[..., :3])
    entry = struct.pack("<HHI", tag, 4, 1)  # one 32-bit number
    assert data.count(entry) == 1
    at = data.index(entry) + len(entry)
    with pytest.raises(PictureError, match=f"must have pixels, but the TIFF is {size}"):
        read_header(data[:at] + bytes(4) + data[at + 4 :])


def test_labels_may_be_tiffs_without_loss() -> None:
    ids = RNG.integers(0, 7, (9, 13))
    for dtype in (np.uint8, np.uint16):
        label = decode_label(tiff(ids.astype(dtype), compression="lzw"))
        assert label.dtype == dtype and np.array_equal(label, ids)
    palette = io.BytesIO()
    image = Image.fromarray(ids.astype(np.uint8))
    image.putpalette([*range(30)])
    image.save(palette, "tiff")
    assert np.array_equal(decode_label(palette.getvalue()), ids)
    assert decode_label_colors(palette.getvalue(), with_palette=False) is None
    colors = tiff(PIXELS[..., :3], compression="lzw")
    assert np.array_equal(decode_label_colors(colors, with_palette=False), PIXELS[..., :3])
    with pytest.raises(PictureError, match="channels that differ"):
        decode_label(colors)
    lossy = tiff(PIXELS[..., :3], compression="jpeg")
    for read in (decode_label, lambda data: decode_label_colors(data, with_palette=False)):
        with pytest.raises(PictureError, match="stored without loss"):
            read(lossy)
    with pytest.raises(PictureError, match="whole numbers"):
        decode_label(tiff(ids.astype(np.float32)))


def four_bits(ids: np.ndarray) -> bytes:
    """Return a gray TIFF of 4 bits, ids ``(H, W)`` with an even W, which no library here writes."""
    height, width = ids.shape
    packed = (ids[:, ::2] << 4 | ids[:, 1::2]).astype(np.uint8).tobytes()
    numbers = {256: width, 257: height, 258: 4, 259: 1, 262: 1, 273: 110, 277: 1, 279: len(packed)}
    tags = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in numbers.items())
    return struct.pack("<4sIH", b"II*\0", 8, len(numbers)) + tags + bytes(4) + packed


def test_labels_are_never_stretched_inverted_or_turned() -> None:
    ids = RNG.integers(0, 7, (9, 14)).astype(np.uint8)
    assert np.array_equal(decode_image(four_bits(ids))[..., 0], ids * 17), "as it is shown"
    with pytest.raises(PictureError, match="ids of 8 or 16 bits, .* a TIFF of 1 band of 4 bits. Save it as PNG"):
        decode_label(four_bits(ids))
    with pytest.raises(PictureError, match="with 0 for white"):
        decode_label(tiff(ids, photometric="miniswhite"))
    with pytest.raises(PictureError, match="its orientation is 3. Save it upright"):
        decode_label(tiff(ids, extratags=[(274, "H", 1, 3, True)]))
    assert np.array_equal(decode_label(tiff(ids, extratags=[(274, "H", 1, 1, True)])), ids)
