"""What a confirmation has come to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sweeps.common.names import Kind, Status
from sweeps.findings.confirmation import Confirmation, confirmation, read_confirmation, write_confirmation
from sweeps.results.rows import Row
from tests.helpers.reports import TYPICAL, confirm, make_sweep


def found(
    scores: Mapping[str, Mapping[int, float]], *, report: float | None = None, status: Status = Status.COMPLETE
) -> Confirmation:
    """The confirmation with two seeds and these scores; the last run has this status."""
    rows = [
        Row(
            label=f"{label}-s{seed}",
            trial=label,
            kind=Kind.SEARCH,
            status=Status.COMPLETE,
            outcome=Status.COMPLETE,
            score=score,
            seed=seed,
            metrics={} if report is None else {"report/mIoU": score + report * seed},
        )
        for label, values in scores.items()
        for seed, score in values.items()
    ]
    rows[-1] = Row(**{**vars(rows[-1]), "status": status})
    return confirmation(rows, list(scores), (3, 4), "again")


CLEAR = {"base": {3: 30.0, 4: 31.0}, "0007": {3: 33.0, 4: 34.1}, "0002": {3: 30.0, 4: 32.0}}


def test_trials_are_compared_with_the_base_seed_by_seed() -> None:
    best, other = found(CLEAR).trials
    assert (best.label, other.label) == ("0007", "0002")
    assert best.difference.spread.mean == pytest.approx(3.05) and other.difference.spread.mean == pytest.approx(0.5)
    assert best.difference.family == 2 and found(CLEAR).base == {3: 30.0, 4: 31.0}
    assert [trial.label for trial in found(CLEAR).effects] == ["0007"]


@pytest.mark.parametrize(("status", "complete"), [(Status.FAILED, True), (Status.RUNNING, False)])
def test_nothing_is_claimed_before_every_run_has_ended(status: Status, complete: bool) -> None:
    half = found(CLEAR, status=status)
    assert half.is_complete == complete and half.trials[1].difference.spread.n == 1
    assert bool(half.effects) == complete
    assert half.trials[0].difference.family == 2, "a comparison that came to nothing was one"


def test_images_that_took_no_part_in_the_choice_go_before_the_others() -> None:
    split = found(CLEAR, report=2.0)
    assert split.metric == "report/mIoU" and split.base == {3: 36.0, 4: 39.0}
    assert found(CLEAR).metric == "mIoU"


def test_a_confirmation_is_read_and_written(tmp_path: Path) -> None:
    folder = make_sweep(tmp_path, TYPICAL, {0: [10, 20, 29, 30.0]})
    assert read_confirmation(folder) is None
    scores = {"base": CLEAR["base"], "0001": CLEAR["0007"], "0000": CLEAR["0002"]}
    sweep = confirm(folder, scores)
    read = read_confirmation(folder)
    assert read is not None and read.is_complete and read.seeds == (3, 4)
    assert [dict(trial.values) for trial in read.trials] == [CLEAR["0007"], CLEAR["0002"]]
    assert read.resume_command == f"python sweeps/run_ablation.py --resume confirmation --storage '{folder}'"
    assert sweep.resume_command == read.resume_command
    write_confirmation(read, tmp_path / "a.parquet")
    first, second = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert (first["trial"], first["n"], first["is_effect"], second["is_effect"]) == ("0001", 2, True, False)
    error, quantile = 0.05, math.tan(0.475 * math.pi)  # of the differences 3 and 3.1
    assert (first["low"], first["high"]) == pytest.approx((3.05 - quantile * error, 3.05 + quantile * error))
    assert first["holm_low"] < first["low"] and first["holm_p"] == pytest.approx(2 * first["p"])
    assert first["mean"] == pytest.approx(33.55) and first["base"] == 30.5 and first["metric"] == "mIoU"
