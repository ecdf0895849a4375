"""PNG files whose bytes do not depend on a build of zlib."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pgpc.data.streets.png import write_png


@pytest.mark.parametrize("shape", [(5, 7, 3), (5, 7), (300, 400)])
def test_pixels_come_back(tmp_path: Path, shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    write_png(tmp_path / "a.png", pixels)
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == ("RGB" if len(shape) == 3 else "L")
        assert np.array_equal(np.array(image), pixels)


def test_indices_of_a_palette_come_back(tmp_path: Path) -> None:
    colors = np.arange(768).reshape(256, 3).astype(np.uint8)
    write_png(tmp_path / "a.png", np.array([[3, 250]], dtype=np.uint8), colors)
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "P" and np.array(image).tolist() == [[3, 250]]
        assert np.array(image.convert("RGB")).tolist() == [[colors[3].tolist(), colors[250].tolist()]]


def test_the_bytes_are_the_same_everywhere(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", np.arange(6, dtype=np.uint8).reshape(2, 3))
    data = (tmp_path / "a.png").read_bytes()
    assert len(data) == 76 and data[41:60].hex() == "7801" + "010800f7ff" + "00000102" + "00030405" + "002e0010"
