"""What a run is started with: data that have changed are refused or noted, another environment is told."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import pgpc
from pgpc.bases.state import TrainingState
from pgpc.config import Config
from pgpc.evaluation.loaded_model import load_model
from pgpc.models.checkpoint import read_checkpoint
from pgpc.runtime.environment import Environment
from pgpc.runtime.locks import FolderInUseError, sole_writer
from pgpc.training import FRESH, Begin, Callbacks, ForkParent, Resume
from pgpc.training.provenance import note_start, places_of
from tests.helpers.data_sets import TWO_CLASSES, write_two_classes
from tests.helpers.training import CPU, new_state

WAYS = {"resumed": Resume, "forked": ForkParent}


@pytest.fixture
def own(tiny: Callable[..., Config], tmp_path: Path) -> tuple[Config, Callable[..., None]]:
    """The config of a run on shards of two classes, and what packs them anew into the same folder."""
    shards = tmp_path / "shards"

    def repack(classes: dict[str, int] = TWO_CLASSES, seed: int = 0) -> None:
        write_two_classes(tmp_path / "raw", shards, classes, seed)

    repack()
    changes = {
        "data.source": str(shards),
        "data.target": str(shards),
        "data.source_size": (64, 64),
        "data.target_size": (64, 64),
        "model.num_classes": 2,
        "model.encoder": "test_efficientnet",
        "contrast.r": 1,
    }
    return tiny(changes=changes), repack


def reports(config: Config, out: Path, begin: Begin | None = None) -> list[dict[str, float]]:
    found: list[dict[str, float]] = []

    def on_report(metrics: dict[str, float], checkpoint: Path | None) -> None:
        found.append(metrics)
        if checkpoint is not None:
            shutil.copy(checkpoint / "checkpoint.pt", out)
            if begin is None and metrics["iteration"] == 2:
                raise InterruptedError

    callbacks = Callbacks(on_report=on_report)
    if begin is None:
        with pytest.raises(InterruptedError):
            pgpc.train(config, out=out, callbacks=callbacks)
    else:
        pgpc.train(config, out=out, begin=begin, callbacks=callbacks)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_changed_data_are_refused_or_accepted_and_noted(
    own: tuple[Config, Callable[..., None]], tmp_path: Path, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    (config, repack), run, begin = own, tmp_path / "run", WAYS[way]
    reports(config, run)

    repack({"fg": 255, "bg": 0})
    for accept in (False, True):
        with pytest.raises(
            ValueError, match=r"classes that it has learned, in their order, but .* has bg, fg .* fg, bg"
        ):
            reports(config, run, begin(run, accept_changed_data=accept))
    for classes, seed in ((TWO_CLASSES, 1), ({"bg": 255, "fg": 0}, 0)):  # other pictures; labels that mean the opposite
        repack(classes, seed)
        with pytest.raises(ValueError, match=r"contents of the source, .*shards \(train\), target, .* have changed"):
            reports(config, run, begin(run))
    with caplog.at_level(logging.WARNING):
        found = reports(config, run, begin(run, accept_changed_data=True))
    assert [report.get("data_changes") for report in found] == [None, 1.0], "the first is of before"
    assert "The run goes on with other contents of the source, target, scored split than before." in caplog.messages
    starts = json.loads((run / "starts.json").read_text())
    assert [start["changed"] for start in starts] == [[], ["source", "target", "scored split"]]

    again = reports(config, run, begin(run))
    assert [report["data_changes"] for report in again] == [1.0], "the data are what they were the last time"
    with caplog.at_level(logging.WARNING):
        load_model(run)
    assert "was trained on other contents of the source, target, scored split from iteration 2 on" in caplog.text
    assert sum("starts from random weights" in message for message in caplog.messages) == 1, "at the start alone"


@pytest.mark.slow
def test_an_exchanged_file_of_weights_is_refused(tiny: Callable[..., Config], tmp_path: Path) -> None:
    weights, config = tmp_path / "w.pth", tiny(changes={"model.encoder": "test_efficientnet"})
    from_random = config.model
    for seed in (0, 1):
        torch.manual_seed(seed)
        torch.save(pgpc.build_model(from_random).state_dict(), weights)
        if seed == 0:
            config = pgpc.override(config, {"model.pretrained": str(weights)})
            reports(config, tmp_path / "run")
    with pytest.raises(ValueError, match=r"contents of the pretrained weights, .*w\.pth have changed"):
        reports(config, tmp_path / "run", Resume(tmp_path / "run"))


@pytest.mark.slow
def test_another_environment_is_told(
    tiny: Callable[..., Config], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = tiny(changes={"model.encoder": "test_efficientnet"})
    threads = torch.get_num_threads()
    reports(config, tmp_path)
    saved = read_checkpoint(tmp_path)
    saved["starts"][0]["environment"]["versions"]["timm"] = "0.1"
    torch.save(saved, tmp_path / "checkpoint.pt")
    torch.set_num_threads(threads + 1)
    try:
        with caplog.at_level(logging.WARNING):
            reports(config, tmp_path, Resume(tmp_path))
    finally:
        torch.set_num_threads(threads)
    told = next(message for message in caplog.messages if "another environment" in message)
    assert f"threads {threads}, now {threads + 1}; timm 0.1, now" in told and "not bit for bit" in told


@pytest.fixture
def begun(tiny: Callable[..., Config]) -> TrainingState:
    """The state of a run that was started once."""
    state = new_state(tiny(changes={"model.encoder": "test_efficientnet"}))
    note_start(state, FRESH)
    return state


def exchange(state: TrainingState, **digests: str) -> None:
    """Let the start before have found other contents."""
    last = state.starts[-1]
    state.starts = [dataclasses.replace(last, data={**last.data, **digests})]


def test_a_start_notes_what_the_run_has(begun: TrainingState) -> None:
    [start] = begun.starts
    assert (start.step, start.processes, start.changed) == (0, 1, ())
    assert start.environment == Environment.here(CPU)
    assert set(start.data) == {"source", "target", "scored split"} and len(set(start.data.values())) == 3


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("part", ["source", "target", "scored split"])
def test_each_part_of_the_data_is_compared(part: str, way: str, begun: TrainingState, caplog: Any) -> None:
    exchange(begun, **{part: "0"})
    before, place = begun.starts, places_of(begun.config)[part]
    message = (
        rf"since a was written the contents of the {part}, {re.escape(str(place))} have changed, .* go on with --acc"
    )
    with pytest.raises(ValueError, match=message):
        note_start(begun, WAYS[way](Path("a")))
    assert begun.starts == before
    note_start(begun, WAYS[way](Path("a"), accept_changed_data=True))
    assert begun.starts[-1].changed == (part,) and len(begun.starts) == 2
    assert f"The run goes on with other contents of the {part} than before." in caplog.messages
    note_start(begun, WAYS[way](Path("a")))
    assert begun.starts[-1].changed == (), "they are what they were the last time"


def test_a_run_that_begins_anew_is_compared_with_nothing(begun: TrainingState) -> None:
    exchange(begun, source="0")
    note_start(begun, FRESH)
    assert begun.starts[-1].changed == ()


def test_threads_and_versions_are_compared(begun: TrainingState, caplog: Any) -> None:
    note_start(begun, Resume(Path("a")))
    assert "another environment" not in caplog.text
    last = begun.starts[-1]
    other = dataclasses.replace(last.environment, versions={**last.environment.versions, "timm": "0.1"})
    begun.starts = [dataclasses.replace(last, environment=other)]
    note_start(begun, Resume(Path("a")))
    assert "The run goes on in another environment (timm 0.1, now " in caplog.text and "bit for bit" in caplog.text


def test_passes_that_a_gpu_has_merged_are_noted(begun: TrainingState) -> None:
    assert "training.merge_passes" not in begun.starts[-1].environment.determinism
    begun.merge_passes()
    note_start(begun, FRESH)
    assert begun.starts[-1].environment.determinism["training.merge_passes"] == "True"


def test_processes_must_read_the_same_data(tiny: Callable[..., Config], monkeypatch: pytest.MonkeyPatch) -> None:
    state = new_state(tiny())
    monkeypatch.setattr("pgpc.training.provenance.distributed.all_gather", lambda x: torch.stack([x, x, x + 1]))
    with pytest.raises(ValueError, match=r"processes 2 find other contents than process 0 at source, streets:source"):
        note_start(state, FRESH)
    assert state.starts == []


def test_a_second_process_in_the_same_folder_is_refused(tiny: Callable[..., Config], tmp_path: Path) -> None:
    with sole_writer(tmp_path), pytest.raises(FolderInUseError, match="One process at a time may write into a folder"):
        pgpc.train(tiny(), out=tmp_path)
    assert list(tmp_path.iterdir()) == [], "and has written nothing"


@pytest.mark.slow
def test_the_command_names_the_folder_and_takes_the_flag_with_resume_only(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pgpc", "train", "--out", str(tmp_path), "--accept-changed-data"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "--accept-changed-data goes with --resume" in done.stderr


def test_which_classes_are_things_counts_where_features_of_things_are_kept(own: tuple[Config, Any]) -> None:
    config, _ = own
    assert "classes that are things" not in places_of(config)
    keeping = pgpc.override(config, {"adaptation.feature_distance_weight": 0.005})
    assert str(places_of(keeping)["classes that are things"]) == f"{config.data.source} (classes that are things)"
    alone = pgpc.override(keeping, {"adaptation.enabled": False, "contrast.enabled": False})
    assert "classes that are things" not in places_of(alone), "the source alone keeps none near"
