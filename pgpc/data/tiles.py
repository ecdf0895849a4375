"""Pictures stored losslessly as tiles, which are decoded several times as fast as PNG, and only where they are needed.

A training sample is a crop, but a PNG can only be decoded as a whole, and that takes longer than all else that is done
to the sample. Here every tile is compressed by itself, and by Zstandard, which reads several times as fast as PNG's
zlib. What is compressed is what PNG's filter "Up" leaves, the difference to the pixel above, which whole rows undo at
once; of colors, red and blue are first taken as the difference to green (as in lossless WebP), for what the channels
have in common is then stored once. A photo takes no more space than as PNG. Every pixel comes back as it was.

Layout, all numbers 32-bit, little-endian::

    magic (8 bytes), checksum of the rest of the head
    width, height, channels (1 to 64, and 65536 more where values have 16 bits), side of a tile
    for each tile, from left to right and then down: its length in bytes, its checksum
    the tiles: planes of channels; those at the right and at the bottom may be smaller. Of 16 bits the low bytes of all
    values come before the high bytes, which are much the same throughout a tile

Checksums are CRC-32. They find damage; against intent, sizes are checked before they are believed.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pgpc.data.image_limits import MAX_PIXELS, PictureError, check_size
from pgpc.data.pixel_form import MAX_BANDS

SIDE = 192
"""Side of an image's tiles in pixels. Smaller ones decode less beside a crop, but take more calls and bytes."""

Region = tuple[int, int, int, int]
"""Top, left, height and width of a part of a picture; it may reach past the end."""

_MAGIC = b"\x89PGPC\r\n1"
_SIZES = struct.Struct("<4I")
_TABLE = len(_MAGIC) + 4 + _SIZES.size  # where the table of tiles begins
_DEEP = 2**16  # added to the number of channels whose values have 16 bits
_LEVEL = 1  # of Zstandard; higher ones make photos no smaller that are worth the time


class _Head(NamedTuple):
    width: int
    height: int
    channels: int
    dtype: np.dtype
    side: int
    ends: np.ndarray  # (rows, columns) int64, where the data of each tile end
    lengths: np.ndarray  # (rows, columns) int64, bytes
    checksums: np.ndarray  # (rows, columns)


def encode_tiles(pixels: np.ndarray, side: int = SIDE) -> bytes:
    """Store a picture losslessly as tiles.

    Args:
        pixels: ``(H, W)`` or ``(H, W, bands)``, uint8 or uint16.
        side: The side of a tile in pixels.

    Returns:
        The bytes described at the top of this module.
    """
    height, width = pixels.shape[:2]
    planes = np.array(pixels.reshape(height, width, -1).transpose(2, 0, 1), order="C")
    assert planes.dtype in (np.uint8, np.uint16) and planes.size and len(planes) <= MAX_BANDS, "a picture with bands"
    if len(planes) == 3:
        planes[::2] -= planes[1]  # modulo 256, as are all differences here
    codec = pa.Codec("zstd", _LEVEL)
    tiles = []
    for top in range(0, height, side):
        band = planes[:, top : top + side].copy()
        band[:, 1:] -= planes[:, top : top + side][:, :-1]
        tiles += [
            codec.compress(_bytes_of(band[..., left : left + side]), asbytes=True) for left in range(0, width, side)
        ]
    table = np.array([(len(tile), zlib.crc32(tile)) for tile in tiles], dtype="<u4")
    channels = len(planes) + (_DEEP if planes.dtype == np.uint16 else 0)
    head = _SIZES.pack(width, height, channels, side) + table.tobytes()
    return b"".join([_MAGIC, struct.pack("<I", zlib.crc32(head)), head, *tiles])


def is_tiled(data: bytes | memoryview) -> bool:
    """Return whether these are the bytes of a picture that is stored as tiles."""
    return bytes(data[: len(_MAGIC)]) == _MAGIC


def tiled_size(data: bytes | memoryview) -> tuple[int, int]:
    """Return the width and height of a picture stored as tiles.

    Raises:
        PictureError: The picture is damaged or has more than `MAX_PIXELS`.
    """
    head = _read_head(data)
    return head.width, head.height


def decode_tiles(data: bytes | memoryview, region: Region | None = None) -> np.ndarray:
    """Decode a picture stored as tiles, or the part of it that is needed.

    Args:
        data: The bytes that :func:`encode_tiles` returned.
        region: The part that is needed; None means all.

    Returns:
        ``(H, W)`` or ``(H, W, bands)``, uint8 or uint16, the size of the whole picture, with zeros in place of the
        tiles that the region does not touch. Memory that is only zeros costs nothing until it is read.

    Raises:
        PictureError: The head or a tile that is needed is damaged, or there are more than `MAX_PIXELS`.
    """
    head = _read_head(data)
    data, codec = memoryview(data), pa.Codec("zstd")
    pixels = np.zeros((head.height, head.width, head.channels), dtype=head.dtype)
    side = head.side
    top, left, height, width = region or (0, 0, head.height, head.width)
    begin, end = left // side * side, min(-(-(left + width) // side) * side, head.width)
    for y in range(top // side * side, min(top + height, head.height), side):
        # A band of tiles at a time: small enough for the processor's cache.
        band = np.empty((head.channels, min(side, head.height - y), max(end - begin, 0)), dtype=head.dtype)
        for x in range(begin, end, side):
            tile = band[..., x - begin : x - begin + side]
            encoded = _read_tile(data, head, y // side, x // side, codec, tile.size * head.dtype.itemsize)
            tile[:] = _values_of(encoded, head.dtype).reshape(tile.shape)
        for row in range(1, band.shape[1]):
            band[:, row] += band[:, row - 1]
        if head.channels == 3:
            band[::2] += band[1]
        for channel, plane in enumerate(band):
            pixels[y : y + side, begin:end, channel] = plane
    return pixels[..., 0] if head.channels == 1 else pixels


def _bytes_of(values: np.ndarray) -> bytes:
    """Return the bytes of values, low bytes first where they have two."""
    if values.dtype == np.uint8:
        return values.tobytes()
    return (values & 0xFF).astype(np.uint8).tobytes() + (values >> 8).astype(np.uint8).tobytes()


def _values_of(encoded: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return the values of bytes: the inverse of :func:`_bytes_of`."""
    if dtype == np.uint8:
        return encoded
    low, high = encoded.reshape(2, -1).astype(np.uint16)
    return np.asarray(low | high << 8)


def _read_tile(data: memoryview, head: _Head, row: int, column: int, codec: pa.Codec, size: int) -> np.ndarray:
    """Decompress the `size` bytes of a tile."""
    end = int(head.ends[row, column])
    encoded = data[end - int(head.lengths[row, column]) : end]
    if zlib.crc32(encoded) != head.checksums[row, column]:
        raise PictureError(f"picture is damaged: the checksum of its tile {row}, {column} is wrong")
    try:
        # Fails too where there are other than `size` bytes, so that no memory is read that was not written.
        return np.frombuffer(codec.decompress(encoded, size), dtype=np.uint8)
    except (OSError, pa.ArrowException) as error:
        raise PictureError(f"picture is damaged: its tile {row}, {column} cannot be decompressed: {error}") from error


def _read_head(data: bytes | memoryview) -> _Head:
    """Read and check the head: all its numbers are then those of a picture that `data` hold as a whole."""
    if len(data) < _TABLE:
        raise PictureError("picture is truncated within its head")
    width, height, channels, side = _SIZES.unpack_from(data, _TABLE - _SIZES.size)
    dtype = np.dtype(np.uint16 if channels > _DEEP else np.uint8)
    channels -= _DEEP if channels > _DEEP else 0
    check_size(width, height)
    if min(width, height, side) < 1 or not 1 <= channels <= MAX_BANDS:
        raise PictureError(
            f"picture is damaged: it has {width} x {height} pixels in tiles of {side} and {channels} channels"
        )
    if width * height * channels > 8 * MAX_PIXELS:
        raise PictureError(f"picture is damaged: it has {width} x {height} pixels of {channels} channels")
    grid = -(-height // side), -(-width // side)
    start = _TABLE + 8 * grid[0] * grid[1]
    if len(data) < start:
        raise PictureError("picture is truncated within its table of tiles")
    if zlib.crc32(data[len(_MAGIC) + 4 : start]) != int.from_bytes(data[len(_MAGIC) : len(_MAGIC) + 4], "little"):
        raise PictureError("picture is damaged: the checksum of its head is wrong")
    table = np.frombuffer(data[_TABLE:start], dtype="<u4").reshape(*grid, 2)
    lengths = table[..., 0].astype(np.int64)
    ends = start + np.cumsum(lengths).reshape(grid)
    if ends[-1, -1] != len(data):
        raise PictureError(f"picture is damaged: it must have {ends[-1, -1]} bytes, but has {len(data)}")
    return _Head(width, height, channels, dtype, side, ends, lengths, table[..., 1])
