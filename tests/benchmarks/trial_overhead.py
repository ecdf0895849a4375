"""What a trial of the sweep costs beside its training steps, against the pattern of Ray's user guide, in one run.

    python -m tests.benchmarks.trial_overhead [--rounds 3] [--workers 2]

Both ways run the same two trials, one after the other: `pgpc.train` on a tiny config that reports (with a checkpoint)
every two steps; the first trial is stopped by its scheduler at its second report. "guide" is the page "Hyperparameter
Tuning with Ray Tune" of Ray Train's user guides: a function that builds a TorchTrainer with TuneReportCallback, and a
Tuner, both with their defaults. "sweep" is `sweeps.execution.tune_run.execute` on a cluster of
`sweeps.execution.resources.connect`. Each way has a Ray cluster of its own, in a process of its own; the ways
alternate, and medians over the rounds are printed.

Predicted before the first run with these settings (2026-11-23, 2 CPU cores, shared with other work): ratios of 0.7 for
the start of a trial (torch is imported by the workers alone, and two processes fewer are started), 0.1 to 1 for a
report (the guide's waits where reports are closer than 2 s), 0.2 for the end, 0.7 from a stop to the next first step;
0.6 in all. One round on the quiet machine came out:

    start of a trial to its first step               13.8 s    17.5 s   0.78
    a report, until the scheduler knows               0.2 s     2.3 s   0.10
    a report, the training waits                      0.2 s     0.5 s   0.35
    last report to the trial's end                    1.3 s     5.1 s   0.25
    stop of a trial to the next one's first step     10.3 s    16.0 s   0.65
    a whole trial: start, 5 reports, end             15.9 s    25.2 s   0.63
    ... and a stop                                   26.3 s    41.2 s   0.64

What is left is mostly the workers' imports (torch, timm), which both ways pay.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import ray.train
from ray import tune
from ray.tune.integration.ray_train import TuneReportCallback
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

ROOT = Path(__file__).parents[2]
MARKS = "PGPC_TRIAL_OVERHEAD"  # environment variable: the file of all processes' time stamps
TIMEOUT = 240.0  # seconds for the trials of one way
NUM_TRIALS, STOPPED, STOPPED_AT = 2, "0", 2  # the first trial is stopped, at its second report
WHOLE = "1"
TINY = {
    "data.streets.num_source": 8,
    "data.streets.num_target": 8,
    "data.streets.num_val": 2,
    "data.streets.height": 64,
    "data.streets.width": 64,
    "data.source_size": "64,64",
    "data.target_size": "64,64",
    "data.crop": 64,
    "model.head_channels": 16,
    "contrast.start": 2,
    "optimizer.warmup": 1,
    "training.iterations": 10,
    "training.batch_size": 2,
    "training.eval_interval": 2,
    "training.log_interval": 2,
}
NUM_REPORTS = TINY["training.iterations"] // TINY["training.eval_interval"]


def mark(event: str, trial: str, at: float | None = None) -> None:
    """Append a time stamp; lines this short are written whole by every process."""
    with open(os.environ[MARKS], "a") as file:
        file.write(json.dumps([event, trial, time.time() if at is None else at]) + "\n")


def timed(loop: Any, spec: dict[str, Any]) -> None:
    """Run a train function with time stamps of its first step and of its reports, of rank 0."""
    label = Path(spec["directory"]).name
    if ray.train.get_context().get_world_rank() == 0:
        mark("loop", label)
        report = ray.train.report

        def timed_report(*args: Any, **kwargs: Any) -> None:
            began = time.time()
            report(*args, **kwargs)
            mark("report begins", label, began)
            mark("report ends", label)

        ray.train.report = timed_report
        from pgpc.bases.self_training import SelfTraining

        step, steps = SelfTraining.step, []

        def timed_step(*args: Any) -> Any:
            if not steps:
                mark("first step", label)
                steps.append(0)
            return step(*args)

        SelfTraining.step = timed_step
    loop(spec)


def guide_loop(spec: dict[str, Any]) -> None:
    """Train as the guide's train function does."""
    import pgpc
    from pgpc.config import from_dict
    from pgpc.training import Callbacks

    def on_report(metrics: dict[str, float], checkpoint_dir: Path | None) -> None:
        checkpoint = ray.train.Checkpoint.from_directory(str(checkpoint_dir)) if checkpoint_dir else None
        ray.train.report(metrics, checkpoint=checkpoint)

    pgpc.train(from_dict(json.loads(spec["config"])), out=spec["directory"], callbacks=Callbacks(on_report=on_report))


def guide_driver(spec: dict[str, Any]) -> None:
    """Run a trial as the guide's trainable does."""
    import ray.train.torch

    mark("trial function", Path(spec["directory"]).name)
    trainer = ray.train.torch.TorchTrainer(
        functools.partial(timed, guide_loop),
        train_loop_config=spec,
        scaling_config=ray.train.ScalingConfig(num_workers=spec["workers"]["count"]),
        run_config=ray.train.RunConfig(
            name=f"train-trial_id={tune.get_context().get_trial_id()}",
            storage_path=spec["storage"],
            callbacks=[TuneReportCallback()],
        ),
    )
    trainer.fit()


class StopOne(FIFOScheduler):
    """Stops one trial, as a scheduler does, in the guide's way."""

    reports = 0

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Do nothing; called when the trial is known, and it may start at once."""

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Return whether the trial goes on; called with each report."""
        label = Path(trial.config["directory"]).name
        mark("known", label)
        if label == STOPPED:
            self.reports += 1
            if self.reports == STOPPED_AT:
                mark("stopped", STOPPED)
                return self.STOP
        return self.CONTINUE


class Trials(Searcher):
    """Hands out the trials one by one, with time stamps, in both ways."""

    def __init__(self, specs: list[dict[str, Any]]) -> None:
        super().__init__()
        self._left, self._labels, self._reports = list(specs), {}, 0

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the next trial; called by Tune."""
        if not self._left:
            return Searcher.FINISHED
        spec = self._left.pop(0)
        self._labels[trial_id] = spec["label"]
        mark("suggested", spec["label"])
        return spec

    def report(self, trial_id: str, metrics: dict[str, float]) -> bool:
        """Return whether the trial is to be stopped; called by the scheduler of the sweep."""
        mark("known", self._labels[trial_id])
        if self._labels[trial_id] != STOPPED:
            return False
        self._reports += 1
        if self._reports == STOPPED_AT:
            mark("stopped", STOPPED)
        return self._reports == STOPPED_AT

    def note_error(self, trial_id: str, message: str, *, final: bool) -> None:
        """Fail; called by the scheduler of the sweep."""
        raise RuntimeError(message)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Note the end of a trial; called by Tune."""
        mark("complete", self._labels[trial_id])

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: nothing is resumed."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: nothing is resumed."""


def run_sweep_trial(spec: dict[str, Any]) -> None:
    """Run a trial as the sweep's trainable does, with time stamps."""
    mark("trial function", spec["label"])
    from sweeps.execution import trial

    trial.train_loop = functools.partial(timed, trial.train_loop)
    trial.run_trial(spec)


def child(way: str, folder: Path, num_workers: int) -> None:
    """Run the trials in one of the two ways."""
    import pgpc
    from pgpc.config import parse_settings
    from sweeps.execution import resources, tune_run
    from sweeps.progress.quiet import silence
    from sweeps.search.trial_spec import TrialSpec, Workers

    config = pgpc.override(pgpc.preset("streets"), parse_settings([f"{key}={value}" for key, value in TINY.items()]))
    specs = [
        {
            **TrialSpec(
                label=str(i),
                config=config,
                directory=folder / "trials" / str(i),
                workers=Workers(count=num_workers, cpus=1, gpus=0),
            ).to_plain(),
            "storage": str(folder / "storage"),
        }
        for i in range(NUM_TRIALS)
    ]
    if way == "sweep":
        silence()
        resources.connect(None)
        tune_run.run_trial = run_sweep_trial
        tune_run.execute(Trials(specs), tune_run.Interruption(None), 1, folder)
    else:
        # Or no stopped trial is ever cleaned up where the machine has another Ray cluster.
        os.environ["RAY_ADDRESS"] = resources.reserve_address()
        # The guide's trial takes a CPU beside its workers.
        ray.init(address="local", num_cpus=num_workers + 1, log_to_driver=False, logging_level="CRITICAL")
        tune.Tuner(
            guide_driver,
            tune_config=tune.TuneConfig(
                search_alg=Trials(specs), scheduler=StopOne(), num_samples=NUM_TRIALS, max_concurrent_trials=1
            ),
            run_config=tune.RunConfig(name="guide", storage_path=str(folder / "tune"), verbose=0),
        ).fit()
    ray.shutdown()


def measure(way: str, num_workers: int) -> dict[str, float]:
    """Return the seconds of each part of one cluster's trials."""
    with tempfile.TemporaryDirectory(prefix="pgpc-overhead-") as folder:
        marks = Path(folder) / "marks"
        call = "import sys; from pathlib import Path; from tests.benchmarks.trial_overhead import child; "
        call += "child(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))"
        subprocess.run(
            [sys.executable, "-c", call, way, folder, str(num_workers)],
            env={
                **os.environ,
                MARKS: str(marks),
                "PYTHONPATH": str(ROOT),
                "OMP_NUM_THREADS": "1",
                "RAY_worker_niceness": "0",
            },  # else whatever else runs on the machine goes before the workers
            check=True,
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            timeout=TIMEOUT,
        )
        events = [json.loads(line) for line in marks.read_text().splitlines()]
    at: dict[tuple[str, str], list[float]] = {}
    for event, trial, when in events:
        at.setdefault((event, trial), []).append(when)
    reports = list(zip(at["report begins", WHOLE], at["report ends", WHOLE], at["known", WHOLE]))
    assert len(reports) == NUM_REPORTS, reports

    def between(one: str, other: str) -> float:
        # Of the first trial: the second one starts while the first one's processes end.
        return at[other, STOPPED][0] - at[one, STOPPED][0]

    return {
        "  until the trial's function": between("suggested", "trial function"),
        "  until the train function": between("trial function", "loop"),
        "  until the first step": between("loop", "first step"),
        "start of a trial to its first step": between("suggested", "first step"),
        "  until the scheduler knows": statistics.mean(known - begins for begins, _, known in reports),
        "a report, the training waits": statistics.mean(ends - begins for begins, ends, _ in reports),
        "last report to the trial's end": at["complete", WHOLE][0] - at["report ends", WHOLE][-1],
        "stop of a trial to the next one's first step": at["first step", WHOLE][0] - at["stopped", STOPPED][0],
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    found: dict[str, list[dict[str, float]]] = {"sweep": [], "guide": []}
    for _ in range(arguments.rounds):
        for way, runs in found.items():
            runs.append(measure(way, arguments.workers))
            print(way, {part.strip(): round(seconds, 2) for part, seconds in runs[-1].items()}, flush=True)
    print(f"{arguments.workers} workers, medians of {arguments.rounds} rounds: {'sweep':>7} {'guide':>9} {'ratio':>6}")
    median = {
        way: {part: statistics.median(run[part] for run in runs) for part in runs[0]} for way, runs in found.items()
    }
    for values in median.values():
        start, _, report, end, stop = list(values.values())[-5:]
        values[f"a whole trial: start, {NUM_REPORTS} reports, end"] = start + NUM_REPORTS * report + end
        values["... and a stop"] = start + NUM_REPORTS * report + end + stop
    for part, ours in median["sweep"].items():
        guide = median["guide"][part]
        print(f"{part:<46} {ours:7.2f} s {guide:7.2f} s {ours / guide:6.2f}")


if __name__ == "__main__":
    main()
