"""What a training process does: it trains one run, as one of its ranks, and asks its worker for what only Ray can do.

Nothing here imports Ray, which would cost every training a second.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import traceback
from collections.abc import Iterator, Mapping
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sweeps.common import faults
from sweeps.common.latest import write_latest
from sweeps.execution.checkpoints import keep_checkpoint, newest_checkpoint
from sweeps.execution.watch.worker_log import is_heard_of, stacks_when_still, write_log
from sweeps.results.forks import TrunkFork, write_fork
from sweeps.search.trial_spec import TrialSpec

if TYPE_CHECKING:
    from pgpc.training import Begin

TIMEOUT = timedelta(minutes=30)
"""How long the others may wait for one process in a collective; the same as that of Ray Train's TorchTrainer."""
PATIENCE = 180.0
"""Seconds that a run which is started again waits for what is left of it elsewhere. Workers of a driver that was killed
end within a minute; the locks of a machine that was lost outlive it by a minute and a half on NFS."""
WATCHED = "PGPC_PREEMPTION_WATCHED"
"""Environment variable: whether machines may be taken away, so that it is worth asking."""


class Report(NamedTuple):
    """A training has reported, with these metrics; it waits for an answer before it goes on."""

    metrics: dict[str, float]


class WhoIsGoing(NamedTuple):
    """A training asks which of its machines are about to be taken away; the answer is a set of the ids of nodes."""


class Failed(NamedTuple):
    """A training has met an error: the exception, pickled, and where it was raised."""

    error: bytes
    traceback: str


class Worker:
    """The worker of this process, which does what it is asked.

    Args:
        connection: The way to it.
        directory: The run's directory.
    """

    def __init__(self, connection: Connection, directory: Path) -> None:
        self._connection, self._directory = connection, directory
        self._known: set[str] = set()

    def report(self, metrics: dict[str, float], checkpoint_dir: Path | None) -> None:
        """Keep the checkpoint, pass on the metrics, and return when the run is to go on."""
        is_heard_of()
        if checkpoint_dir is not None:
            keep_checkpoint(self._directory, checkpoint_dir, metrics)
        self._ask(Report(metrics))

    def should_checkpoint(self) -> bool:
        """Return, once for each machine of the run, that it is about to be taken away.

        All processes of a run call it alike, and each gets what the first one knows.
        """
        new = self._ask(WhoIsGoing()) - self._known
        self._known.update(new)
        return bool(new)

    def _ask(self, question: Report | WhoIsGoing) -> Any:
        self._connection.send(question)
        try:
            return self._connection.recv()
        except (EOFError, OSError):  # it is gone, and so is the run
            os._exit(1)


def run(plain: Mapping[str, Any], rank: int, number: int) -> int:
    """Train what a spec says, and return the exit code of this process.

    Args:
        plain: The plain data of a `TrialSpec`.
        rank: The rank of the process.
        number: File descriptor of the connection to its worker.
    """
    connection = Connection(number)
    try:
        _train(TrialSpec.from_plain(plain), rank, connection)
    except BaseException as error:
        connection.send(Failed(_pickled(error), traceback.format_exc()))
        return 1
    return 0


def _train(spec: TrialSpec, rank: int, connection: Connection) -> None:
    write_log(spec.directory, rank)
    check_data(spec)

    import torch
    import torch.distributed as dist

    import pgpc
    from pgpc.runtime.cpus import use_at_most
    from pgpc.training import Callbacks

    use_at_most(spec.workers.threads)  # and so all trials have equally many processes that load images
    torch.set_num_threads(spec.workers.threads)  # not what the environment of the worker's machine says
    dist.init_process_group("nccl" if spec.workers.gpus else "gloo", timeout=TIMEOUT)
    worker = Worker(connection, spec.directory)
    resume = newest_checkpoint(spec.directory)
    with _located_faults(spec.directory), stacks_when_still():
        pgpc.train(
            spec.config,
            out=spec.directory,
            begin=_begin(spec, rank, spec.directory / resume if resume else None),
            callbacks=Callbacks(
                on_report=worker.report,
                on_point=lambda point: write_latest(spec.directory, point),
                should_checkpoint=worker.should_checkpoint if WATCHED in os.environ else None,
                compared=spec.compared,
            ),
            until=spec.until,
            patience=PATIENCE,
        )
    dist.destroy_process_group()


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


def _begin(spec: TrialSpec, rank: int, resume: Path | None) -> Begin:
    """Return where the training begins: at the run's own checkpoint, at that of another run, or at the start.

    A run that begins at a trunk notes in its directory what it is spared.

    Args:
        spec: What the training is told.
        rank: The rank of the process.
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
    if rank == 0:
        record = read_record(spec.trunk)
        fork = TrunkFork(trunk=spec.trunk.name, iterations=record.iterations, seconds=record.seconds)
        write_fork(spec.directory, fork)
    return ForkTrunk(spec.trunk)


def _pickled(error: BaseException) -> bytes:
    """Return an exception for its journey to another process; one that cannot travel as its text."""
    for found in (error, RuntimeError(f"{type(error).__name__}: {error}")):
        with contextlib.suppress(Exception):
            content = pickle.dumps(found)
            pickle.loads(content)
            return content
    return pickle.dumps(RuntimeError(type(error).__name__))
