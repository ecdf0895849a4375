"""The pictures of a report."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import pgpc
from pgpc.config import parse_settings
from sweeps import report
from tests.helpers.reports import TYPICAL, Make, Page


@pytest.mark.slow
def test_pictures_come_from_the_checkpoints_that_are_there(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPC_CACHE", str(tmp_path / "cache"))
    tiny = {"num_source": 2, "num_target": 2, "num_val": 2, "height": 64, "width": 64}
    settings = [f"data.streets.{key}={value}" for key, value in tiny.items()]
    settings += ["data.source_size=64,64", "data.target_size=64,64", "data.crop=64", "data.rare_class_sampling=false"]
    settings += ["model.head_channels=16", "training.iterations=1", "training.batch_size=1", "contrast.start=1"]
    settings += ["contrast.enabled=false"]
    config = pgpc.override(pgpc.preset("streets"), parse_settings(settings))
    pgpc.train(config, out=tmp_path / "run")
    folder = make(TYPICAL, {0: [10, 20, 29, 30.111]})
    for label in ("base", "0000"):
        target = folder / "trials" / label / "checkpoint_1"
        target.mkdir(parents=True)
        shutil.copy(tmp_path / "run" / "checkpoint.pt", target)
    (folder / "trials" / "0000" / "checkpoint_1" / "checkpoint.pt").write_bytes(b"damaged")
    assert report.main([str(folder), "--images", "1"]) == 0
    page = Page((folder / "report.html").read_text())
    kinds = [address.partition(";")[0] for address in page.loads if address.startswith("data:image")]
    assert kinds == ["data:image/jpeg", "data:image/png", "data:image/png"]  # image, base, ground truth
    assert "best: 0001 has left no checkpoint" in page.words and "worst: 0000 could not be loaded" in page.words
    assert report.main([str(folder), "--images", "1", "--seconds", "0"]) == 0
    assert "Drawing was stopped after 0 s" in Page((folder / "report.html").read_text()).words
