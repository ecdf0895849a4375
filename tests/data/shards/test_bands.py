"""Packing of images with other bands or bits: every value is kept, and what is of another form is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pgpc.data.band_numbers import pixel_notes, with_normalization
from pgpc.data.config import DataConfig
from pgpc.data.domains import open_shards
from pgpc.data.pixel_form import RGB, PixelForm
from pgpc.data.samples import read_image
from pgpc.data.shards.manifest import ShardError, read_manifest
from pgpc.data.shards.pack import PackError, pack
from pgpc.data.shards.reader import Shards
from pgpc.data.shards.verify import verify
from tests.helpers.tiffs import tiff

FORM = PixelForm(5, 16)


@pytest.fixture
def made(tmp_path: Path) -> dict[str, np.ndarray]:
    """Three images of five bands with the lowest and the highest values, in ``images/train``; their pixels by name."""
    rng, folder = np.random.default_rng(0), tmp_path / "root/images/train"
    folder.mkdir(parents=True)
    pixels = {name: rng.integers(0, 2**16, (40, 30, 5), dtype=np.uint16) for name in "abc"}
    for name, image in pixels.items():
        image[0, 0], image[0, 1] = 0, 65535
        (folder / f"{name}.tif").write_bytes(tiff(image, compression="lzw"))
    return pixels


def test_every_value_comes_back_and_the_manifest_has_mean_and_std(tmp_path: Path, made: dict[str, np.ndarray]) -> None:
    packed = pack("folder", tmp_path / "root", tmp_path / "out", bands=5, bits=16)
    shards = Shards.open(tmp_path / "out", "train")
    assert packed.manifest.pixels == shards.pixels == FORM == shards.take([1]).pixels
    for row, name in enumerate(shards.names):
        assert np.array_equal(read_image(shards, row), made[name])
        part = read_image(shards, row, (0, 0, 8, 8))
        assert np.array_equal(part[:8, :8], made[name][:8, :8])
    everything = np.concatenate([image.reshape(-1, 5) for image in made.values()]).astype(float)
    totals = read_manifest(tmp_path / "out").splits["train"].pixel_totals
    assert totals is not None and totals.mean == pytest.approx(everything.mean(0))
    entry = json.loads((tmp_path / "out/manifest.json").read_text())
    assert entry["pixels"] == {"bands": 5, "bits": 16}
    assert entry["splits"]["train"]["pixels"]["std"] == pytest.approx(everything.std(0).tolist())
    verify(tmp_path / "out")
    assert pack("folder", tmp_path / "root", tmp_path / "out", bands=5, bits=16).up_to_date


def test_other_forms_are_refused_for_each_image(tmp_path: Path, made: dict[str, np.ndarray]) -> None:
    for bands, bits in ((None, 8), (3, 16), (5, 8), (4, 16)):
        with pytest.raises(PackError, match=r"a.tif: image must have . bands .* a TIFF of 5 bands of 16 bits") as error:
            pack("folder", tmp_path / "root", tmp_path / "out", bands=bands, bits=bits)
        assert str(error.value).count("--bands") == 3
    for wrong in ({"bands": 0}, {"bands": 65}, {"bits": 12}):
        with pytest.raises(ValueError, match="bands must lie in|bits must be 8 or 16"):
            pack("folder", tmp_path / "root", tmp_path / "out", **wrong)


def test_manifests_of_photos_say_nothing_of_bands(tmp_path: Path) -> None:
    """So that shards of earlier releases stay up to date, and new ones can be read by these."""
    (tmp_path / "root/images").mkdir(parents=True)
    Image.new("RGB", (40, 40)).save(tmp_path / "root/images/a.png")
    packed = pack("folder", tmp_path / "root", tmp_path / "out")
    assert packed.manifest.pixels == RGB and packed.manifest.splits["train"].pixel_totals is None
    assert "pixels" not in (tmp_path / "out/manifest.json").read_text().replace("class_pixels", "").replace(
        '"labels": {\n    "pixels"', ""
    )


@pytest.mark.parametrize("wrong", [{"bands": 0, "bits": 16}, {"bands": 5, "bits": 12}, {"bands": 4, "bits": 16}])
def test_manifests_that_contradict_themselves_are_damaged(
    tmp_path: Path, made: dict[str, np.ndarray], wrong: dict[str, int]
) -> None:
    pack("folder", tmp_path / "root", tmp_path / "out", bands=5, bits=16)
    file = tmp_path / "out/manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "pixels": wrong}))
    with pytest.raises(ShardError, match="is damaged"):
        read_manifest(tmp_path / "out")


def test_a_config_must_have_the_bands_of_its_data(tmp_path: Path, made: dict[str, np.ndarray]) -> None:
    pack("folder", tmp_path / "root", tmp_path / "out", bands=5, bits=16)
    where = str(tmp_path / "out")
    with pytest.raises(ShardError, match="5 bands of 16 bits, but they are 3 bands of 8 bits. Set data.bands=5"):
        open_shards(where, DataConfig(), "train")
    data = DataConfig(source=where, bands=5, bits=16)
    assert open_shards(where, data, "train").pixels == FORM
    found = with_normalization(data)
    totals = read_manifest(where).splits["train"].pixel_totals
    assert found.normalization == (totals.mean, totals.std) and with_normalization(found) == found
    assert with_normalization(DataConfig()) == DataConfig(), "photos are normalized as ImageNet's"
    for wrong in (DataConfig(source=where, bands=4, bits=16), DataConfig(bands=5)):
        with pytest.raises(ShardError, match=f"images of {wrong.bands} bands of"):
            with_normalization(wrong)
    with pytest.raises(ValueError, match="data.mean and data.std must be given"):
        _ = data.normalization
    assert not pixel_notes(DataConfig(), jitters=True)
    assert [note.partition(" ")[0] for note in pixel_notes(found, jitters=True)] == ["Images", "Color"]
