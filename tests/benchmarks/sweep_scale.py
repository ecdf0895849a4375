"""What the sweep itself costs per trial, as the number of trials grows: everything but the trainings.

    python -m tests.benchmarks.sweep_scale [--trials 1000] [--search tpe]

Runs the real command (`sweeps.run_ablation.main`: Ray, Tune, Optuna with its sqlite file, searcher, scheduler, rows
and report) with a trainable that reports a made-up curve at once instead of training. Tune reuses its processes and
fetches a trial's reports in one call: what processes cost is measured by tests.benchmarks.trial_overhead. Per block of
trials it prints the seconds of a trial and of its parts (CPU time of the driver, which other work on the machine does
not change, without waiting for the disk), and the driver's memory; and the exponent with which each total grows over
the last three quarters, total ~ trials^exponent: 1 is a cost per trial that stays as it is.
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
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from ray import tune
from ray.tune.result import RESULT_DUPLICATE

from pgpc.classes import CITYSCAPES
from sweeps import report, results, run_ablation, search
from sweeps.trial import REPORT

ITERATIONS, INTERVAL = 100, 20
SETTINGS = {"training.iterations": ITERATIONS, "training.eval_interval": INTERVAL, "contrast.start": 0}
MARKS = (0.1, 0.2, 0.5, 1.0)  # where the table has its lines, as shares of all trials


class Curve(tune.Trainable):
    """Reports what a training might."""

    def setup(self, config: dict[str, Any]) -> None:
        """Called by Tune before the first step."""
        values = json.loads(config["config"])["contrast"]
        self._random = random.Random(config["label"])
        self._height = 40 + 10 * math.exp(-((values["eta"] - 0.6) ** 2)) - abs(math.log10(values["weight"]) + 1)
        self._iteration = 0
        directory = Path(config["directory"])
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "config.json").write_text(config["config"])

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Called by Tune with the next trial."""
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """One report; after the last one Tune is told, as a function that returns would tell it."""
        if self._iteration >= ITERATIONS:
            return {RESULT_DUPLICATE: True, "done": True}
        self._iteration += INTERVAL
        value = self._height * (1 - math.exp(-self._iteration / 40)) + self._random.gauss(0, 1)
        classes = {f"IoU/{name}": value + self._random.gauss(0, 5) for name in CITYSCAPES.names}
        losses = {f"loss/{name}": self._random.random() for name in ("source", "target", "contrast", "features")}
        return {REPORT: {"iteration": self._iteration, "mIoU": value, **classes, **losses, "seconds": 0.1}}


class Clock:
    """CPU seconds spent in functions, without those of the measured functions that they call."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)
        self._inner = [0.0]

    def wrap(self, owner: Any, name: str, part: str) -> None:
        """Measures `owner.name` as `part` from now on."""
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


class End(NamedTuple):
    """What is known when a trial has ended."""

    wall: float
    cpu: float
    memory: float
    seconds: dict[str, float]
    calls: dict[str, int]


def memory() -> float:
    """MiB that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def exponent(points: list[tuple[int, float]]) -> float:
    """Slope of log(total) over log(trials), by least squares."""
    logs = [(math.log(n), math.log(total)) for n, total in points]
    mean_x, mean_y = (sum(axis) / len(logs) for axis in zip(*logs, strict=True))
    return sum((x - mean_x) * (y - mean_y) for x, y in logs) / sum((x - mean_x) ** 2 for x, _ in logs)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--search", default="tpe")
    parser.add_argument("--limit", type=float, default=280, metavar="SECONDS", help="after which the sweep is ended")
    arguments = parser.parse_args()
    clock, ends = Clock(), list[End]()
    clock.wrap(optuna.samplers.TPESampler, "sample_independent", "Optuna's sampler")
    clock.wrap(optuna.Study, "ask", "Optuna's ask")
    clock.wrap(optuna.Study, "tell", "Optuna's tell")
    clock.wrap(optuna.Trial, "should_prune", "Optuna's pruner")
    clock.wrap(optuna.Trial, "report", "Optuna's storage")
    clock.wrap(optuna.Trial, "set_user_attr", "Optuna's storage")
    clock.wrap(search.StudySearcher, "suggest", "searcher: suggestions")
    clock.wrap(search.StudySearcher, "report", "searcher: reports")
    clock.wrap(search.StudySearcher, "on_trial_complete", "searcher: ends")
    clock.wrap(results, "collect", "rows")
    clock.wrap(results, "write_parquet", "results.parquet")
    clock.wrap(report, "attempt", "report.html")
    complete = search.StudySearcher.on_trial_complete

    def note_end(self: search.StudySearcher, *args: Any, **kwargs: Any) -> None:
        complete(self, *args, **kwargs)
        ends.append(End(time.perf_counter(), time.process_time(), memory(), dict(clock.seconds), dict(clock.calls)))

    search.StudySearcher.on_trial_complete = note_end
    run_ablation.run_trial = Curve
    tune.TuneConfig = functools.partial(tune.TuneConfig, reuse_actors=True)
    # Without the latter, whatever else runs on the machine goes before the trials.
    os.environ.update(TUNE_RESULT_BUFFER_LENGTH=str(2 * ITERATIONS // INTERVAL), RAY_worker_niceness="0")
    with tempfile.TemporaryDirectory(prefix="pgpc-scale-") as folder:
        settings = [text for key, value in SETTINGS.items() for text in ("--set", f"{key}={value}")]
        flags = [*settings, "--no-warm-up", "--workers", "1", "--name", "scale", "--storage", folder]
        flags += ["--trials", str(arguments.trials), "--search", arguments.search]
        with contextlib.redirect_stdout(io.StringIO()):
            run_ablation.main([*flags, "--time-budget", f"{arguments.limit:g}"])
    show(ends, sorted(clock.seconds, key=clock.seconds.get, reverse=True))


def show(ends: list[End], parts: list[str]) -> None:
    """The table: a column per block of trials."""
    num = len(ends)
    marks = [max(2, round(share * num)) for share in MARKS]
    blocks = list(zip([1, *marks], marks))
    print(f"{num} trials ended within {ends[-1].wall - ends[0].wall:.0f} s")
    print(f"{'seconds of a trial':<28}" + "".join(f"{f'{a}..{b}':>12}" for a, b in blocks) + f"{'exponent':>10}")

    def line(name: str, total: Callable[[End], float]) -> None:
        values = [(total(ends[b - 1]) - total(ends[a - 1])) / (b - a) for a, b in blocks]
        points = [(n, total(ends[n - 1]) - total(ends[0])) for n in range(max(3, num // 4), num + 1)]
        growth = exponent(points) if points[0][1] > 0 else math.nan
        print(f"{name:<28}" + "".join(f"{value:12.4f}" for value in values) + f"{growth:10.2f}")

    line("all, by the clock", lambda end: end.wall)
    line("all, CPU", lambda end: end.cpu)
    for part in parts:
        line(f"  {part}", lambda end, part=part: end.seconds.get(part, 0.0))
    line("  Tune, Ray and the rest", lambda end: end.cpu - sum(end.seconds.values()))
    for part in ("results.parquet", "report.html"):
        calls = [ends[b - 1].calls.get(part, 0) - ends[a - 1].calls.get(part, 0) for a, b in blocks]
        print(f"{f'{part} written':<28}" + "".join(f"{n:12d}" for n in calls))
    print(f"{'driver, MiB':<28}" + "".join(f"{ends[b - 1].memory:12.0f}" for _, b in blocks))


if __name__ == "__main__":
    main()
