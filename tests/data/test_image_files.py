"""Decoders: the right pixels of all kinds of files, and a ValueError, never worse, for whatever is none."""

from __future__ import annotations

import contextlib
import io
import os
import struct
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pgpc.data import image_files, image_limits
from pgpc.data.image_files import (
    PictureError,
    decode_image,
    read_file,
    read_header,
    read_orientation,
    turn,
)
from pgpc.data.label_files import decode_label, decode_label_colors
from pgpc.data.pixel_form import PixelForm
from pgpc.data.tiles import encode_tiles
from tests.helpers.tiffs import tiff

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
fuzz = settings(
    max_examples=60, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def resealed(png: bytes, position: int, value: bytes, chunk) -> bytes:
    """A PNG with other bytes in its header, and the header's checksum mended."""
    header = bytearray(png[16:29])
    header[position : position + len(value)] = value
    return png[:8] + chunk(b"IHDR", bytes(header)) + png[33:]


# --- labels


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("interlaced", [False, True])
def test_gray_labels_of_all_depths_keep_their_ids(png, depth: int, interlaced: bool) -> None:
    ids = np.random.default_rng(depth).integers(0, 2**depth, (9, 13))
    label = decode_label(png(ids, depth=depth, interlaced=interlaced))
    assert label.dtype == (np.uint16 if depth == 16 else np.uint8)
    assert np.array_equal(label, ids)


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_ids_of_a_palette_are_its_indices_not_its_colors(png, palette, depth: int) -> None:
    ids = np.random.default_rng(depth).integers(0, 2**depth, (9, 13))
    assert np.array_equal(decode_label(png(ids, depth=depth, color=3, extra=palette(2**depth))), ids)


@pytest.mark.parametrize("interlaced", [False, True])
def test_synthia_ids_are_the_red_channel_in_16_bits(png, interlaced: bool) -> None:
    pixels = np.random.default_rng(1).integers(0, 2**16, (9, 13, 3))
    label = decode_label(png(pixels, depth=16, color=2, interlaced=interlaced), "red16")
    assert label.dtype == np.uint16 and np.array_equal(label, pixels[..., 0])


def test_other_pngs_have_no_16_bit_red(png) -> None:
    for depth, color, shape in ((8, 2, (3, 3, 3)), (16, 0, (3, 3)), (16, 6, (3, 3, 4))):
        with pytest.raises(PictureError, match="16-bit RGB PNG with the ids in red"):
            decode_label(png(np.zeros(shape), depth=depth, color=color), "red16")
    for color, channels in ((2, 3), (4, 2), (6, 4)):
        with pytest.raises(PictureError, match="ids in one channel, but it is 16-bit"):
            decode_label(png(np.zeros((3, 3, channels)), depth=16, color=color))


@pytest.mark.parametrize(("color", "gray", "alpha"), [(2, 3, 0), (4, 1, 1), (6, 3, 1)])
def test_equal_opaque_channels_are_gray(png, color: int, gray: int, alpha: int) -> None:
    ids = np.arange(20).reshape(4, 5)
    pixels = np.stack([ids] * gray + [np.full_like(ids, 255)] * alpha, axis=2)
    assert np.array_equal(decode_label(png(pixels, color=color)), ids)
    if alpha:
        pixels[2, 3, -1] = 254
        with pytest.raises(PictureError, match="opaque"):
            decode_label(png(pixels, color=color))
    if gray == 3:
        pixels[..., -1] = 255 if alpha else pixels[..., 0]
        pixels[1, 1, 1] += 1
        with pytest.raises(PictureError, match="channels that differ, a picture of colors"):
            decode_label(png(pixels, color=color))


def test_only_pngs_are_labels() -> None:
    image = Image.fromarray(PIXELS[..., 0])
    for kind in ("jpeg", "webp", "bmp", "gif"):
        with pytest.raises(PictureError, match="must be a PNG or a TIFF file, since others may be lossy"):
            decode_label(encoded(image, kind))
    with pytest.raises(PictureError, match="empty"):
        decode_label(b"")


# --- images


@pytest.mark.parametrize("kind", ["png", "bmp", "webp"])
def test_lossless_images_are_exact(kind: str) -> None:
    data = encoded(Image.fromarray(PIXELS), kind, **({"lossless": True} if kind == "webp" else {}))
    assert read_header(data) == (7, 5)
    assert np.array_equal(decode_image(data), PIXELS)


def test_jpegs_are_close() -> None:
    smooth = np.repeat(np.linspace(20, 200, 64, dtype=np.uint8)[None], 32, axis=0)[..., None].repeat(3, axis=2)
    assert np.abs(decode_image(encoded(Image.fromarray(smooth), "jpeg")).astype(int) - smooth).max() <= 4


@pytest.mark.filterwarnings("error")
def test_gray_palette_and_transparent_images_become_rgb(png, palette, chunk) -> None:
    gray = PIXELS[..., 0]
    assert np.array_equal(decode_image(png(gray)), np.stack([gray] * 3, axis=2))
    assert np.array_equal(decode_image(png(np.dstack([PIXELS, gray]), color=6)), PIXELS)
    colored = png(gray, color=3, extra=palette() + chunk(b"tRNS", b"\x00\x80"))
    # Color k of the palette has 255 - k in each channel: three bytes per color.
    assert np.array_equal(decode_image(colored), np.stack([255 - gray] * 3, axis=2))


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp"])
def test_photos_are_turned_as_their_exif_says(kind: str) -> None:
    blocks = np.kron(np.array([[0, 255, 0], [255, 255, 0]], dtype=np.uint8), np.ones((16, 16), dtype=np.uint8))
    image = Image.fromarray(np.stack([blocks] * 3, axis=2))
    # From EXIF's table of which side of the scene the first row and column are.
    turned = {
        1: blocks,
        2: blocks[:, ::-1],
        3: blocks[::-1, ::-1],
        4: blocks[::-1],
        5: blocks.T,
        6: blocks[::-1].T,
        7: blocks[::-1, ::-1].T,
        8: blocks[:, ::-1].T,
    }
    for orientation, expected in turned.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        data = encoded(image, kind, exif=exif)
        decoded = decode_image(data)
        assert read_orientation(data) == orientation and np.array_equal(turn(blocks, orientation), expected)
        assert np.array_equal(turn(np.dstack([blocks] * 3), orientation)[..., 1], expected)
        assert read_header(data) == decoded.shape[1::-1] == expected.shape[::-1]
        assert np.abs(decoded[..., 0].astype(int) - expected).max() < 40


@pytest.mark.parametrize("decode", [decode_label, partial(decode_label_colors, with_palette=False)])
def test_labels_that_exif_says_to_turn_are_refused(decode: Callable[[bytes], np.ndarray]) -> None:
    """Viewers show them turned, and their pixels are those of a photo as it is stored, or of nothing."""
    label, exif = Image.fromarray(np.zeros((8, 12, 3), dtype=np.uint8)), Image.Exif()
    for orientation in range(2, 9):
        exif[0x0112] = orientation
        with pytest.raises(
            PictureError, match=f"PNG that is stored as it is shown, but its orientation is {orientation}"
        ):
            decode(encoded(label, "png", exif=exif))
    exif[0x0112] = 1
    assert decode(encoded(label, "png", exif=exif)).shape[:2] == (8, 12)


@pytest.mark.parametrize(
    ("contents", "kind"),
    [
        (b"-----BEGIN OPENSSH PRIVATE KEY-----", "of no kind that is known here"),
        (b"hunter2", "of no kind that is known here"),
        (b"II*\x00SECRETSECRET", "a TIFF"),
        (b"\0\0\0\x1cftypavifSECRET", "an AVIF"),
        (b"version https://git-lfs.github.com/spec/v1\noid SECRET", "a pointer of Git LFS, whose .*git lfs pull"),
    ],
)
def test_errors_tell_the_kind_of_a_file_but_nothing_that_stands_in_it(contents: bytes, kind: str) -> None:
    """The file may be a link, in somebody else's data set, to one with secrets."""
    for read in (decode_image, decode_label, read_header, read_orientation):
        with pytest.raises(PictureError, match=f"is {kind}") as error:
            read(contents)
        shown = str(error.value)
        assert not any(secret in shown for secret in ("BEGIN", "hunter", "SECRET", "-----", "hun"))


def test_deep_and_moving_pictures_are_refused(png) -> None:
    for depth_16 in (png(np.zeros((3, 3)), depth=16), png(np.zeros((3, 3, 3)), depth=16, color=2)):
        with pytest.raises(PictureError, match="3 bands of 8 bits, but it is a PNG of 16-bit"):
            decode_image(depth_16)
    frames = [Image.fromarray(PIXELS[..., k]) for k in range(3)]
    for kind in ("png", "webp"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        for read in (decode_image, read_header) + ((decode_label,) if kind == "png" else ()):
            with pytest.raises(PictureError, match="animated"):
                read(data)
    for kind in ("gif", "ppm"):
        with pytest.raises(PictureError, match="cannot identify the file as a PNG, JPEG, WebP, BMP, TIFF or HEIC"):
            decode_image(encoded(frames[0], kind))


# --- hostile and damaged files


@pytest.mark.parametrize("read", [read_header, decode_image, decode_label])
def test_a_bomb_costs_no_memory(png, chunk, read) -> None:
    bomb = resealed(png(np.zeros((4, 4))), 0, struct.pack(">II", 60_000, 60_000), chunk)[:50]
    tracemalloc.start()
    try:
        with pytest.raises(PictureError, match=r"at most 134217728 pixels, but it is 60000 x 60000"):
            read(bomb)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_bombs_of_other_formats_are_refused() -> None:
    bmp = bytearray(encoded(Image.fromarray(PIXELS), "bmp"))
    bmp[18:26] = struct.pack("<ii", 60_000, 60_000)
    jpeg = bytearray(encoded(Image.fromarray(PIXELS), "jpeg"))
    size = jpeg.index(b"\xff\xc0") + 5
    jpeg[size : size + 4] = struct.pack(">HH", 60_000, 60_000)
    for bomb in (bmp, jpeg):
        with pytest.raises(PictureError, match="at most 134217728 pixels"):
            decode_image(bytes(bomb))


def test_the_limit_itself_is_allowed(png, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_limits, "MAX_PIXELS", 12)
    assert decode_label(png(np.zeros((3, 4)))).shape == (3, 4)
    with pytest.raises(PictureError, match="at most 12 pixels, but it is 13 x 1"):
        decode_label(png(np.zeros((1, 13))))


def test_damage_is_named(png) -> None:
    label = png(np.arange(200).reshape(10, 20))
    flipped = bytearray(label)
    flipped[50] ^= 1  # among the compressed pixels: nothing else would notice
    for data, text in (
        (label[:20], "truncated"),
        (label[:60], "truncated"),
        (label[:-12], "truncated"),
        (bytes(flipped), "checksum"),
        (label[:8] + b"\0" * 40, "no header"),
    ):
        for read in (decode_label, decode_image):
            with pytest.raises(PictureError, match=text):
                read(data)
    jpeg = encoded(Image.fromarray(PIXELS.repeat(20, axis=0).repeat(20, axis=1)), "jpeg")
    with pytest.raises(PictureError, match="truncated"):
        decode_image(jpeg[: len(jpeg) // 2])
    for read in (read_header, decode_image):
        with pytest.raises(PictureError, match="0 bytes"):
            read(b"")
        with pytest.raises(PictureError, match="cannot identify"):
            read(b"no picture")


def outcome_is_sound(data: bytes) -> None:
    """Every reader gives an array of the right kind or a PictureError."""
    for read, kinds, dimensions in (
        (decode_image, (np.uint8,), 3),
        (lambda d: decode_image(d, form=PixelForm(3, 16)), (np.uint16,), 3),
        (lambda d: decode_image(d, form=PixelForm(5, 16)), (np.uint16,), 3),
        (decode_label, (np.uint8, np.uint16), 2),
        (lambda d: decode_label(d, "red16"), (np.uint16,), 2),
    ):
        try:
            pixels = read(data)
        except PictureError as error:
            assert str(error)
        else:
            assert pixels.dtype in kinds and pixels.ndim == dimensions and pixels.size
    with contextlib.suppress(PictureError):
        assert min(read_header(data)) > 0


@pytest.fixture(params=["gray", "palette", "red16", "rgba", "jpeg", "webp", "bmp", "tiff", "deep tiff", "tiles", "ids"])
def valid(request, png, palette) -> bytes:
    rng = np.random.default_rng(3)
    gray = rng.integers(0, 20, (9, 11))
    return {
        "gray": lambda: png(gray),
        "palette": lambda: png(gray, color=3, extra=palette(20)),
        "red16": lambda: png(rng.integers(0, 2**16, (9, 11, 3)), depth=16, color=2),
        "rgba": lambda: png(rng.integers(0, 256, (9, 11, 4)), color=6),
        "jpeg": lambda: encoded(Image.fromarray(PIXELS), "jpeg"),
        "webp": lambda: encoded(Image.fromarray(PIXELS), "webp"),
        "bmp": lambda: encoded(Image.fromarray(PIXELS), "bmp"),
        "tiff": lambda: encoded(Image.fromarray(PIXELS), "tiff", compression="tiff_lzw"),
        "deep tiff": lambda: tiff(rng.integers(0, 2**16, (9, 11, 5), dtype=np.uint16), compression="zlib"),
        "tiles": lambda: encode_tiles(PIXELS, side=4),
        "ids": lambda: encode_tiles(gray.astype(np.uint8), side=11),
    }[request.param]()


@fuzz
@given(
    beginning=st.sampled_from(
        [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM", b"II*\0\x08\0\0\0", b"\x89PGPC\r\n1"]
    ),
    data=st.binary(max_size=300),
)
def test_random_bytes(beginning: bytes, data: bytes) -> None:
    outcome_is_sound(beginning + data)


@fuzz
@given(share=st.floats(0, 1))
def test_truncations(valid: bytes, share: float) -> None:
    outcome_is_sound(valid[: int(share * len(valid))])


@fuzz
@given(flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 7)), min_size=1, max_size=4))
def test_bit_flips(valid: bytes, flips: list[tuple[float, int]]) -> None:
    damaged = bytearray(valid)
    for place, bit in flips:
        damaged[int(place * len(damaged))] ^= 1 << bit
    outcome_is_sound(bytes(damaged))


@fuzz
@given(data=st.data())
def test_bit_flips_with_checksums_that_fit(data, png, chunk) -> None:
    """What an attacker writes rather than what a disk loses: any header, and any pixels, sealed."""
    header = struct.pack(
        ">IIBBBBB",
        data.draw(st.integers(0, 40)),
        data.draw(st.integers(0, 40)),
        data.draw(st.sampled_from([0, 1, 2, 4, 8, 16, 3, 255])),
        data.draw(st.integers(0, 7)),
        *data.draw(st.sampled_from([(0, 0, 0), (0, 0, 1), (1, 0, 0), (0, 9, 0), (0, 0, 7)])),
    )
    body = bytearray(png(np.arange(600).reshape(20, 30))[41:-16])
    body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(0, 255))
    other = data.draw(st.sampled_from([b"", b"PLTE", b"tRNS", b"eXIf", b"iCCP", b"acTL", b"fcTL", b"zTXt"]))
    extra = chunk(other, data.draw(st.binary(max_size=40))) if other else b""
    chunks = chunk(b"IHDR", header), extra, chunk(b"IDAT", bytes(body)), chunk(b"IEND", b"")
    outcome_is_sound(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


# --- tiles


def test_tiles_are_read_as_any_other_picture(png) -> None:
    data = encode_tiles(PIXELS, side=4)
    assert read_header(data) == (7, 5)
    assert np.array_equal(decode_image(data), PIXELS)
    # Tiles as little as PNGs of the same pixels may look at more than the part that is asked for.
    assert not np.array_equal(part := decode_image(data, (0, 0, 2, 2)), PIXELS) and part.shape == PIXELS.shape
    assert np.array_equal(part[:4, :4], PIXELS[:4, :4])
    assert np.array_equal(decode_image(encoded(Image.fromarray(PIXELS), "png"), (0, 0, 2, 2)), PIXELS)
    ids = encode_tiles(PIXELS[..., 0])
    assert np.array_equal(decode_label(ids), PIXELS[..., 0])


def test_tiles_of_the_wrong_kind() -> None:
    colors, ids = encode_tiles(PIXELS), encode_tiles(PIXELS[..., 0])
    with pytest.raises(PictureError, match="one channel, a label"):
        decode_image(ids)
    with pytest.raises(PictureError, match="colors, an image"):
        decode_label(colors)
    with pytest.raises(PictureError, match="must be a PNG"):
        decode_label(ids, "red16")


# --- files


def test_files_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "sound").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "sound")
    assert read_file(tmp_path / "link") == b"x"
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(8 * image_files.MAX_PIXELS + 1)
    for name, text in (
        ("broken", "link to nothing"),
        ("loop", "cannot be read"),
        ("pipe", "regular file"),
        ("huge", "at most"),
        ("missing", "No such file"),
        (".", "regular file"),
    ):
        with pytest.raises(PictureError, match=text):
            read_file(tmp_path / name)
