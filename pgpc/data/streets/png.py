"""A writer of PNG files whose bytes are the same on all machines."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np


def write_png(path: Path, pixels: np.ndarray, palette: np.ndarray | None = None) -> None:
    """Write pixels as a PNG without compression.

    Compressed bytes differ between versions and builds of zlib; stored ones do not, and take no time.

    Args:
        path: The path of the file.
        pixels: ``(H, W, 3)`` uint8 RGB, or ``(H, W)`` uint8 gray or indices of `palette`.
        palette: ``(256, 3)`` uint8 RGB; None where the pixels have no palette.
    """
    height, width = pixels.shape[:2]
    color_type = 2 if pixels.ndim == 3 else 0 if palette is None else 3
    lines = np.zeros((height, 1 + pixels[0].size), dtype=np.uint8)  # every line starts with filter type 0
    lines[:, 1:] = pixels.reshape(height, -1)
    raw = lines.tobytes()
    blocks = [raw[i : i + 65535] for i in range(0, len(raw), 65535)]
    stored = b"".join(
        struct.pack("<BHH", i == len(blocks) - 1, len(b), len(b) ^ 0xFFFF) + b for i, b in enumerate(blocks)
    )
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, color_type, 0, 0, 0))]
    if palette is not None:
        chunks.append((b"PLTE", palette.tobytes()))
    chunks += [(b"IDAT", b"\x78\x01" + stored + struct.pack(">I", zlib.adler32(raw))), (b"IEND", b"")]
    with path.open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for name, data in chunks:
            file.write(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)))
