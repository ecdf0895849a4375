"""Damage of any kind to a folder of shards: an error or the right rows, never a crash."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pgpc.data.image_files import decode_image
from pgpc.data.label_files import decode_label
from pgpc.data.shards.pack import pack
from pgpc.data.shards.reader import Shards
from pgpc.data.shards.verify import verify

FILES = ("manifest.json", "train-00000.arrow", "test-00000.arrow")


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three training images, one of them without label, and two test images."""
    root = tmp_path_factory.mktemp("fuzz")
    rng = np.random.default_rng(0)
    for split, names in (("train", "abc"), ("test", "de")):
        (root / f"raw/images/{split}").mkdir(parents=True)
        (root / f"raw/labels/{split}").mkdir(parents=True)
        for name in names:
            image = rng.integers(0, 256, (8, 10, 3), dtype=np.uint8)
            Image.fromarray(image).save(root / f"raw/images/{split}/{name}.png")
            if name != "b":
                label = rng.integers(0, 3, (8, 10)).astype(np.uint8)
                Image.fromarray(label).save(root / f"raw/labels/{split}/{name}.png")
    pack("folder", root / "raw", root / "packed")
    return root / "packed"


def rows(folder: Path) -> Iterator[object]:
    """All that training reads."""
    for split in ("train", "test"):
        shards = Shards.open(folder, split)
        yield shards.names
        yield shards.sizes.tolist()
        yield shards.class_pixels.tolist()
        for row in range(len(shards)):
            yield shards.image_bytes(row)
            yield shards.label_bytes(row)
            decode_image(shards.image_bytes(row))
            if shards.label_bytes(row) is not None:
                decode_label(shards.label_bytes(row))


@pytest.mark.slow
@settings(max_examples=150, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    file=st.sampled_from(FILES),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 7)), min_size=0, max_size=3),
    keep=st.one_of(st.just(1.0), st.floats(0, 1)),
)
def test_damage(packed: Path, tmp_path: Path, file: str, flips: list[tuple[float, int]], keep: float) -> None:
    folder = Path(shutil.copytree(packed, tmp_path / "packed", dirs_exist_ok=True))
    whole = (folder / file).read_bytes()
    data = bytearray(whole)
    for place, bit in flips:
        data[int(place * len(data))] ^= 1 << bit
    data = data[: int(keep * len(data))]
    (folder / file).write_bytes(data)
    with contextlib.suppress(ValueError):  # ShardError and PictureError are such
        list(rows(folder))
    try:
        verify(folder)
    except ValueError:
        return
    # What the check does not object to is as it was; in the manifest names of classes and the like may differ.
    assert file == "manifest.json" or bytes(data) == whole
    assert list(rows(folder)) == list(rows(packed))
