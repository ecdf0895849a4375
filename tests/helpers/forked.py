"""Trainings of a sweep in processes that a fork server makes, without Ray."""

from __future__ import annotations

import socket

from sweeps.execution.slots.training import Report, WhoIsGoing
from sweeps.execution.slots.training_process import Servers, TrainingProcess
from sweeps.search.trial_spec import TrialSpec


def begin(servers: Servers, spec: TrialSpec) -> TrainingProcess:
    """Have a training of one rank begin."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    alone = {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", "NODE_RANK": "0"}
    return TrainingProcess(servers, spec.to_plain(), 0, {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), **alone})


def trained(servers: Servers, spec: TrialSpec) -> list[dict[str, float]]:
    """What a training reports until its end."""
    process, reports = begin(servers, spec), []
    while (said := process.receive()) is not None:
        if isinstance(said, Report):
            reports.append(said.metrics)
        process.answer(set() if isinstance(said, WhoIsGoing) else None)
    return reports
