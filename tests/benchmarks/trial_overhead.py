"""What a trial of the sweep costs beside its training steps, against the pattern of Ray's user guide, in one run.

    python -m tests.benchmarks.trial_overhead [--rounds 3] [--workers 2]

Both ways run the same four trials, one after the other: `pgpc.train` on a tiny config that reports (with a checkpoint)
every two steps; the first trial is stopped by its scheduler at its second report. "guide" is the page "Hyperparameter
Tuning with Ray Tune" of Ray Train's user guides: a function that builds a TorchTrainer with TuneReportCallback, and a
Tuner, both with their defaults. "sweep" is `sweeps.execution.tune_run.execute` on a cluster of
`sweeps.execution.resources.connect`, with the fork server of a driver. Each way has a Ray cluster of its own, in a
process of its own; the ways alternate, and medians over the rounds are printed. The first trial of a sweep starts what
the later ones use; "a trial, over all" counts both.

Predicted before the workers outlived their trials (2026-11-23, 2 trials): 0.6 of the guide's for a trial, and 0.63 came
out. Predicted with workers that stay (2026-11-30): 0.4 for the start of the first trial, 0.1 for that of a later one,
0.1 for a report, 0.1 for the end, 0.2 over all four. Came out (2026-11-30, 2 CPU cores, 3 rounds): 0.37, 0.03, 0.22,
0.02, and 0.10 over all four.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import socket
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

from sweeps.execution.slots import training
from sweeps.execution.slots.fork_server import ADDRESS, ForkServer
from sweeps.execution.slots.slot import Slot

ROOT = Path(__file__).parents[2]
MARKS = "PGPC_TRIAL_OVERHEAD"  # environment variable: the file of all processes' time stamps
TIMEOUT = 900.0  # seconds for the trials of one way
STOPPED, STOPPED_AT = "0", 2  # the first trial is stopped, at its second report
WHOLE = ("1", "2", "3")
LABELS = (STOPPED, *WHOLE)
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


def timed_report(report: Any, label: str) -> Any:
    """Return what reports, with time stamps."""

    def timed(*args: Any, **kwargs: Any) -> None:
        began = time.time()
        report(*args, **kwargs)
        mark("report begins", label, began)
        mark("report ends", label)

    return timed


def mark_first_step(label: str) -> None:
    """Have this process's first training step leave a time stamp."""
    from pgpc.bases.self_training import SelfTraining

    step, steps = SelfTraining.step, []

    def timed_step(*args: Any) -> Any:
        if not steps:
            mark("first step", label)
            steps.append(0)
        return step(*args)

    SelfTraining.step = timed_step


def timed(loop: Any, spec: dict[str, Any]) -> None:
    """Run a train function with time stamps of its first step and of its reports, of rank 0."""
    label = Path(spec["directory"]).name
    if ray.train.get_context().get_world_rank() == 0:
        mark("loop", label)
        ray.train.report = timed_report(ray.train.report, label)
        mark_first_step(label)
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


class TimedSlot(Slot):
    """The sweep's trainable, with time stamps."""

    def _begin(self, plain: dict[str, Any]) -> None:
        mark("trial function", plain["label"])
        super()._begin(plain)


def reserve_address() -> str:
    """Have the cluster that is started next listen at an address that is known before."""
    host = ray.util.get_node_ip_address()
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    os.environ["RAY_GCS_SERVER_PORT"] = str(port)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def timed_run(run: Any, plain: dict[str, Any], rank: int, number: int) -> int:
    """Train a run of the sweep, in a process of its own, with time stamps of rank 0."""
    label = plain["label"]
    if rank == 0:
        mark("loop", label)
        training.Worker.report = timed_report(training.Worker.report, label)
        mark_first_step(label)
    return run(plain, rank, number)


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
                label=i,
                config=config,
                directory=folder / "trials" / i,
                workers=Workers(count=num_workers, cpus=1, gpus=0),
            ).to_plain(),
            "storage": str(folder / "storage"),
        }
        for i in LABELS
    ]
    if way == "sweep":
        silence()
        training.run = functools.partial(timed_run, training.run)
        server = ForkServer(as_fork=True, encoders_of_timm=False)
        resources.connect(None, {ADDRESS: server.address})
        tune_run.Slot = TimedSlot
        tune_run.execute(Trials(specs), tune_run.Interruption(None), 1, folder)
        server.close()
    else:
        # Or no stopped trial is ever cleaned up where the machine has another Ray cluster.
        os.environ["RAY_ADDRESS"] = reserve_address()
        # The guide's trial takes a CPU beside its workers.
        ray.init(address="local", num_cpus=num_workers + 1, log_to_driver=False, logging_level="CRITICAL")
        tune.Tuner(
            guide_driver,
            tune_config=tune.TuneConfig(
                search_alg=Trials(specs), scheduler=StopOne(), num_samples=len(LABELS), max_concurrent_trials=1
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
    reports = [
        times
        for label in WHOLE
        for times in zip(at["report begins", label], at["report ends", label], at["known", label], strict=True)
    ]
    assert len(reports) == NUM_REPORTS * len(WHOLE), reports

    def between(one: str, other: str) -> float:
        return at[other, STOPPED][0] - at[one, STOPPED][0]

    def start_after(one: str, other: str) -> float:
        end = at["stopped", one] if one == STOPPED else at["complete", one]
        return at["first step", other][0] - end[0]

    first = between("suggested", "first step")
    later = [start_after(one, other) for one, other in zip(LABELS, WHOLE)]
    waits = statistics.mean(ends - begins for begins, ends, _ in reports)
    end = statistics.mean(at["complete", label][0] - at["report ends", label][-1] for label in WHOLE)
    return {
        "  until the trial's function": between("suggested", "trial function"),
        "  until the train function": between("trial function", "loop"),
        "  until the first step": between("loop", "first step"),
        "start of the first trial to its first step": first,
        "stop of a trial to the next one's first step": later[0],
        "end of a trial to the next one's first step": statistics.mean(later[1:]),
        "  until the scheduler knows": statistics.mean(known - begins for begins, _, known in reports),
        "a report, the training waits": waits,
        "last report to the trial's end": end,
        f"the first trial: start, {NUM_REPORTS} reports, end": first + NUM_REPORTS * waits + end,
        "a later trial": statistics.mean(later) + NUM_REPORTS * waits + end,
        f"a trial, over all {len(LABELS)}": statistics.mean([first, *later]) + NUM_REPORTS * waits + end,
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
    for part, ours in median["sweep"].items():
        guide = median["guide"][part]
        print(f"{part:<46} {ours:7.2f} s {guide:7.2f} s {ours / guide:6.2f}")


if __name__ == "__main__":
    main()
