"""What a run was spared because it began as a fork of the trunk, as a note in its directory.

The trunk of a sweep is the first part of the trainings, until the contrast starts. It is the same for all trials of one
seed, so it is trained once and shared. A run that was forked from it has those iterations without having trained them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pgpc.runtime.json_text import parse_json

FORKED = "forked.json"
"""Name of the note in a run's directory."""


@dataclass(frozen=True, kw_only=True)
class TrunkFork:
    """The part of a run that was trained in a trunk, which its own iterations and seconds include.

    Attributes:
        trunk: Name of the trunk's folder.
        iterations: Number of iterations that were trained in the trunk.
        seconds: Time that these iterations took.
    """

    trunk: str
    iterations: int
    seconds: float


def write_fork(directory: Path, fork: TrunkFork) -> None:
    """Write the note into a run's directory, which is made where it is missing."""
    directory.mkdir(parents=True, exist_ok=True)
    # The name on disk is that of a time when trunks were called warm-ups.
    note = {"warm_up": fork.trunk, "iterations": fork.iterations, "seconds": fork.seconds}
    (directory / FORKED).write_text(json.dumps(note) + "\n")


def read_fork(directory: Path) -> TrunkFork | None:
    """Return what the note in a run's directory says, or None where there is no note that can be read."""
    try:
        note = parse_json((directory / FORKED).read_text())
        return TrunkFork(trunk=note["warm_up"], iterations=note["iterations"], seconds=note["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
