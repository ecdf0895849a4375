"""A run on four bands of 16 bits, from packing to prediction."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

import pgpc
from pgpc.config import override
from pgpc.data.shards.manifest import read_manifest
from pgpc.data.shards.pack import pack
from pgpc.evaluation.loaded_model import load_model
from pgpc.evaluation.prediction import find_photos
from pgpc.training import train
from pgpc.training.begin import Resume
from pgpc.training.callbacks import Callbacks
from tests.helpers.tiffs import tiff

SMALL = {
    "model.encoder": "mit_b0",
    "model.pretrained": None,
    "model.head_channels": 8,
    "adaptation.feature_distance_weight": 0.0,
    "training.batch_size": 2,
    "data.loader_workers": 0,
    "evaluation.criteria_images": 2,
}


@pytest.fixture(scope="module")
def domains(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two packed domains of sensors with other values; ``raw/{side}`` has the files."""
    root, rng = tmp_path_factory.mktemp("bands"), np.random.default_rng(0)
    spectra = np.array([[800, 900, 700, 3000], [1500, 1400, 1300, 1200], [300, 500, 900, 200]])
    (root / "classes.json").write_text(json.dumps({"classes": [{"name": name} for name in ("tree", "roof", "water")]}))
    for side, gain in (("source", 1.0), ("target", 0.6)):
        for split in ("train", "val"):
            for folder in ("images", "labels"):
                (root / "raw" / side / folder / split).mkdir(parents=True)
            for name in "ab":
                label = np.kron(rng.integers(0, 3, (4, 4)), np.ones((24, 24), dtype=int))
                image = (spectra[label] * gain + rng.normal(0, 40, (96, 96, 4))).clip(0).astype(np.uint16)
                for folder, pixels in (("images", image), ("labels", label.astype(np.uint8))):
                    (root / "raw" / side / folder / split / f"{name}.tif").write_bytes(tiff(pixels))
        pack("folder", root / "raw" / side, root / side, description=root / "classes.json", bands=4, bits=16)
    return root


def config_of(domains: Path, base: str, iterations: int = 4) -> pgpc.Config:
    config = pgpc.own_preset(
        f"custom/{base}",
        source=str(domains / "source"),
        target=str(domains / "target"),
        changes={"training.iterations": iterations, "data.crop": 64, **SMALL},
    )
    return override(config, {"training.eval_interval": iterations})


@pytest.mark.slow
def test_a_run_finds_its_numbers_and_prediction_uses_them(domains: Path, tmp_path: Path) -> None:
    config = config_of(domains, "daformer+pgpc")
    assert (config.data.bands, config.data.bits, config.data.mean) == (4, 16, None)
    result = train(config, out=tmp_path / "run")
    assert result.metrics["mIoU"] > 0
    totals = read_manifest(domains / "source").splits["train"].pixel_totals
    loaded = load_model(tmp_path / "run")
    assert totals is not None and loaded.config.data.normalization == (totals.mean, totals.std)
    picture = domains / "raw/target/images/val/a.tif"
    labels, confidence = loaded.predict(picture)
    assert labels.shape == confidence.shape == (96, 96)
    with pytest.raises(ValueError, match=r"image must be \(H, W, 4\) uint16 .* but got"):
        loaded.predict(np.zeros((96, 96, 3), dtype=np.uint8))
    three = tmp_path / "three.tif"
    three.write_bytes(tiff(np.zeros((96, 96, 3), dtype=np.uint16)))
    with pytest.raises(ValueError, match="must have 4 bands of 16 bits, but it is a TIFF of 3 bands of 16 bits"):
        loaded.predict(three)
    (photo,) = find_photos(picture, tmp_path / "out", loaded.config.data.pixels)
    assert photo.read().shape == (96, 96, 4)


@pytest.mark.slow
def test_an_interrupted_run_goes_on_bit_for_bit(domains: Path, tmp_path: Path) -> None:
    """The numbers are found anew, and are the same."""
    config = config_of(domains, "daformer", iterations=4)
    whole = train(config, out=tmp_path / "whole")
    reported: list[float] = []

    def stop(metrics: Mapping[str, float], checkpoint: Path | None) -> None:
        assert checkpoint is not None
        reported.append(metrics["iteration"])
        shutil.copytree(checkpoint, tmp_path / "kept")
        raise KeyboardInterrupt

    config = override(config, {"training.eval_interval": 2})
    with pytest.raises(KeyboardInterrupt):
        train(config, out=tmp_path / "parts", callbacks=Callbacks(on_report=stop))
    resumed = train(config, out=tmp_path / "parts", begin=Resume(tmp_path / "kept"))
    assert reported == [2] and whole.metrics["mIoU"] == resumed.metrics["mIoU"]
