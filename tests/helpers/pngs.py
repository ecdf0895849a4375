"""A writer of PNGs that owes nothing to the readers."""

from __future__ import annotations

import struct
import zlib

import numpy as np


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(pixels: np.ndarray, *, depth: int = 8, color: int = 0, extra: bytes = b"", interlaced: bool = False) -> bytes:
    """A PNG of pixels ``(H, W)`` or ``(H, W, C)``, from its specification; `extra` chunks come before the pixels."""
    height, width = pixels.shape[:2]
    passes = [pixels]
    if interlaced:
        starts = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
        passes = [pixels[y::dy, x::dx] for y, x, dy, dx in starts]
    if depth < 8:
        lines = [
            np.packbits(np.unpackbits(row.astype(np.uint8)[:, None], axis=1)[:, 8 - depth :]).tobytes()
            for part in passes
            if part.size
            for row in part
        ]
    else:
        lines = [row.astype(f">u{depth // 8}").tobytes() for part in passes if part.size for row in part]
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, int(interlaced))
    data = zlib.compress(b"".join(b"\0" + line for line in lines))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def palette(colors: int = 256) -> bytes:
    return chunk(b"PLTE", bytes(255 - k // 3 % 256 for k in range(3 * colors)))
