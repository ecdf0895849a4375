"""The ensemble of a sweep's finished trials, from real checkpoints of small networks, and the report by it."""

from __future__ import annotations

import dataclasses
import functools
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import pgpc
from pgpc.data.domains import open_shards
from pgpc.evaluation.criteria.stride_logits import stride_logits
from pgpc.evaluation.criteria.target import measured_images, places
from pgpc.evaluation.loaded_model import load_model
from sweeps import report
from sweeps.common.names import Kind, Status
from sweeps.definition.folder import own_folder
from sweeps.definition.options import SweepOptions
from sweeps.definition.planning import new_sweep
from sweeps.definition.sweep import Sweep
from sweeps.findings import ensemble
from sweeps.results.outcome import Results
from sweeps.results.rows import Row, write_parquet
from tests.helpers import criteria as plain
from tests.helpers.runs import SMALL, untrained_run

SETTINGS = {**SMALL, "data.streets.num_target": 4, "evaluation.criteria_images": 3, "data.rare_class_sampling": False}
SCORES = {"base": 40.0, "0000": 30.0, "0001": 34.0, "0002": 32.0}
RUNS = {label: Status.COMPLETE for label in SCORES}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGPC_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def make_sweep(storage: Path, runs: Mapping[str, Status] = RUNS, **options: Any) -> Sweep:
    """A sweep whose runs have checkpoints of untrained networks, each of its own seed, and mIoU of `SCORES`."""
    settings = tuple(f"{key}={value}" for key, value in SETTINGS.items())
    sweep = new_sweep(SweepOptions(storage=str(storage), name="a", set=settings, **options))
    sweep.trials_folder.mkdir(parents=True)
    sweep.save()
    rows = []
    for i, (label, status) in enumerate(runs.items()):
        folder = sweep.trials_folder / label
        folder.mkdir()
        config = pgpc.override(sweep.config, {"seed": i})
        untrained_run(
            folder / "checkpoint_000001", config, change=functools.partial(_vary, torch.Generator().manual_seed(i))
        )
        rows.append(row(sweep, label, status))
    write_parquet(rows, sweep.folder / "results.parquet")
    return sweep


def _vary(generator: torch.Generator, network: Any, name: str) -> None:
    """Let a network find several classes, in its own way."""
    torch.nn.init.normal_(network.segmenter.decode_head.conv_seg.weight, generator=generator)


def row(sweep: Sweep, label: str, status: Status) -> Row:
    trial, _, seed = label.partition("-s")
    return Row(
        label=label,
        trial=trial,
        kind=Kind.REFERENCE if trial == "base" else Kind.SEARCH,
        status=status,
        outcome=status,
        score=SCORES[trial],
        iterations=100,
        seconds=1.0,
        seed=int(seed or 0),
        directory=sweep.trials_folder / label,
        params={} if trial == "base" else {"contrast.eta": 0.1 * (int(trial) + 1)},
        metrics={"criteria/snd": 50 - SCORES[trial]},
    )


@torch.no_grad()
def plainly(sweep: Sweep, labels: list[str]) -> list[float]:
    target = open_shards(sweep.config.data.target, sweep.config.data, "train")
    images = list(measured_images(target, sweep.config.data, places(len(target), 3)))
    p = []
    for label in labels:
        model = load_model(sweep.trials_folder / label / "checkpoint_000001").student.segmenter
        p.append([plain.softmax(stride_logits(model, image, sweep.config.evaluation).numpy()) for image in images])
    roles = [np.mean(of_image, axis=0).argmax(axis=1) for of_image in zip(*p, strict=True)]
    return [plain.agreement([(q.argmax(axis=1), role) for q, role in zip(of, roles, strict=True)]) for of in p]


@pytest.fixture(scope="module")
def three(tmp_path_factory) -> Path:
    return make_sweep(tmp_path_factory.mktemp("three")).folder


@pytest.fixture
def own(three: Path, tmp_path: Path) -> Sweep:
    """A copy of a sweep of three complete trials and the base."""
    return Sweep.load(Path(shutil.copytree(three, tmp_path / "moved")))


def rows_of(sweep: Sweep) -> list[Row]:
    return list(Results.read(sweep.folder).rows)


def values(rows: list[Row]) -> dict[str, float | None]:
    return {row.label: row.metrics.get("criteria/ensemble") for row in rows}


@pytest.mark.slow
def test_the_trials_of_a_search_are_scored_as_plainly_and_the_base_is_none_of_them(own: Sweep) -> None:
    said: list[str] = []
    before = rows_of(own)
    found = ensemble.at_the_end(own, before, said.append)
    expected = plainly(own, ["0000", "0001", "0002"])
    scores = values(found)
    assert scores.pop("base") is None
    assert scores == {f"{i:04d}": pytest.approx(value) for i, value in enumerate(expected)}
    assert len(set(expected)) == 3 and all(0 < value < 100 for value in expected)
    assert said == ["ensemble: segmenting 3 images with 3 networks"]
    without = [
        dataclasses.replace(r, metrics={k: v for k, v in r.metrics.items() if "ensemble" not in k}) for r in found
    ]
    assert without == before
    assert not list(own.folder.glob(".ensemble*")), "nothing is left on the disk"


@pytest.mark.slow
def test_trials_that_are_not_complete_have_no_vote(own: Sweep) -> None:
    rows = rows_of(own)
    rows[3] = dataclasses.replace(rows[3], status=Status.PRUNED, outcome=Status.PRUNED)
    found = values(ensemble.at_the_end(own, rows, lambda line: None))
    assert found["0002"] is None and [found["0000"], found["0001"]] == pytest.approx(plainly(own, ["0000", "0001"]))


@pytest.mark.slow
def test_every_run_votes_and_a_trial_has_the_mean(tmp_path: Path) -> None:
    labels = ["0000-s0", "0000-s1", "0001-s0", "0001-s1"]
    sweep = make_sweep(tmp_path, dict.fromkeys(labels, Status.COMPLETE), seeds=(0, 1))
    assert report.main([str(sweep.folder), "--images", "0", "--select-by", "ensemble"]) == 0
    expected = plainly(sweep, labels)
    assert list(values(rows_of(sweep)).values()) == pytest.approx(expected)
    text = (sweep.folder / "report.md").read_text()
    assert all(f"{np.mean(pair):.2f}" in text for pair in (expected[:2], expected[2:]))


def test_what_is_missing_leaves_it_out_in_one_line(own: Sweep) -> None:
    said: list[str] = []
    rows = rows_of(own)
    (own.trials_folder / "0001" / "checkpoint_000001" / "checkpoint.pt").write_bytes(b"damaged")
    assert ensemble.at_the_end(own, rows, said.append) == rows
    shutil.rmtree(own.trials_folder / "0001" / "checkpoint_000001")
    assert ensemble.at_the_end(own, rows, said.append) == rows
    assert len(said) == 3 and all("\n" not in line for line in said)
    assert said[2].startswith(
        "the criterion ensemble could not be computed: FileNotFoundError: Every complete run must"
    )
    assert ensemble.at_the_end(own, rows[:2], said.append) == rows[:2] and len(said) == 3, "one trial is no ensemble"


def test_a_report_by_it_computes_it_once_and_leaves_the_sweep_what_it_is(
    own: Sweep, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = own.file.read_bytes()
    assert report.main([str(own.folder), "--images", "0", "--select-by", "ensemble"]) == 0
    assert "ensemble: segmenting 3 images" in capsys.readouterr().err
    text = (own.folder / "report.md").read_text()
    found = {label: value for label, value in values(rows_of(own)).items() if value is not None}
    best = max(found, key=found.__getitem__)
    assert f"3 trials, 1 seed: {best} has the highest ensemble, {found[best]:.2f} %" in text
    assert "The sweep itself, and so its search, best/ and its study, is by mIoU." in text and "--confirm" not in text
    assert "| ensemble |" in text, "in the table of criteria, which needs no other word"
    assert own.file.read_bytes() == stored
    assert report.main([str(own.folder), "--images", "0", "--select-by", "ensemble"]) == 0
    assert "segmenting" not in capsys.readouterr().err


def test_a_report_by_another_criterion(own: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main([str(own.folder), "--images", "0", "--select-by", "snd"]) == 0
    assert "0000 has the highest snd, 20.0000" in (own.folder / "report.md").read_text()
    assert report.main([str(own.folder), "--images", "0"]) == 0
    assert "0001 has the highest mIoU, 34.00 %" in (own.folder / "report.md").read_text()
    assert report.main([str(own.folder), "--images", "0", "--select-by", "bnm"]) == 2
    error = capsys.readouterr().err
    assert "--select-by must be made of what complete trials have reported, which is mIoU, snd, but got 'bnm'." in error
    assert report.main([str(own.folder), "--images", "0", "--select-by", "nonsense"]) == 2
    assert "--select-by must be one of mIoU" in capsys.readouterr().err


def test_what_cannot_be_ranked_by_it_is_a_users_error(
    own: Sweep, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with own_folder(own.folder):
        assert report.main([str(own.folder), "--select-by", "ensemble"]) == 2
    assert "which runs" in capsys.readouterr().err
    write_parquet(rows_of(own)[:2], own.folder / "results.parquet")
    assert report.main([str(own.folder), "--select-by", "ensemble"]) == 2
    assert "at least two complete trials, but got 1" in capsys.readouterr().err
    assert report.main([str(tmp_path), "--select-by", "ensemble"]) == 2
    assert "must be the folder of a sweep" in capsys.readouterr().err


def test_the_front_is_that_of_the_choice(tmp_path: Path) -> None:
    """By mIoU 0001 is best, by snd 0000; all take the same time."""
    sweep = make_sweep(tmp_path, objectives=("mIoU", "seconds"), scheduler="none")
    rows = [dataclasses.replace(row, pareto=row.trial == "0001") for row in rows_of(sweep)]
    write_parquet(rows, sweep.folder / "results.parquet")
    assert report.main([str(sweep.folder), "--images", "0", "--select-by", "snd"]) == 0
    lines = (sweep.folder / "report.md").read_text().splitlines()
    starred = [line for line in lines if "| \\* |" in line]
    assert len(starred) == 1 and "| 0000 |" in starred[0]


def test_it_is_read_without_torch() -> None:
    code = "import sys, sweeps.findings.ensemble; print({'torch', 'ray'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
