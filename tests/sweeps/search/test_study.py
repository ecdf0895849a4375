"""Failed trials that are trained again, in a database as a sweep has it, and what of a study is begun."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

import pgpc
from pgpc.runtime import databases
from sweeps.common.private_optuna import reopen_failed
from sweeps.definition.selection import Selection
from sweeps.definition.space import own_values, search_space
from sweeps.execution.tune_run import PrunerScheduler
from sweeps.search import replicates
from sweeps.search import study as study_module
from sweeps.search.searcher import StudySearcher
from sweeps.search.study import (
    LOCK_PATIENCE,
    begun_points,
    check_study,
    find_studies,
    load_study,
    open_studies,
    reference_file,
    study_file,
    study_names,
    study_url,
)
from sweeps.search.trial_spec import FAILURE, TrialSpec, Workers
from sweeps.search.warm_start import open_earlier
from tests.helpers.tune_trials import tune_trial

CONFIG = pgpc.preset("streets")
SPACE = search_space(CONFIG)
OWN = own_values(CONFIG, SPACE)
COMPLETE, RUNNING, FAIL = TrialState.COMPLETE, TrialState.RUNNING, TrialState.FAIL


class Bench:
    """The folder of a sweep; each driver opens its studies anew, as another process would."""

    def __init__(self, folder: Path, seeds: tuple[int, ...] = (0,)) -> None:
        self.folder, self.seeds = folder, seeds
        self.handed_out: list[str] = []

    def driver(self, num_trials: int = 2) -> tuple[StudySearcher, PrunerScheduler]:
        self.study, self.reference = open_studies(
            self.folder,
            study_names(self.folder)[0],
            optuna.samplers.RandomSampler(seed=0),
            optuna.pruners.NopPruner(),
            objectives=("mIoU",),
            reference=True,
            origin="first",
        )
        searcher = StudySearcher(
            self.study,
            self.reference,
            space=SPACE,
            known=[OWN],
            num_trials=num_trials,
            iterations=lambda params: 100,
            make_spec=lambda label, params, seed: TrialSpec(
                label=label, config=CONFIG, directory=Path(label), workers=Workers(count=1, cpus=1, gpus=0)
            ),
            on_event=lambda event, run: None,
            selection=Selection.parse("mIoU"),
            seeds=self.seeds,
        )
        return searcher, PrunerScheduler(searcher)

    def run(self, failures: dict[str, str], num_trials: int = 2) -> list[str]:
        """A driver that runs all that it is given to its end; the labels of these runs."""
        searcher, scheduler = self.driver(num_trials)
        labels: list[str] = []
        while isinstance(spec := searcher.suggest(str(len(labels))), dict):
            trial_id, label = str(len(labels)), spec["label"]
            labels.append(label)
            if label not in failures:
                found = {"report/iteration": 100, "report/mIoU": 30.0}
                scheduler.on_trial_result(None, tune_trial(trial_id), found)
            searcher.on_trial_complete(trial_id, {FAILURE: failures[label]} if label in failures else {})
        return labels

    def reopen(self, which: int = 0) -> list[int]:
        file = (study_file, reference_file)[which](self.folder)
        return reopen_failed(file, study_names(self.folder)[which], replicates.is_of_failure)

    @property
    def states(self) -> list[TrialState]:
        return [trial.state for trial in self.study.trials]


@pytest.mark.slow
def test_failed_trials_are_trained_again_as_themselves(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert bench.run({"0000": "out of memory", "0001": "NonFiniteLoss: loss became NaN"}) == ["base", "0000", "0001"]
    before = bench.study.trials
    assert bench.states == [FAIL, FAIL] and replicates.has_diverged(before[1])
    assert bench.run({}) == [], "they are not tried again by themselves"
    assert bench.reopen() == [0, 1] and bench.reopen() == []
    assert bench.run({}) == ["0000", "0001"]
    assert bench.states == [COMPLETE, COMPLETE]
    for trial, old in zip(bench.study.trials, before, strict=True):
        assert (trial.number, trial.params) == (old.number, old.params)
        assert "error" not in trial.user_attrs and not replicates.has_diverged(trial)


def test_the_base_is_a_study_of_its_own(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.run({"base": "out of memory", "0000": "out of memory"})
    assert bench.reopen(1) == [0]
    assert bench.run({}) == ["base"]
    assert bench.reference is not None and [t.state for t in bench.reference.trials] == [COMPLETE]
    assert bench.states == [FAIL, COMPLETE]


def test_the_seeds_that_were_complete_are_not_trained_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path, seeds=(0, 1, 2))
    labels = bench.run({"0000-s1": "out of memory"}, num_trials=1)
    assert labels[-2:] == ["0000-s0", "0000-s1"] and bench.states == [FAIL]
    assert bench.reopen() == [0]
    assert bench.run({}, num_trials=1) == ["0000-s1", "0000-s2"]
    assert bench.states == [COMPLETE] and bench.study.trials[0].value == 30.0


def test_nothing_else_is_reopened(tmp_path: Path) -> None:
    assert Bench(tmp_path).reopen() == [] and not study_file(tmp_path).exists()
    bench = Bench(tmp_path)
    bench.run({})
    before = bench.study.trials
    assert bench.reopen() == []
    bench.driver()
    assert bench.study.trials == before


@pytest.mark.parametrize("num_begun", [0, 1])
def test_points_that_are_begun_or_enqueued(num_begun: int, tmp_path: Path) -> None:
    assert begun_points(tmp_path) == []
    study = optuna.create_study(storage=study_url(tmp_path), study_name=tmp_path.name, direction="maximize")
    points = [OWN, {**OWN, "contrast.eta": 0.3}]
    for point in points:
        study.enqueue_trial(point)
    for _ in range(num_begun):
        study.ask(SPACE)
    assert begun_points(tmp_path) == points


@pytest.mark.parametrize("name", ["a#b+c ä:b", "50%25{x}", "q?mode=memory&uri=true"])
def test_any_name_is_that_of_a_folder_and_nothing_else(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    Bench(folder).run({}, num_trials=1)
    assert sorted(file.name for file in folder.iterdir()) == ["reference.db", "study.db"]
    assert [f.name for f in tmp_path.iterdir()] == [name]
    assert Bench(folder).run({}, num_trials=1) == [], "it is found again"
    check_study(folder, "")
    assert len(begun_points(folder)) == len(load_study(folder).trials) == 1
    assert Bench(folder).reopen() == []
    # As Optuna's own tools are given it.
    assert optuna.load_study(study_name=None, storage=study_url(folder)).study_name == name
    search, reference = find_studies(folder)
    assert search is not None and reference is not None
    assert (search.study_name, reference.study_name) == (name, f"{name}-reference")
    assert open_earlier(str(folder)).study_name == name
    assert open_earlier(study_url(folder)).study_name == name


def test_who_has_locked_the_study_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert LOCK_PATIENCE == 60
    monkeypatch.setattr(databases, "_MOMENT", 0.05)
    bench = Bench(tmp_path)
    bench.driver()
    with contextlib.closing(sqlite3.connect(study_file(tmp_path), check_same_thread=False)) as other:
        other.execute("BEGIN EXCLUSIVE")
        end = threading.Timer(0.4, other.rollback)
        end.start()
        bench.study.set_user_attr("a", 1)
        end.join()
    assert bench.study.user_attrs["a"] == 1


def test_a_study_that_is_locked_is_not_called_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(tmp_path)
    bench.driver()
    monkeypatch.setattr(study_module, "LOCK_PATIENCE", 0.1)
    with contextlib.closing(sqlite3.connect(study_file(tmp_path))) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(ValueError, match=r"study.db must be free, but another program has locked it.* End that"):
            check_study(tmp_path, "")


def test_a_folder_that_was_renamed_keeps_its_trials(tmp_path: Path) -> None:
    """Else a new study would be made under the new name, and other parameters trained on the old checkpoints."""
    (tmp_path / "old").mkdir()
    bench = Bench(tmp_path / "old")
    bench.run({})
    before = bench.study.trials
    bench.folder = (tmp_path / "old").rename(tmp_path / "new")
    assert study_names(bench.folder) == ("old", "old-reference")
    assert bench.run({}) == [], "all has been trained"
    assert bench.study.trials == before and begun_points(bench.folder) == [trial.params for trial in before]


def test_a_sweep_of_earlier_versions_keeps_both_studies_in_one_file(tmp_path: Path) -> None:
    for name in (tmp_path.name, f"{tmp_path.name}-reference"):
        optuna.create_study(storage=study_url(tmp_path), study_name=name, direction="maximize")
    bench = Bench(tmp_path)
    assert bench.run({"base": "out of memory"}) == ["base", "0000", "0001"] and bench.reopen(1) == [0]
    assert bench.run({}) == ["base"]
    assert [file.name for file in tmp_path.iterdir()] == ["study.db"]
    search, reference = find_studies(tmp_path)
    assert search is not None and reference is not None
    assert (len(search.trials), len(reference.trials)) == (2, 1)
    check_study(tmp_path, "")


def test_several_searches_in_one_database_are_not_guessed_among(tmp_path: Path) -> None:
    for name in ("a", "b"):
        optuna.create_study(storage=study_url(tmp_path), study_name=name)
    with pytest.raises(ValueError, match="must hold one study of a search, but has: a, b"):
        study_names(tmp_path)


def test_the_study_of_another_sweep_is_refused(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.run({})
    for origin in ("first", ""):  # nothing is known of the sweep itself where no driver has noted itself
        check_study(tmp_path, origin)
    with pytest.raises(
        ValueError, match="must be that of this sweep, but another sweep has made it. Put the file back"
    ):
        check_study(tmp_path, "second")
