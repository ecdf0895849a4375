"""The starts of a run: where, with what and on which data its processes began, and went on after interruptions.

A run that is resumed comes to what it would have come to without an interruption only if all of that is as it was. Each
start is therefore noted in the checkpoint and beside it, and compared with the one before.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pgpc.runtime.environment import Environment
from pgpc.runtime.files import write_file

STARTS_FILE = "starts.json"
"""Name of the file in a run's folder that lists its starts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """The start of a run, or one more after an interruption.

    Attributes:
        step: Optimizer steps done by then.
        processes: Processes that train together.
        environment: What process 0 computes with.
        data: Digests of what the run takes from outside, by its part in the run; see :mod:`pgpc.data.contents`.
        changed: Those parts whose contents are others than at the start before, which the user has accepted.
    """

    step: int
    processes: int
    environment: Environment
    data: Mapping[str, str]
    changed: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Start:
        """Return the start that `to_json` has made this of."""
        return cls(
            step=plain["step"],
            processes=plain["processes"],
            environment=Environment.from_json(plain["environment"]),
            data=dict(plain["data"]),
            changed=tuple(plain["changed"]),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the start as plain data."""
        return {
            "step": self.step,
            "processes": self.processes,
            "environment": self.environment.to_json(),
            "data": dict(self.data),
            "changed": list(self.changed),
        }


def starts_of(saved: Mapping[str, Any]) -> list[Start]:
    """Return the starts that a checkpoint tells of; none where an earlier version wrote it."""
    return [Start.from_json(start) for start in saved.get("starts", ())]


def write_starts(folder: Path, starts: Sequence[Start]) -> None:
    """Write the starts of a run into its folder."""
    text = json.dumps([start.to_json() for start in starts], indent=2) + "\n"
    write_file(folder / STARTS_FILE, lambda file: file.write(text.encode()))
