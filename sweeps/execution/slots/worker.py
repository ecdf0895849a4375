"""The function of a slot's workers, as Ray Train runs it: it has runs trained, one after the other, as it is told.

Orders come as calls from the slot, see `take`; what a training reports goes back by `ray.train.report`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import ray
import ray.train

from sweeps.execution.joining.shared_folder import check_run
from sweeps.execution.slots.training import WATCHED, Report, WhoIsGoing
from sweeps.execution.slots.training_process import Servers, TrainingProcess
from sweeps.search.trial_spec import REPORT

ENDED = "ended"
"""Key of what is reported when a training has come to its end."""


@dataclass(frozen=True, kw_only=True)
class Train:
    """The order to train a run, whatever is being trained.

    Attributes:
        plain: The plain data of a `TrialSpec`.
        address: Where the ranks of the training meet: a host.
        port: A port of it.
    """

    plain: Mapping[str, Any]
    address: str
    port: int


class GoOn:
    """The order to go on after a report."""


class End:
    """The order to end, whatever is being trained."""


_inbox, _outbox = Pipe(duplex=False)  # the orders that this process has been given, in the order of time


def take(order: Train | GoOn | End) -> None:
    """Give an order to the worker in this process; called through Ray, by another thread than that of `serve`."""
    _outbox.send(order)


def free_address() -> tuple[str, int]:
    """Return where this worker can be reached by the others."""
    address = ray.util.get_node_ip_address()
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as free:
        free.bind(("", 0))
        return address, free.getsockname()[1]


def serve() -> None:
    """Do what is ordered, until the end; this is what each Train worker runs.

    Raises:
        LostTraining: A training process was lost; Train then replaces the workers.
        Exception: What a training has met.
    """
    servers, training = Servers(), None
    while True:
        ready = wait([_inbox] if training is None else [_inbox, training.connection])
        if _inbox in ready:
            order = _inbox.recv()
            if isinstance(order, GoOn):
                if training is not None and training.is_waiting:
                    training.answer(None)
                continue
            if training is not None:
                training.kill()
                training = None
            if isinstance(order, End):
                servers.close()
                return
            training = _begin(servers, order)
        elif training is not None and not _listen(training):
            training = None
            ray.train.report({ENDED: True})


def _begin(servers: Servers, order: Train) -> TrainingProcess:
    """Have a training process begin with a run, as the rank that this worker has."""
    check_run(Path(order.plain["directory"]))
    context = ray.train.get_context()
    variables = {
        "MASTER_ADDR": order.address,
        "MASTER_PORT": str(order.port),
        "RANK": str(context.get_world_rank()),
        "WORLD_SIZE": str(context.get_world_size()),
        "LOCAL_RANK": str(context.get_local_rank()),
        "LOCAL_WORLD_SIZE": str(context.get_local_world_size()),
        "NODE_RANK": str(context.get_node_rank()),
    }
    if os.environ.get("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER") != "0":
        variables[WATCHED] = "1"
    return TrainingProcess(servers, order.plain, context.get_world_rank(), variables)


def _listen(training: TrainingProcess) -> bool:
    """Do what a training asks for; return whether it goes on.

    What Train knows of machines that are about to go, it tells all workers together: each asks when its training does,
    and all ranks of a training ask alike.
    """
    said = training.receive()
    if isinstance(said, WhoIsGoing):
        info = ray.train.get_preemption_info()
        training.answer(set(info.preempted_node_ids if info else ()))
    elif isinstance(said, Report):
        ray.train.report({REPORT: said.metrics})
    return said is not None
