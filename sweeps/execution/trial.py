"""One trial: a Tune function that runs `pgpc.train` as a Ray Train job of its own.

Tune's actor asks for next to no resources; the Train controller that it starts asks for the workers. torch is imported
in the workers only: the actor and the controller would pay seconds for it at every trial, see `sweeps.execution.trainer`.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray.train
from ray import tune
from ray._common.constants import HEAD_NODE_RESOURCE_NAME

from sweeps.common import faults
from sweeps.execution.recovery import SNAPSHOT
from sweeps.execution.report_channel import Reports
from sweeps.execution.trainer import Trainer

REPORT = "report"  # what the training reports travels below this key, apart from what Tune adds
FAILED = "failed"  # a trial that cannot succeed says so under this key instead of raising, or Tune would run it again
# What Tune's own process of a trial occupies: Tune wants something, and any share of a CPU, however small, would leave
# no room for 2 workers on a machine of 2 cores. The head has this resource and no other node; the Train controller and
# what else a trial starts beside its workers follow Tune's process, so that of the nodes that come and go a trial has
# but its workers.
TRIAL_RESOURCES = {"cpu": 0, HEAD_NODE_RESOURCE_NAME: 0.0001}
FORKED = "forked.json"  # what a trial that goes on from a warm-up was spared, in its directory
RESTARTS = 2  # a lost worker, or a lost trial process, is replaced this often; see sweeps.execution.recovery
# Machines that a trial may lose one after the other without getting to its next checkpoint. Spot machines go by the
# dozen; yet a training that brings down whatever it runs on must end.
LOST_MACHINES = 20

WORKER_ENV = {
    # Reports are handed over at this interval, by default 2 s each.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    # How often it is asked whether a machine is about to be taken away, by default every 5 s; some clouds give it 30.
    "RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "1",
    # Train gives its controller this variable; with the same on the whole job the controller can be an idle process.
    "RAY_WARN_BLOCKING_GET_INSIDE_ASYNC": "0",
}


@dataclass(frozen=True, kw_only=True)
class Workers:
    """The processes of one trial and what each of them occupies."""

    count: int
    cpus: float
    gpus: float

    def __str__(self) -> str:
        return f"{self.count} workers x {self.cpus:g} CPU" + (f" and {self.gpus:g} GPU" if self.gpus else "")


class FailFast(ray.train.UserCallback):
    """Ends a Train run at an error that would only repeat itself; lost processes are left to Train's own retries."""

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        from pgpc.training import NonFiniteLoss

        for _, error in sorted(worker_exceptions.items()):
            cause = _cause(error)
            # A worker that was killed for its memory is no cause of its own, and is started again.
            hopeless = not isinstance(cause, ray.exceptions.RayError) and (
                isinstance(cause, (NonFiniteLoss, ValueError))
                or faults.out_of_memory(_text(cause))
                or faults.cannot_write(_text(cause))
            )
            if hopeless:
                # Raising here makes it an error of the controller, which Train does not retry.
                raise error


def run_trial(spec: dict[str, Any]) -> None:
    """Tune's trainable: trains `spec["config"]` (JSON) in the directory `spec["directory"]` on `spec["workers"]`.

    Where there is a folder `spec["parent"]`, the training goes on from the checkpoint in it, which is of another trial;
    else where there is a folder `spec["warm_up"]`, from that warm-up; where there is `spec["until"]`,
    it is itself one of so many iterations. `spec["compared"]` are the config keys that the sweep is about.
    A training that fails leaves all that is known of its error in error.txt.
    """
    workers = Workers(**spec["workers"])
    directory = Path(spec["directory"])
    _drop_torn_snapshot(directory)
    resources = {"CPU": workers.cpus} | ({"GPU": workers.gpus} if workers.gpus else {})
    reports = Reports()
    trainer = Trainer(
        train_loop,
        train_loop_config={
            key: spec.get(key) for key in ("config", "directory", "parent", "warm_up", "until", "compared")
        },
        scaling_config=ray.train.ScalingConfig(
            num_workers=workers.count, use_gpu=workers.gpus > 0, resources_per_worker=resources
        ),
        run_config=ray.train.RunConfig(
            # Named after the trial, so that a trial that starts again finds its own checkpoints.
            name=directory.name,
            storage_path=str(directory.parent),
            checkpoint_config=ray.train.CheckpointConfig(num_to_keep=1),
            failure_config=ray.train.FailureConfig(max_failures=RESTARTS, max_preemption_failures=LOST_MACHINES),
            callbacks=[reports, FailFast()],
        ),
    )
    try:
        reports.fit(trainer)
    except ray.train.TrainingFailedError as error:
        with contextlib.suppress(OSError):
            (directory / "error.txt").write_text(f"{error}\n")
        tune.report({FAILED: describe(error)})


def train_loop(spec: dict[str, Any]) -> None:
    """What each Train worker runs."""
    import pgpc
    from pgpc.config import from_dict

    def on_report(metrics: dict[str, float], checkpoint_dir: Path | None) -> None:
        checkpoint = ray.train.Checkpoint.from_directory(str(checkpoint_dir)) if checkpoint_dir else None
        ray.train.report({REPORT: metrics}, checkpoint=checkpoint)

    config, directory = from_dict(json.loads(spec["config"])), Path(spec["directory"])
    checkpoint = ray.train.get_checkpoint()
    if spec["warm_up"] and not spec["parent"] and not checkpoint and ray.train.get_context().get_world_rank() == 0:
        note_fork(directory, Path(spec["warm_up"]))
    with checkpoint.as_directory() if checkpoint else contextlib.nullcontext() as resume:
        pgpc.train(
            config,
            out=directory,
            resume=Path(resume) if resume else None,
            parent=spec["parent"],
            warm_up=spec["warm_up"],
            until=spec["until"],
            compared=spec["compared"],
            on_report=on_report,
            save_now=None if os.environ.get("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER") == "0" else farewell(),
        )


def farewell() -> Callable[[], bool]:
    """What says once of each machine that runs this trial that it is about to be taken away.

    To be called by all workers of the trial alike: it tells them all what the first one knows.
    """
    known: set[str] = set()

    def announced() -> bool:
        info = ray.train.get_preemption_info()
        new = set(info.preempted_node_ids if info else ()) - known
        known.update(new)
        return bool(new)

    return announced


def note_fork(directory: Path, warm_up: Path) -> None:
    """Writes into a trial's directory which warm-up it goes on from, and what that spares it."""
    from pgpc.training.trunk import read_record

    record = read_record(warm_up)
    note = {"warm_up": warm_up.name, "iterations": record.iterations, "seconds": record.seconds}
    directory.mkdir(parents=True, exist_ok=True)
    (directory / FORKED).write_text(json.dumps(note) + "\n")


def forked(directory: Path) -> dict[str, Any]:
    """What a trial was spared by its warm-up, as columns of its row: `warm_up` names it, `warm_up_iterations` and
    `warm_up_seconds` are those that were trained in it, and that the trial's own iterations and seconds include."""
    try:
        note = json.loads((directory / FORKED).read_text())
    except (OSError, ValueError):
        note = {"warm_up": "", "iterations": 0, "seconds": 0.0}
    return {"warm_up": note["warm_up"], "warm_up_iterations": note["iterations"], "warm_up_seconds": note["seconds"]}


def describe(error: BaseException) -> str:
    """One line that names the first cause of `error`: what a worker raised, where one did."""
    if isinstance(error, ray.train.WorkerGroupError):
        causes = [_cause(e) for _, e in sorted(error.worker_failures.items())]
        # When one process is lost, the others fail in the middle of a collective: name the one that was lost.
        lost = [c for c in causes if isinstance(c, ray.exceptions.RayError)]
        return describe((lost or causes)[0]) if causes else str(error)
    if isinstance(error, ray.train.ControllerError):
        return describe(_cause(error.controller_failure))
    if isinstance(error, ray.exceptions.RayTaskError) and error.cause is not None:
        return describe(error.cause)
    text = _text(error)
    if isinstance(error, ray.exceptions.RayError):
        first = text.partition("\n")[0]
        return f"a process was lost ({first}). If its machine was out of memory, {faults.LESS_MEMORY}"
    return f"{text}. To need less, {faults.LESS_MEMORY}" if faults.out_of_memory(text) else text


def _text(error: BaseException) -> str:
    text = str(error).strip()
    if type(error) is RuntimeError and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _cause(error: BaseException) -> BaseException:
    """The exception that user code raised, out of what Train wraps around it for its journey."""
    return getattr(error, "_base_exc", error)


def _drop_torn_snapshot(directory: Path) -> None:
    """Removes Train's list of checkpoints where a kill has cut it short; Train would refuse the trial for ever.

    Train overwrites the list in place, so there is a moment in which it is not JSON. The trial then starts afresh.
    """
    snapshot = directory / SNAPSHOT
    try:
        json.loads(snapshot.read_text())
    except FileNotFoundError:
        pass
    except ValueError:
        snapshot.unlink()
