"""The results in a folder are of one network that segments in one way, and say of which."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from pgpc.config import override
from pgpc.evaluation.loaded_model import LoadedModel, load_model
from pgpc.evaluation.made_by import MADE_BY, Maker
from pgpc.evaluation.prediction import PartlyPredicted, Picture, find_photos, write_predictions
from tests.helpers.pictures import files_below, noise, read, save


@pytest.fixture
def photos(tmp_path: Path) -> list[Picture]:
    for name in "ab":
        save(noise(64, 128), tmp_path / "photos" / f"{name}.png")
    return find_photos(tmp_path / "photos", tmp_path / "out")


@pytest.fixture
def other(run: Path) -> LoadedModel:
    """The network of the run, trained on for a moment."""
    loaded = load_model(run)
    with torch.no_grad():
        loaded.student.segmenter.decode_head.conv_seg.bias[3] += 1e-6
    return loaded._replace(iteration=7)


def predict(loaded: LoadedModel, photos: list[Picture], out: Path, *, skip_existing: bool = True) -> None:
    write_predictions(loaded, photos, out, ["train-ids"], skip_existing=skip_existing)


@pytest.mark.parametrize("skip_existing", [True, False])
def test_results_of_another_network_are_refused(
    skip_existing: bool, loaded: LoadedModel, other: LoadedModel, photos: list[Picture], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    predict(loaded, photos[:1], out)
    before = {name: (out / name).read_bytes() for name in files_below(out)}
    message = (
        rf"those in {out} were made by the network {loaded.file} \(iteration 0\), and not by .* \(iteration 7\)\. "
    )
    with pytest.raises(ValueError, match=message + "Choose another folder, or remove that one first"):
        predict(other, photos, out, skip_existing=skip_existing)
    assert {name: (out / name).read_bytes() for name in files_below(out)} == before, "and nothing was written"
    predict(loaded, photos, out)
    assert files_below(out) == [MADE_BY, "train-ids/a.png", "train-ids/b.png"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("evaluation.window", 64),
        ("evaluation.window_stride", 32),
        ("data.target_size", (256, 128)),
        ("data.fit", "exact"),
        ("data.interpolation", "bicubic"),
        ("training.precision", "bfloat16"),
        ("evaluation.scales", (0.5, 1.0)),
        ("evaluation.flip", True),
        ("data.mean", (1.0, 2.0, 3.0)),
    ],
)
def test_another_way_of_segmenting_is_refused(key: str, value: object, loaded: LoadedModel, tmp_path: Path) -> None:
    also = {"evaluation.window": {"evaluation.window_stride": 64}, "data.mean": {"data.std": (1.0, 1.0, 1.0)}}
    changes = {key: value, **also.get(key, {})}
    before, now = (Maker.of(loaded._replace(config=override(loaded.config, c))) for c in ({}, changes))
    assert before.settings[key] != now.settings[key], "the test changes something"
    before.write(tmp_path)
    with pytest.raises(ValueError, match=re.escape(f"{key}={before.settings[key]}, now {now.settings[key]}")):
        now.check(tmp_path)


def test_files_of_earlier_versions_had_the_defaults_of_what_came_later(loaded: LoadedModel, tmp_path: Path) -> None:
    maker = Maker.of(loaded)
    maker.write(tmp_path)
    entry = json.loads((tmp_path / MADE_BY).read_text())
    for key in ("evaluation.scales", "evaluation.flip", "data.mean", "data.std"):
        del entry["settings"][key]
    (tmp_path / MADE_BY).write_text(json.dumps(entry))
    assert maker.check(tmp_path)
    flipped = Maker.of(loaded._replace(config=override(loaded.config, {"evaluation.flip": True})))
    with pytest.raises(ValueError, match="evaluation.flip=False, now True"):
        flipped.check(tmp_path)


def test_what_changes_no_result_may_change(loaded: LoadedModel, tmp_path: Path) -> None:
    """Where the network lies, how many windows go through it at once, and who reads pictures."""
    Maker.of(loaded).write(tmp_path)
    changed = override(loaded.config, {"evaluation.window_batch": 4, "data.loader_workers": 1})
    assert Maker.of(loaded._replace(config=changed, file=Path("elsewhere.pt"), iteration=None)).check(tmp_path)
    assert not Maker.of(loaded).check(tmp_path / "empty")


def test_results_of_older_versions_are_kept_with_a_word(
    loaded: LoadedModel, photos: list[Picture], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    predict(loaded, photos[:1], out)
    (out / MADE_BY).unlink()
    (out / "train-ids" / "a.png").write_bytes(b"old")
    with caplog.at_level(logging.WARNING):
        predict(loaded, photos, out)
    assert caplog.messages == [
        f"Nothing in {out} says which network has made the results there. They are kept as they are."
    ]
    assert (out / "train-ids" / "a.png").read_bytes() == b"old" and not (out / MADE_BY).exists()
    with pytest.raises(PartlyPredicted):
        predict(loaded, [*photos, Picture("c", "c.png", _fail)], out, skip_existing=False)
    assert not (out / MADE_BY).exists(), "some may still be of before"
    predict(loaded, photos, out, skip_existing=False)
    assert Maker.of(loaded).check(out) and read(out / "train-ids" / "a.png").size == (128, 64)


def _fail() -> np.ndarray:
    raise MemoryError


@pytest.mark.parametrize("text", ["", "null", "{}", json.dumps(Maker("a", 1, "b", {})._replace(settings=3)._asdict())])  # type: ignore[arg-type]  # what a stranger may have written
def test_what_is_damaged_is_refused(text: str, loaded: LoadedModel, tmp_path: Path) -> None:
    (tmp_path / MADE_BY).write_text(text)
    with pytest.raises(ValueError, match=f"{MADE_BY} must say which network .* but is damaged. Choose another folder"):
        Maker.of(loaded).check(tmp_path)
