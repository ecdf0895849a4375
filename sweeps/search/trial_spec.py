"""What the processes of a run are told by the sweep, and under which names they answer.

What crosses to them is plain data, because Tune and Train copy it, write it down and hash it. This module imports
neither Ray nor Optuna nor torch, so that it costs the processes nothing that read it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pgpc.config import Config, from_dict, to_dict
from sweeps.common.words import count

REPORT = "report"
"""What a training reports travels below this key, apart from what Tune adds."""
FAILURE = "failed"
"""A run that cannot succeed says why under this key instead of raising, or Tune would start it again."""


@dataclass(frozen=True, kw_only=True)
class Workers:
    """The processes of one run and what each of them occupies.

    Attributes:
        count: The number of processes.
        cpus: CPUs of each.
        gpus: GPUs of each; a share where several runs share one.
        threads: Threads that each computes with, the same in all runs of a sweep.
    """

    count: int
    cpus: float
    gpus: float
    threads: int = 1

    def __str__(self) -> str:
        return f"{count(self.count, 'worker')} x {self.cpus:g} CPU" + (f" and {self.gpus:g} GPU" if self.gpus else "")


@dataclass(frozen=True, kw_only=True)
class TrialSpec:
    """All that the training of a run has to be told.

    Attributes:
        label: The run's name on the screen and of its directory.
        config: What is trained, the seed included.
        directory: The run's own folder.
        workers: Its processes.
        trunk: Folder of the trunk that it is forked from; None for a run that trains from the start.
        parent: Folder with the checkpoint of another run that it is forked from, in population based training; goes
            before `trunk`.
        until: The iteration at which a trunk ends that this run trains; None for any other run.
        compared: Dotted keys of the config that the sweep compares; None for a run that is compared with no other.
        data: Place of data -> digest of its contents as the sweep's driver has found it, which the run must find, too.
        accept_changed_data: Whether the run is resumed although its data have changed since it was begun.
    """

    label: str
    config: Config
    directory: Path
    workers: Workers
    trunk: Path | None = None
    parent: Path | None = None
    until: int | None = None
    compared: tuple[str, ...] | None = None
    data: Mapping[str, str] = field(default_factory=dict)
    accept_changed_data: bool = False

    def to_plain(self) -> dict[str, Any]:
        """Return the same as plain data: texts, numbers, lists and dictionaries."""
        return {
            "label": self.label,
            "config": json.dumps(to_dict(self.config)),
            "directory": str(self.directory),
            "workers": asdict(self.workers),
            "trunk": str(self.trunk) if self.trunk else None,
            "parent": str(self.parent) if self.parent else None,
            "until": self.until,
            "compared": None if self.compared is None else list(self.compared),
            "data": dict(self.data),
            "accept_changed_data": self.accept_changed_data,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> TrialSpec:
        """Return the spec that `to_plain` has made this of."""
        return cls(
            label=plain["label"],
            config=from_dict(json.loads(plain["config"])),
            directory=Path(plain["directory"]),
            workers=Workers(**plain["workers"]),
            trunk=Path(plain["trunk"]) if plain["trunk"] else None,
            parent=Path(plain["parent"]) if plain["parent"] else None,
            until=plain["until"],
            compared=None if plain["compared"] is None else tuple(plain["compared"]),
            data=plain["data"],
            accept_changed_data=plain["accept_changed_data"],
        )
