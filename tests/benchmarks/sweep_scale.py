"""What the sweep itself costs per trial, as the number of trials grows: everything but the trainings.

    python -m tests.benchmarks.sweep_scale [--sizes 100,200,500,1000] [--trials 10] [--search tpe]

Runs the real command (`sweeps.run_ablation.main`: Ray, Tune, Optuna with its sqlite file, searcher, scheduler, rows
and report) with a trainable that reports a made-up curve at once instead of training. For each size the study is filled
with made-up trials up to it, and the sweep is resumed for some more, whose cost is measured; `--sizes 1 --trials 1000`
runs all of them. Tune reuses its processes and fetches a trial's reports in one call: what processes cost is measured
by tests.benchmarks.trial_overhead.

Printed is, per trial, the CPU time of the driver, which other work on the machine does not change, by part; how often
rows and report were written, and its memory. The exponent is that of the cost of all trials together, trials^exponent:
1 is a cost per trial that stays as it is.

Predicted before the first run (2026-11-23, 2 CPU cores, shared with other work): with everything written at the end of
every trial, rows and results.parquet grow to 0.3 s of a trial at 1,000 trials, and a report to 5 s; since they are
paced, to a twentieth of the time each. Optuna's sampler and pruner, which look at all trials, grow from 0.05 to 0.2 s.
Came out on the quiet machine, 8 trials a size: 0.17 s of the driver at 100 trials, 0.17 s at 300 and 0.22 s at 1,000
(exponent 1.12), by the clock 2.2 s at each; rows and results.parquet, paced, grow most (1.5), from 0.01 to 0.04 s.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import json
import math
import os
import random
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState, create_trial
from ray import tune
from ray.tune.result import RESULT_DUPLICATE

import pgpc
from pgpc.classes import CITYSCAPES
from pgpc.config import to_dict
from sweeps import driver, run_ablation
from sweeps.common.names import METRIC, Status
from sweeps.definition.folder import RESULTS_FILE, trials_folder
from sweeps.definition.space import search_space
from sweeps.execution import tune_run
from sweeps.progress.quiet import silence
from sweeps.search.searcher import StudySearcher
from sweeps.search.study import open_studies
from sweeps.search.trial_spec import REPORT

ITERATIONS, INTERVAL = 100, 20
SETTINGS = {"training.iterations": ITERATIONS, "training.eval_interval": INTERVAL, "contrast.start": 0}


def height(eta: float, weight: float) -> float:
    """Return what the made-up trainings tend to."""
    return 40 + 10 * math.exp(-((eta - 0.6) ** 2)) - abs(math.log10(weight) + 1)


def curve(rng: random.Random, top: float) -> list[dict[str, float]]:
    """Return the reports of a made-up training, with as many metrics as a real one has."""
    reports = []
    for iteration in range(INTERVAL, ITERATIONS + 1, INTERVAL):
        value = top * (1 - math.exp(-iteration / 40)) + rng.gauss(0, 1)
        classes = {f"IoU/{name}": value + rng.gauss(0, 5) for name in CITYSCAPES.names}
        losses = {f"loss/{name}": rng.random() for name in ("source", "target", "contrast", "features")}
        reports.append({"iteration": iteration, METRIC: value, **classes, **losses, "seconds": 0.1})
    return reports


class Curve(tune.Trainable):
    """Reports what a training might."""

    def setup(self, config: dict[str, Any]) -> None:
        """Make up what the trial will report; called by Tune before the first step."""
        values = json.loads(config["config"])["contrast"]
        self._left = curve(random.Random(config["label"]), height(values["eta"], values["weight"]))
        directory = Path(config["directory"])
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "config.json").write_text(config["config"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take on the next trial; called by Tune."""
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Return one report; after the last one tell Tune so, as a function that returns would."""
        return {REPORT: self._left.pop(0)} if self._left else {RESULT_DUPLICATE: True, "done": True}


class Clock:
    """Counts CPU seconds spent in functions, without those of the measured functions that they call."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)
        self._inner = [0.0]

    def wrap(self, owner: Any, name: str, part: str) -> None:
        """Measure `owner.name` as `part` from now on."""
        function = getattr(owner, name)

        @functools.wraps(function)
        def measured(*args: Any, **kwargs: Any) -> Any:
            began = time.process_time()
            self._inner.append(0.0)
            try:
                return function(*args, **kwargs)
            finally:
                took = time.process_time() - began
                self.seconds[part] += took - self._inner.pop()
                self.calls[part] += 1
                self._inner[-1] += took

        setattr(owner, name, measured)


def memory() -> float:
    """Return the MiB that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def fill(folder: Path, size: int) -> None:
    """Add made-up trials to the sweep's study, and their folders, until it has so many."""
    folder.mkdir(exist_ok=True)
    study, reference = open_studies(
        folder,
        folder.name,
        optuna.samplers.RandomSampler(),
        optuna.pruners.NopPruner(),
        objectives=(METRIC,),
        reference=True,
        origin="first",
    )
    assert reference is not None, "a search has a reference"
    if not reference.get_trials(deepcopy=False):
        reference.add_trial(create_trial(value=40.0, user_attrs={"metrics": curve(random.Random(0), 40.0)[-1]}))
    space = search_space(pgpc.override(pgpc.preset("streets"), SETTINGS))
    sampling = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=size))
    trials = []
    for number in range(len(study.get_trials(deepcopy=False)), size):
        params, rng = sampling.ask(space).params, random.Random(number)
        reports = curve(rng, height(params["contrast.eta"], params["contrast.weight"]))
        pruned = number % 2  # as asha stops half of them
        reports = reports[: 2 if pruned else None]
        trials.append(
            create_trial(
                state=TrialState.PRUNED if pruned else TrialState.COMPLETE,
                value=reports[-1][METRIC],
                params=params,
                distributions=space,
                intermediate_values={int(report["iteration"]): report[METRIC] for report in reports},
                user_attrs={"status": (Status.PRUNED if pruned else Status.COMPLETE).value, "metrics": reports[-1]},
            )
        )
        config = pgpc.override(pgpc.preset("streets"), {**SETTINGS, **params})
        directory = trials_folder(folder) / f"{number:04d}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "config.json").write_text(json.dumps(to_dict(config)))
    study.add_trials(trials)


def measure(clock: Clock, storage: Path, size: int, arguments: argparse.Namespace) -> dict[str, float]:
    """Run the sweep on from so many trials, and return CPU seconds per further trial by part, and counts."""
    fill(storage / "scale", size)
    ends: list[tuple[float, float, dict[str, float], dict[str, int]]] = []
    complete = StudySearcher.on_trial_complete

    def note_end(self: StudySearcher, *args: Any, **kwargs: Any) -> None:
        complete(self, *args, **kwargs)
        ends.append((time.perf_counter(), time.process_time(), dict(clock.seconds), dict(clock.calls)))

    StudySearcher.on_trial_complete = note_end
    flags = ["--storage", str(storage), "--trials", str(size + arguments.trials)]
    if (storage / "scale" / "sweep.json").exists():
        flags += ["--resume", "scale"]
    else:
        flags += [text for key, value in SETTINGS.items() for text in ("--set", f"{key}={value}")]
        flags += ["--no-warm-up", "--workers", "1", "--name", "scale", "--search", arguments.search]
    with contextlib.redirect_stdout(io.StringIO()):
        run_ablation.main(flags)
    StudySearcher.on_trial_complete = complete
    (wall, cpu, seconds, calls), (last_wall, last_cpu, last_seconds, last_calls) = ends[0], ends[-1]
    num = len(ends) - 1
    parts = {part: (last_seconds[part] - seconds.get(part, 0.0)) / num for part in last_seconds}
    rest = (last_cpu - cpu) / num - sum(parts.values())
    counts = {part: last_calls.get(part, 0) - calls.get(part, 0) for part in (RESULTS_FILE, "report.html")}
    return {
        "all": (last_cpu - cpu) / num,
        **parts,
        "Tune, Ray and the rest": rest,
        "by the clock": (last_wall - wall) / num,
        **{f"{part} written": count / num for part, count in counts.items()},
        "driver, MiB": memory(),
    }


def exponent(costs: dict[int, float]) -> float:
    """Return that of the cost of all trials: 1 + the slope of log(cost of one) over log(trials), by least squares."""
    logs = [(math.log(size), math.log(cost)) for size, cost in costs.items() if cost > 0]
    if len(logs) < 2:
        return math.nan
    mean_x, mean_y = (sum(axis) / len(logs) for axis in zip(*logs, strict=True))
    return 1 + sum((x - mean_x) * (y - mean_y) for x, y in logs) / sum((x - mean_x) ** 2 for x, _ in logs)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="100,200,500,1000")
    parser.add_argument("--trials", type=int, default=10, metavar="N", help="trials that are run at each size")
    parser.add_argument("--search", default="tpe")
    arguments = parser.parse_args()
    silence()
    sizes = [int(size) for size in arguments.sizes.split(",")]
    clock = Clock()
    clock.wrap(optuna.Study, "ask", "Optuna: ask")
    clock.wrap(optuna.Trial, "_suggest", "Optuna: sampler")
    clock.wrap(optuna.Study, "tell", "Optuna: tell")
    clock.wrap(optuna.Trial, "should_prune", "Optuna: pruner")
    clock.wrap(optuna.Trial, "report", "Optuna: storage")
    clock.wrap(optuna.Trial, "set_user_attr", "Optuna: storage")
    clock.wrap(StudySearcher, "suggest", "searcher: suggestions")
    clock.wrap(StudySearcher, "report", "searcher: reports")
    clock.wrap(StudySearcher, "on_trial_complete", "searcher: ends")
    clock.wrap(driver, "collect", "rows")
    clock.wrap(driver, "write_parquet", RESULTS_FILE)
    clock.wrap(driver, "attempt", "report.html")
    tune_run.Slot = Curve
    # Without niceness 0, whatever else runs on the machine goes before the trials.
    os.environ.update(TUNE_RESULT_BUFFER_LENGTH=str(2 * ITERATIONS // INTERVAL), RAY_worker_niceness="0")
    found: dict[int, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="pgpc-scale-") as folder:
        for size in sizes:
            found[size] = measure(clock, Path(folder), size, arguments)
            print(f"{size} trials: {found[size]['all']:.2f} s of CPU for another one", flush=True)
    names = sorted(found[sizes[-1]], key=lambda name: found[sizes[-1]][name], reverse=True)
    print(f"\n{'seconds of a trial, at':<28}" + "".join(f"{size:10d}" for size in sizes) + f"{'exponent':>10}")
    for name in names:
        values = {size: found[size].get(name, 0.0) for size in sizes}
        print(f"{name:<28}" + "".join(f"{value:10.4f}" for value in values.values()) + f"{exponent(values):10.2f}")


if __name__ == "__main__":
    main()
