"""Population based training: choices by hand, then drivers on an in-memory study, some of them killed; then a sweep."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from optuna.trial import TrialState, create_trial
from ray.tune.search import Searcher

import pgpc
from pgpc.config import parse_settings
from pgpc.models.checkpoint import read_metrics
from pgpc.training import ForkParent
from sweeps import run_ablation
from sweeps.definition.options import DEFAULTS, SweepOptions
from sweeps.definition.selection import Selection
from sweeps.definition.space import own_values, search_space
from sweeps.execution.slots.training_process import Servers
from sweeps.execution.tune_run import PrunerScheduler
from sweeps.results.ranking import terminal_table
from sweeps.results.rows import Parent, collect
from sweeps.search import population, replicates, schedulers
from sweeps.search.perturbation import perturbed
from sweeps.search.searcher import StudySearcher
from sweeps.search.trial_spec import FAILURE, TrialSpec, Workers
from tests.helpers.forked import trained
from tests.helpers.tune_trials import tune_trial

pytestmark = pytest.mark.timeout(900)

CONFIG = pgpc.override(
    pgpc.preset("streets"), {"training.iterations": 100, "training.eval_interval": 20, "contrast.start": 0}
)
SPACE = search_space(CONFIG)
IOU = Selection.parse("mIoU")
WORKERS = Workers(count=1, cpus=1, gpus=0)
STEPS = (20, 40, 60, 80, 100)
COMPLETE, PRUNED, RUNNING, FAIL = TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING, TrialState.FAIL


# Choices


def test_quarters() -> None:
    eight = dict(enumerate([5.0, 1.0, 2.0, 8.0, 7.0, 3.0, 4.0, 6.0]))
    assert [n for n in eight if population.is_low(eight, n)] == [1, 2]
    assert population.highest(eight) == [3, 4]
    three = {4: 1.0, 5: 3.0, 9: 2.0}
    assert [n for n in three if population.is_low(three, n)] == [4] and population.highest(three) == [5]
    assert not population.is_low({0: 1.0}, 0), "there is nobody to compare with"
    assert not population.is_low({0: 1.0, 1: 1.0}, 0), "of equals nobody is worse"


# Drivers


class Bench:
    """A study, the folder of its trials, and what drivers did; scores are given by trial."""

    def __init__(self, trials: Path, size: int, num_trials: int, scores: dict[int, float]) -> None:
        self.study = optuna.create_study(direction="maximize", sampler=optuna.samplers.RandomSampler(seed=0))
        self.trials, self.size, self.num_trials, self.scores = trials, size, num_trials, scores
        self.selection = IOU
        self.events: list[tuple[str, str]] = []
        self.trained: list[tuple[str, int]] = []
        self.began: dict[str, int] = {}
        """Of each child that started from it: the iteration of the checkpoint in its directory."""

    def members(self) -> population.Population:
        return population.Population(
            self.study,
            space=SPACE,
            selection=self.selection,
            size=self.size,
            rungs=schedulers.rungs(SweepOptions(scheduler="pbt"), CONFIG),
            iterations=100,
            seed=0,
            trials=self.trials,
        )

    def driver(self) -> tuple[StudySearcher, PrunerScheduler]:
        searcher = StudySearcher(
            self.study,
            None,
            space=SPACE,
            known=[own_values(CONFIG, SPACE)],
            num_trials=self.num_trials,
            iterations=lambda params: 100,
            make_spec=lambda label, params, seed: TrialSpec(
                label=label, config=CONFIG, directory=self.trials / label, workers=WORKERS
            ),
            on_event=lambda event, run: self.events.append((event, run.label)),
            selection=self.selection,
            population=self.members(),
        )
        return searcher, PrunerScheduler(searcher)

    def run(self, slots: int) -> Iterator[None]:
        """One driver, which has `slots` trials trained at the same time; each in turn does one step per round.

        Yields at every moment at which the driver may be killed.
        """
        searcher, scheduler = self.driver()
        running: dict[str, Iterator[dict[str, float]]] = {}
        ids = (f"tune-{k}" for k in itertools.count())
        finished = False
        while running or not finished:
            while len(running) < slots and not finished:
                trial_id = next(ids)
                spec = searcher.suggest(trial_id)
                yield
                if spec == Searcher.FINISHED:
                    finished = True
                elif spec is None:
                    break
                else:
                    running[trial_id] = self._train(spec)
            for trial_id, training in list(running.items()):
                metrics = next(training, None)
                yield
                if metrics is None:
                    searcher.on_trial_complete(trial_id, {})
                elif report(scheduler, trial_id, metrics) == "STOP":
                    yield
                    searcher.on_trial_complete(trial_id, {})
                else:
                    yield
                    continue
                del running[trial_id]
                yield

    def _train(self, spec: dict[str, Any]) -> Iterator[dict[str, float]]:
        """What a training reports: its last report again if it goes on from a checkpoint, then one per interval."""
        directory, label = self.trials / spec["label"], spec["label"]
        own = max(directory.glob("checkpoint_*"), default=None)
        start = 0
        if own or spec["parent"]:
            metrics = read_metrics(own or Path(spec["parent"]))
            start = metrics["iteration"]
            if not own:
                self.began[label] = start
            yield metrics
        for iteration in STEPS:
            if iteration > start:
                self.trained.append((label, iteration))
                score = self.scores.get(int(label), 0.0) + iteration / 1000
                metrics = {"iteration": iteration, "mIoU": score, "seconds": iteration / 10}
                newest = directory / f"checkpoint_{iteration:03d}"
                newest.mkdir(parents=True)
                torch.save({"metrics": metrics}, newest / "checkpoint.pt")
                for old in directory.glob("checkpoint_*"):
                    if old != newest:
                        shutil.rmtree(old)
                yield metrics

    @property
    def states(self) -> list[TrialState]:
        return [trial.state for trial in self.study.trials]

    def attrs(self, number: int) -> dict[str, Any]:
        return self.study.trials[number].user_attrs


def report(scheduler: PrunerScheduler, trial_id: str, metrics: dict[str, float]) -> str:
    flat = {f"report/{key}": value for key, value in metrics.items()}
    return scheduler.on_trial_result(None, tune_trial(trial_id), flat)


def finish(driver: Iterator[None]) -> None:
    for _ in driver:
        pass


def test_a_child_of_the_best_goes_on_in_the_place_of_the_worst(tmp_path: Path) -> None:
    bench = Bench(tmp_path, 3, 4, {0: 20.0, 1: 30.0, 2: 10.0, 3: 31.0})
    finish(bench.run(3))
    assert bench.states == [COMPLETE, COMPLETE, PRUNED, COMPLETE]
    child = bench.study.trials[3]
    attrs = {key: child.user_attrs[key] for key in ("parent", "parent_iteration", "parent_seconds")}
    assert attrs == {"parent": "0001", "parent_iteration": 20, "parent_seconds": 2.0}
    assert child.params != bench.study.trials[1].params
    rng = np.random.default_rng([0, 3])
    assert child.params == perturbed(bench.study.trials[1].params, SPACE, rng)
    assert bench.attrs(2)["reason"] == "in the lowest quarter at 20; 0003, a child of 0001, takes its place"
    assert bench.began == {"0003": 20}
    assert [i for label, i in bench.trained if label == "0003"] == [40, 60, 80, 100]
    assert child.intermediate_values == pytest.approx({20: 30.02, 40: 31.04, 60: 31.06, 80: 31.08, 100: 31.1})
    assert not list(tmp_path.glob("*/parent*")), "the copy is removed when it is of no more use"
    rows = {row.label: row for row in collect(bench.study, None, results=tmp_path, seeds=[0])}
    table = [line.split() for line in terminal_table(list(rows.values()), []).splitlines()]
    assert next(line for line in table if "0003" in line)[2:6] == ["complete", "0001", "from", "20"]
    assert rows["0003"].parent == Parent(label="0001", iteration=20, seconds=2.0) and rows["0000"].parent is None


def test_as_many_as_the_population_has_are_trained_to_the_end(tmp_path: Path) -> None:
    bench = Bench(tmp_path, 4, 12, {n: float(n) for n in range(12)})
    finish(bench.run(4))
    # The worst is always the first to report; that it is shows when the last one has, and it goes with its next report.
    assert bench.states == [PRUNED] * 3 + [COMPLETE] * 4
    ends = [bench.attrs(number)["metrics"]["iteration"] for number in range(3)]
    assert ends == [40, 60, 80]
    assert [replicates.parent_of(t) for t in bench.study.trials[4:]] == ["0003", "0004", "0005"]


def test_nobody_is_replaced_without_trials_left(tmp_path: Path) -> None:
    bench = Bench(tmp_path, 3, 3, {0: 20.0, 1: 30.0, 2: 10.0})
    finish(bench.run(3))
    assert bench.states == [COMPLETE] * 3


def test_members_wait_for_each_other_where_there_is_less_room(tmp_path: Path) -> None:
    bench = Bench(tmp_path, 3, 4, {0: 10.0, 1: 20.0, 2: 30.0, 3: 5.0})
    finish(bench.run(1))
    assert bench.trained[:3] == [("0000", 20), ("0001", 20), ("0002", 20)]
    assert bench.states == [PRUNED] + [COMPLETE] * 3
    assert bench.events.count(("started", "0000")) == 1, "it is ended while it waits, when the last one has reported"
    assert bench.began == {"0003": 20}
    order = [iteration for _, iteration in bench.trained]
    assert order == sorted(order), "nobody is ahead of a rung that others have not reached"
    assert len(set(bench.trained)) == len(bench.trained), "nothing is trained twice"
    assert ("paused", "0000") in bench.events


def test_nobody_is_paused_for_a_child_that_has_a_place_or_replaced_twice(tmp_path: Path) -> None:
    bench = Bench(tmp_path, 3, 9, {})
    searcher, scheduler = bench.driver()
    labels = {trial_id: searcher.suggest(trial_id)["label"] for trial_id in "abc"}
    for trial_id, score in zip("abc", (10.0, 20.0, 30.0)):
        folder = tmp_path / labels[trial_id] / "checkpoint_020"
        folder.mkdir(parents=True)
        torch.save({"metrics": {"iteration": 20, "mIoU": score, "seconds": 1.0}}, folder / "checkpoint.pt")
        assert report(scheduler, trial_id, {"iteration": 20, "mIoU": score, "seconds": 1.0}) == "CONTINUE"
    assert [report(scheduler, "a", {"iteration": i, "mIoU": 10.0, "seconds": 1.0}) for i in (40, 60)] == ["STOP"] * 2
    assert len(bench.states) == 4, "what it still reports until it is stopped changes nothing"
    for trial_id, score in zip("bc", (20.0, 30.0)):  # the child is behind, but has the place that 0000 leaves
        assert report(scheduler, trial_id, {"iteration": 40, "mIoU": score, "seconds": 1.0}) == "CONTINUE"
    searcher.on_trial_complete("a", {})
    assert searcher.suggest("d")["label"] == "0003"


def test_a_trial_that_fails_gives_its_place_to_a_new_one(tmp_path: Path) -> None:
    bench = Bench(tmp_path, 2, 3, {0: 1.0})
    searcher, _ = bench.driver()
    for trial_id in "ab":
        searcher.suggest(trial_id)
    assert searcher.suggest("c") is None, "the population is full, but somebody may fall out"
    searcher.on_trial_complete("b", {FAILURE: "out of memory"})
    spec = searcher.suggest("d")
    assert spec["label"] == "0002" and spec["parent"] is None
    assert bench.states == [RUNNING, FAIL, RUNNING]


def test_a_run_that_fails_when_it_is_to_wait_has_failed(tmp_path: Path) -> None:
    bench = Bench(tmp_path, 2, 3, {})
    searcher, scheduler = bench.driver()
    searcher.suggest("a")
    assert report(scheduler, "a", {"iteration": 20, "mIoU": 30.0, "seconds": 1.0}) == "STOP", (
        "another has to come first"
    )
    searcher.on_trial_complete("a", {FAILURE: "out of memory"})
    assert bench.states == [FAIL] and bench.events[-1] == ("failed", "0000")


def test_a_parent_without_a_checkpoint_in_mid_training_has_no_children(tmp_path: Path) -> None:
    bench = Bench(tmp_path, 2, 3, {0: 30.0, 1: 10.0})
    searcher, scheduler = bench.driver()
    searcher.suggest("good")
    for step in STEPS:
        report(scheduler, "good", {"iteration": step, "mIoU": 30.0, "seconds": 1.0})
        if step == 20:
            searcher.on_trial_complete("good", {})  # paused for the other one
            assert searcher.suggest("bad")["label"] == "0001"
            assert searcher.suggest("good")["label"] == "0000"
    assert report(scheduler, "bad", {"iteration": 20, "mIoU": 10.0, "seconds": 1.0}) == "CONTINUE"
    torn = tmp_path / "0000" / "checkpoint_100"
    torn.mkdir(parents=True)
    for content in (b"", b"no checkpoint"):
        (torn / "checkpoint.pt").write_bytes(content)
        assert report(scheduler, "bad", {"iteration": 20, "mIoU": 10.0, "seconds": 1.0}) == "CONTINUE"
    torch.save({"metrics": {"iteration": 100, "mIoU": 30.0, "seconds": 1.0}}, torn / "checkpoint.pt")
    assert report(scheduler, "bad", {"iteration": 20, "mIoU": 10.0, "seconds": 1.0}) == "CONTINUE"
    assert not (tmp_path / "0002").exists() or not list((tmp_path / "0002").iterdir())


def test_what_a_child_has_from_its_parent_does_not_count_as_its_own(tmp_path: Path) -> None:
    bench = Bench(tmp_path, 3, 5, {})
    folder = tmp_path / "0001" / "checkpoint_020"
    folder.mkdir(parents=True)
    torch.save({"metrics": {"iteration": 20, "mIoU": 20.0, "seconds": 2.0}}, folder / "checkpoint.pt")
    params = own_values(CONFIG, SPACE)

    def add(score: float, **attrs: Any) -> None:
        bench.study.add_trial(
            create_trial(
                state=RUNNING, params=params, distributions=SPACE, intermediate_values={20: score}, user_attrs=attrs
            )
        )

    add(10.0)
    add(20.0)
    add(20.0, parent="0001", parent_iteration=20, parent_seconds=2.0)
    first = optuna.Trial(bench.study, bench.study.trials[0]._trial_id)
    assert bench.members().replace(first, 20) is None, "only two have come as far by themselves"
    add(30.0)
    assert bench.members().replace(first, 20) is None, "the best, 0003, has no checkpoint"
    shutil.copytree(tmp_path / "0001", tmp_path / "0003")
    newer = tmp_path / "0003" / "checkpoint_040"
    newer.mkdir()
    torch.save({"metrics": {"iteration": 40, "mIoU": 20.0, "seconds": 4.0}}, newer / "checkpoint.pt")
    child = bench.members().replace(first, 40)
    assert child is not None and replicates.parent_of(child) == "0003"
    assert child.user_attrs["parent_iteration"] == 40, "of two checkpoints it is the newest"
    assert (tmp_path / "0004" / "parent" / "checkpoint.pt").is_file()


def test_members_are_compared_by_their_ranks(tmp_path: Path) -> None:
    bench = Bench(tmp_path, 3, 4, {})
    bench.selection = Selection.parse("rank:snd,bnm")
    searcher, scheduler = bench.driver()
    labels = {trial_id: searcher.suggest(trial_id)["label"] for trial_id in "abc"}
    # Mean ranks 2, 1.5 and 2.5; in snd alone "a" is the worst, in bnm alone "c" is.
    reports = {
        trial_id: {"iteration": 20, "criteria/snd": snd, "criteria/bnm": bnm, "seconds": 1.0}
        for trial_id, snd, bnm in (("a", 0.1, 0.9), ("b", 0.9, 0.6), ("c", 0.2, 0.1))
    }
    for trial_id, metrics in reports.items():
        folder = tmp_path / labels[trial_id] / "checkpoint_020"
        folder.mkdir(parents=True)
        torch.save({"metrics": metrics}, folder / "checkpoint.pt")
    assert report(scheduler, "a", reports["a"]) == report(scheduler, "b", reports["b"]) == "CONTINUE"
    assert report(scheduler, "c", reports["c"]) == "STOP"
    assert replicates.parent_of(bench.study.trials[3]) == labels["b"]


@pytest.mark.slow
@pytest.mark.parametrize("slots", [1, 3])
def test_a_driver_killed_at_any_moment_loses_and_duplicates_nobody(tmp_path: Path, slots: int) -> None:
    scores = {0: 20.0, 1: 30.0, 2: 10.0, 3: 31.0, 4: 32.0}

    def sweep(folder: Path, kill: int) -> tuple[Bench, bool]:
        """Killed at the `kill`-th moment; whether it had ended before."""
        bench = Bench(folder, 3, 5, scores)
        driver = bench.run(slots)
        ended = False
        for _ in range(kill):
            ended = next(driver, StopIteration) is StopIteration
        driver.close()
        finish(bench.run(slots))
        return bench, ended

    for kill in itertools.count(1):
        bench, ended = sweep(tmp_path / str(kill), kill)
        assert sorted(state.name for state in bench.states) == ["COMPLETE"] * 3 + ["PRUNED"] * (len(bench.states) - 3)
        assert 3 < len(bench.states) <= 5
        children = [t.user_attrs["replaces"] for t in bench.study.trials if "replaces" in t.user_attrs]
        assert sorted(children) == [f"{t.number:04d}" for t in bench.study.trials if t.state == PRUNED], "one for each"
        assert all("reason" in t.user_attrs for t in bench.study.trials if t.state == PRUNED)
        assert len(set(bench.trained)) == len(bench.trained), "nothing is trained twice"
        assert not list((tmp_path / str(kill)).glob("*/parent*"))
        if ended:
            return


# The command


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--range", "optimizer.lr=1e-5:1e-4:log"], "--scheduler pbt changes parameters in mid-training"),
        (["--range", "contrast.bank_size=64,128"], "but got contrast.bank_size. Use another --scheduler, or --set"),
        (["--seeds", "0,1"], "--scheduler pbt trains with one seed"),
        (
            ["--search", "grid", "--range", "contrast.eta=0.1,0.2", "--set", "contrast.weight=0.1"],
            "but got --search grid",
        ),
        (["--population", "1"], "--population must be at least 2"),
        (["--trials", "4"], "--trials must be more than the population of 4"),
        (["--population", "2", *["--enqueue", "contrast.r=3"] * 2], "--population must be at least 3"),
        (["--set", "training.eval_interval=300"], "training.eval_interval must be smaller, but got 300"),
        (["--scheduler", "asha", "--population", "3"], "--population belongs to --scheduler pbt"),
        (["--scheduler", "asha", "--brackets", "9"], "--brackets must be at most"),
        (["--brackets", "2"], "--brackets belongs to --scheduler asha"),
        (["--scheduler", "asha", "--first-rung", "60"], "--first-rung must be more than 60, contrast.start"),
        (["--scheduler", "asha", "--first-rung", "151"], "--first-rung must be at most 150, the last evaluation"),
        (["--scheduler", "median", "--reduction-factor", "3"], "--reduction-factor belongs to --scheduler asha"),
        (["--retry-failed"], "--retry-failed goes with --resume"),
        (["--table", "12"], "--table runs rows that are given, so there is no --scheduler"),
    ],
)
def test_what_cannot_be_is_refused_early(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_ablation.main(["--storage", str(tmp_path), "--scheduler", "pbt", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1, error
    assert not list(tmp_path.iterdir())


def test_a_resumed_sweep_of_before_has_one_bracket() -> None:
    flags = {key: value for key, value in DEFAULTS.to_json().items() if key not in ("brackets", "population")}
    stored = SweepOptions.from_json(flags)
    assert stored.resumed({"brackets": 1}).population is None
    with pytest.raises(ValueError, match="keeps its --brackets, which was 1"):
        stored.resumed({"brackets": 2})


@pytest.mark.slow
def test_the_training_of_a_child_goes_on_from_the_copy_with_its_own_settings(tiny: list[str], tmp_path: Path) -> None:
    config = pgpc.override(pgpc.preset("streets"), {**parse_settings(tiny[1::2]), "training.iterations": 6})
    pgpc.train(config, out=tmp_path / "0000")
    shutil.copytree(tmp_path / "0000", tmp_path / "at3")
    (tmp_path / "at3" / "previous.pt").rename(tmp_path / "at3" / "checkpoint.pt")
    child = pgpc.override(config, {"contrast.r": 2})
    spec = TrialSpec(label="0001", config=child, directory=tmp_path / "0001", workers=WORKERS, parent=tmp_path / "at3")
    servers = Servers()
    found = trained(servers, spec)[-1]
    servers.close()
    alone = pgpc.train(child, out=tmp_path / "alone", begin=ForkParent(tmp_path / "at3")).metrics
    assert {key: found[key] for key in found if "loss/" in key} == {key: alone[key] for key in alone if "loss/" in key}
    assert json.loads((tmp_path / "0001" / "config.json").read_text())["contrast"]["r"] == 2
