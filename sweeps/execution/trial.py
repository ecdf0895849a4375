"""One run: a Tune function that runs `pgpc.train` as a Ray Train job of its own.

Tune's process asks for next to no resources; the Train controller that it starts asks for the workers. torch is
imported in the workers only: the other two would pay seconds for it at every run, see `sweeps.execution.trainer`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray.train
from ray import tune

from sweeps.common import faults
from sweeps.common.latest import write_latest
from sweeps.common.private_ray import (
    CheckpointConfig,
    ControllerError,
    FailureConfig,
    RunConfig,
    TrainingFailedError,
    WorkerGroupError,
    user_error,
)
from sweeps.execution.joining.shared_folder import check_run, mark_run
from sweeps.execution.recovery import MAX_FAILURES, MAX_LOST_MACHINES, drop_unlisted_checkpoints, mend_snapshot
from sweeps.execution.report_channel import ReportChannel
from sweeps.execution.trainer import Trainer
from sweeps.execution.watch.worker_log import is_heard_of, stacks_when_still, write_log
from sweeps.results.forks import TrunkFork, write_fork
from sweeps.search.trial_spec import FAILURE, REPORT, TrialSpec

if TYPE_CHECKING:
    from pgpc.training import Begin


PATIENCE = 180.0
"""Seconds that a run which is started again waits for what is left of it elsewhere. Workers of a driver that was killed
end within a minute; the locks of a machine that was lost outlive it by a minute and a half on NFS."""


class FailFast(ray.train.UserCallback):
    """Ends a Train run at an error that would only repeat itself; lost processes are left to Train's own retries."""

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Raise an error of a worker that would come again, which ends the run; called by Train."""
        from pgpc.training import NonFiniteLoss

        for _, error in sorted(worker_exceptions.items()):
            cause = user_error(error)
            # A worker that was killed for its memory is no cause of its own, and is started again.
            hopeless = not isinstance(cause, ray.exceptions.RayError) and (
                isinstance(cause, (NonFiniteLoss, ValueError))
                or faults.out_of_memory(_text(cause))
                or faults.cannot_write(_text(cause))
            )
            if hopeless:
                # Raising here makes it an error of the controller, which Train does not retry.
                raise error


def run_trial(plain: dict[str, Any]) -> None:
    """Train what a spec says, and report to Tune; this is Tune's trainable.

    A training that fails leaves all that is known of its error in error.txt in the run's directory.

    Args:
        plain: The plain data of a `TrialSpec`.
    """
    spec = TrialSpec.from_plain(plain)
    workers, directory = spec.workers, spec.directory
    mark_run(directory)
    mend_snapshot(directory)
    drop_unlisted_checkpoints(directory)
    resources = {"CPU": workers.cpus} | ({"GPU": workers.gpus} if workers.gpus else {})
    channel = ReportChannel()
    trainer = Trainer(
        train_loop,
        train_loop_config=plain,
        scaling_config=ray.train.ScalingConfig(
            num_workers=workers.count, use_gpu=workers.gpus > 0, resources_per_worker=resources
        ),
        run_config=RunConfig(
            # Named after the run, so that one that starts again finds its own checkpoints.
            name=directory.name,
            storage_path=str(directory.parent),
            checkpoint_config=CheckpointConfig(num_to_keep=1),
            failure_config=FailureConfig(max_failures=MAX_FAILURES, max_preemption_failures=MAX_LOST_MACHINES),
            callbacks=[channel, FailFast()],
        ),
    )
    try:
        channel.fit(trainer)
    except TrainingFailedError as error:
        with contextlib.suppress(OSError):
            (directory / "error.txt").write_text(f"{error}\n")
        tune.report({FAILURE: describe(error)})


def train_loop(plain: dict[str, Any]) -> None:
    """Train what a spec says, and report to Train; this is what each Train worker runs.

    Args:
        plain: The plain data of a `TrialSpec`.
    """
    import torch

    import pgpc
    from pgpc.runtime.cpus import use_at_most
    from pgpc.training import Callbacks

    def on_report(metrics: dict[str, float], checkpoint_dir: Path | None) -> None:
        is_heard_of()
        checkpoint = ray.train.Checkpoint.from_directory(str(checkpoint_dir)) if checkpoint_dir else None
        ray.train.report({REPORT: metrics}, checkpoint=checkpoint)

    spec = TrialSpec.from_plain(plain)
    check_run(spec.directory)
    write_log(spec.directory, ray.train.get_context().get_world_rank())
    check_data(spec)
    use_at_most(spec.workers.threads)  # and so all trials have equally many processes that load images
    torch.set_num_threads(spec.workers.threads)  # not what the environment of the worker's machine says
    watched = os.environ.get("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER") != "0"
    checkpoint = ray.train.get_checkpoint()
    folder = checkpoint.as_directory() if checkpoint else contextlib.nullcontext()
    with _located_faults(spec.directory), stacks_when_still(), folder as resume:
        pgpc.train(
            spec.config,
            out=spec.directory,
            begin=_begin(spec, Path(resume) if resume else None),
            callbacks=Callbacks(
                on_report=on_report,
                on_point=lambda point: write_latest(spec.directory, point),
                should_checkpoint=preemption_watcher() if watched else None,
                compared=spec.compared,
            ),
            until=spec.until,
            patience=PATIENCE,
        )


def check_data(spec: TrialSpec) -> None:
    """Refuse data that have changed since the sweep's driver has looked at them.

    Args:
        spec: What the training is told.

    Raises:
        ValueError: They have, so that the run could not be compared with those before it.
    """
    from pgpc.data.contents import changed, contents
    from pgpc.training.provenance import places_of

    now = contents({str(place): place for place in places_of(spec.config).values()}, needed=False)
    strange = changed(spec.data, now)
    if strange:
        raise ValueError(
            f"The trials of a sweep must be trained on the same data, but the contents of {', '.join(strange)} have "
            "changed since the sweep was started. Put the data back, or stop the sweep and resume it with "
            "--accept-changed-data."
        )


@contextlib.contextmanager
def _located_faults(directory: Path) -> Iterator[None]:
    """Let an error of the disk say which disk of which machine it is: it need not be that of the results."""
    try:
        yield
    except Exception as error:
        text = faults.chain(error)
        if not faults.cannot_write(text):
            raise
        line = next(line for line in text.splitlines() if faults.cannot_write(line))
        raise RuntimeError(faults.located(line, directory)) from error


def _begin(spec: TrialSpec, resume: Path | None) -> Begin:
    """Return where the training begins: at the run's own checkpoint, at that of another run, or at the start.

    A run that begins at a trunk notes in its directory what it is spared.

    Args:
        spec: What the training is told.
        resume: Folder with the run's own last checkpoint; None before the first.
    """
    from pgpc.training import ForkParent, ForkTrunk, Fresh, Resume
    from pgpc.training.trunk import read_record

    if resume is not None:
        return Resume(resume, spec.accept_changed_data)
    if spec.parent is not None:
        return ForkParent(spec.parent, spec.accept_changed_data)
    if spec.trunk is None:
        return Fresh()
    if ray.train.get_context().get_world_rank() == 0:
        record = read_record(spec.trunk)
        fork = TrunkFork(trunk=spec.trunk.name, iterations=record.iterations, seconds=record.seconds)
        write_fork(spec.directory, fork)
    return ForkTrunk(spec.trunk)


def preemption_watcher() -> Callable[[], bool]:
    """Return what says once of each machine that runs this trial that it is about to be taken away.

    It is to be called by all workers of the trial alike, and tells them all what the first one knows.
    """
    known: set[str] = set()

    def should_checkpoint() -> bool:
        info = ray.train.get_preemption_info()
        new = set(info.preempted_node_ids if info else ()) - known
        known.update(new)
        return bool(new)

    return should_checkpoint


def describe(error: BaseException) -> str:
    """Return one line that names the first cause of `error`: what a worker raised, where one did."""
    if isinstance(error, WorkerGroupError):
        causes = [user_error(e) for _, e in sorted(error.worker_failures.items())]
        # When one process is lost, the others fail in the middle of a collective: name the one that was lost.
        lost = [c for c in causes if isinstance(c, ray.exceptions.RayError)]
        return describe((lost or causes)[0]) if causes else str(error)
    if isinstance(error, ControllerError):
        return describe(user_error(error.controller_failure))
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
