"""Tiles: every pixel comes back, no more is decoded than is asked for, and nothing is believed about the bytes."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pgpc.data import tiles
from pgpc.data.image_limits import PictureError
from pgpc.data.tiles import decode_tiles, encode_tiles, is_tiled, tiled_size

HEAD = 28  # bytes before the table of tiles

fuzz = settings(
    max_examples=150, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def picture(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def seal(data: bytes) -> bytes:
    """Make the checksum of the head fit; that of the tiles are in the head."""
    count = max(0, min(_num_tiles(data), (len(data) - HEAD) // 8))
    return data[:8] + struct.pack("<I", zlib.crc32(data[12 : HEAD + 8 * count])) + data[12:]


def _num_tiles(data: bytes) -> int:
    width, height, _, side = struct.unpack_from("<4I", data, 12)
    return -(-width // side) * -(-height // side) if side else 0


def with_head(*sizes: int, tiles_: list[bytes]) -> bytes:
    """Tiles under a head of any width, height, channels and side, with checksums that fit."""
    table = b"".join(struct.pack("<II", len(tile), zlib.crc32(tile)) for tile in tiles_)
    return seal(b"\x89PGPC\r\n1" + bytes(4) + struct.pack("<4I", *sizes) + table + b"".join(tiles_))


def test_the_bytes_by_hand() -> None:
    pixels = np.array([[[9, 10, 12]], [[8, 11, 255]]], dtype=np.uint8)  # two rows, one column
    data = encode_tiles(pixels)
    assert is_tiled(data) and not is_tiled(b"\x89PNG\r\n\x1a\n") and not is_tiled(b"")
    assert struct.unpack_from("<4I", data, 12) == (1, 2, 3, tiles.SIDE)
    # Planes: red - green is -1, then -3, 2 less; green 10, then 1 more; blue - green 2, then 244, 242 more.
    assert pa.Codec("zstd").decompress(data[HEAD + 8 :], 6).to_pybytes() == bytes([255, 254, 10, 1, 2, 242])


@pytest.mark.parametrize("channels", [1, 3])
@fuzz
@given(height=st.integers(1, 40), width=st.integers(1, 40), side=st.integers(1, 45), seed=st.integers(0, 99))
def test_every_pixel_comes_back(channels: int, height: int, width: int, side: int, seed: int) -> None:
    pixels = picture(height, width, channels, seed)
    data = encode_tiles(pixels, side)
    assert tiled_size(data) == (width, height)
    decoded = decode_tiles(memoryview(data))
    assert decoded.dtype == np.uint8 and np.array_equal(decoded, pixels)
    assert encode_tiles(pixels[::-1, ::-1][::-1, ::-1], side) == data  # however the pixels lie in memory


@fuzz
@given(
    region=st.tuples(st.integers(0, 39), st.integers(0, 29), st.integers(1, 50), st.integers(1, 50)),
    side=st.integers(1, 45),
)
def test_only_the_tiles_of_a_region_are_decoded(region: tuple[int, int, int, int], side: int) -> None:
    pixels = picture(40, 30) | 1  # no zeros
    top, left, height, width = region
    needed = np.zeros((40, 30), dtype=bool)
    needed[top : top + height, left : left + width] = True
    for y in range(0, 40, side):
        for x in range(0, 30, side):
            tile = needed[y : y + side, x : x + side]
            tile[:] = tile.any()
    expected = np.where(needed[..., None], pixels, 0)
    assert np.array_equal(decode_tiles(encode_tiles(pixels, side), region), expected)


def test_damage_beside_the_region_does_not_matter() -> None:
    pixels = picture(20, 20)
    data = bytearray(encode_tiles(pixels, 10))
    data[-1] ^= 1  # in the last of four tiles
    for region in ((0, 0, 10, 20), (10, 0, 10, 10)):
        decode_tiles(bytes(data), region)
    for region in ((10, 10, 1, 1), None):
        with pytest.raises(PictureError, match="checksum of its tile 1, 1"):
            decode_tiles(bytes(data), region)


def test_a_photo_takes_no_more_space_than_as_png() -> None:
    """Gray structure with a little color and noise, as photos are."""
    rng = np.random.default_rng(0)
    rough = rng.normal(size=(30, 40)).repeat(16, 0).repeat(16, 1)
    smooth = sum(np.roll(rough, k, axis) for k in range(16) for axis in (0, 1)) / 8
    gray = 120 + 30 * smooth + rng.normal(scale=2, size=smooth.shape)
    pixels = np.stack([gray + k * smooth for k in (-5, 0, 5)], axis=2).clip(0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    assert len(encode_tiles(pixels)) < len(file.getvalue())


@pytest.mark.parametrize(
    ("sizes", "text"),
    [
        ((2**14, 2**13 + 1, 3, 192), "at most 134217728 pixels, but it is 16384 x 8193"),
        ((2**32 - 1, 2**32 - 1, 3, 2**32 - 1), "at most 134217728 pixels"),
        ((0, 4, 3, 4), "damaged: it has 0 x 4"),
        ((4, 4, 3, 0), "tiles of 0"),
        ((4, 4, 65, 4), "65 channels"),
        ((4, 4, 0, 4), "0 channels"),
        ((4, 4, 2**17, 4), "channels"),
        ((2**13, 2**13, 64, 4), "64 channels"),
        ((8, 8, 3, 1), "truncated within its table"),
        ((5, 4, 3, 4), "picture"),  # two tiles
        ((4, 3, 3, 4), "tile 0, 0 cannot be decompressed"),  # more bytes than pixels
        ((4, 5, 3, 5), "tile 0, 0 cannot be decompressed"),  # fewer
        ((4, 4, 1, 4), "tile 0, 0 cannot be decompressed"),
    ],
)
def test_heads_that_lie(sizes: tuple[int, ...], text: str) -> None:
    tile = pa.Codec("zstd").compress(bytes(48), asbytes=True)
    assert decode_tiles(with_head(4, 4, 3, 4, tiles_=[tile])).shape == (4, 4, 3)
    with pytest.raises(PictureError, match=text):
        decode_tiles(with_head(*sizes, tiles_=[tile]))


def test_frames_within_a_tile_are_no_way_to_read_what_was_not_written() -> None:
    codec = pa.Codec("zstd")
    for tile in (codec.compress(bytes(24), asbytes=True), b"", b"\x50\x2a\x4d\x18\x04\0\0\0abcd"):
        with pytest.raises(PictureError, match="cannot be decompressed"):
            decode_tiles(with_head(4, 4, 3, 4, tiles_=[tile]))


def outcome_is_sound(data: bytes) -> None:
    """A picture of the size that its head says, or a PictureError."""
    for region in (None, (3, 2, 5, 40)):
        try:
            pixels = decode_tiles(data, region)
        except PictureError as error:
            assert str(error)
        else:
            assert pixels.dtype == np.uint8 and pixels.shape[1::-1] == tiled_size(data)


@fuzz
@given(data=st.binary(max_size=200), sealed=st.booleans())
def test_random_bytes(data: bytes, sealed: bool) -> None:
    data = b"\x89PGPC\r\n1" + data
    outcome_is_sound(seal(data) if sealed and len(data) >= HEAD else data)


@fuzz
@given(keep=st.integers(0, 10_000))
def test_other_lengths_are_all_noticed(keep: int) -> None:
    data = encode_tiles(picture(19, 23), 8)
    for other in (data[: keep % len(data)], data + bytes(keep + 1)):
        with pytest.raises(PictureError):
            decode_tiles(other, (0, 0, 1, 1))  # whichever part is needed


@fuzz
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_flipped_bits_are_all_noticed(place: float, bit: int) -> None:
    data = bytearray(encode_tiles(picture(19, 23), 8))
    data[8 + int(place * (len(data) - 8))] ^= 1 << bit  # behind the magic
    with pytest.raises(PictureError):
        decode_tiles(bytes(data))


@fuzz
@given(
    sizes=st.tuples(st.integers(0, 40), st.integers(0, 40), st.sampled_from([1, 3, 3, 3, 0, 4]), st.integers(0, 40)),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 7)), max_size=2),
    count=st.integers(0, 20),
)
def test_what_is_sealed_may_still_lie(sizes: tuple[int, ...], flips: list[tuple[float, int]], count: int) -> None:
    """What an attacker writes rather than what a disk loses: any sizes and any tiles, with checksums that fit."""
    tile = bytearray(pa.Codec("zstd").compress(picture(8, 8).tobytes(), asbytes=True))
    for place, bit in flips:
        tile[int(place * len(tile))] ^= 1 << bit
    outcome_is_sound(with_head(*sizes, tiles_=[bytes(tile)] * count))
