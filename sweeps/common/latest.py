"""What a run shows between two evaluations, as a small file in its directory.

Reports go through Ray into the study, and what trials are judged by waits for them. This is for whoever looks on, may
be lost, and costs neither Ray nor the study anything.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from pgpc.runtime.files import write_file
from pgpc.runtime.json_text import parse_json

_FILE = "latest.json"
_LOSS = "loss/"


@dataclass(frozen=True, kw_only=True)
class Latest:
    """How far a run has come.

    Attributes:
        iteration: Optimizer steps done.
        loss: Sum of its losses, each as it is, without its weight: means since the point before.
        images_per_second: Images of both domains that its steps took in per second.
    """

    iteration: int
    loss: float
    images_per_second: float


def write_latest(directory: Path, point: Mapping[str, float]) -> None:
    """Write a point of a run's curves into its directory; where that cannot be, there is none to look at.

    Args:
        directory: The run's directory.
        point: The point by the names of its metrics, and its iteration.
    """
    loss = sum(value for name, value in point.items() if name.startswith(_LOSS))
    latest = Latest(iteration=int(point["iteration"]), loss=loss, images_per_second=point["images_per_second"])
    data = json.dumps(asdict(latest)).encode()
    with contextlib.suppress(OSError):
        write_file(directory / _FILE, lambda file: file.write(data))


def read_latest(directory: Path) -> Latest | None:
    """Return the last point that was written into a run's directory, or None where there is none that can be read."""
    try:
        found = parse_json((directory / _FILE).read_text())
        return Latest(
            iteration=int(found["iteration"]),
            loss=float(found["loss"]),
            images_per_second=float(found["images_per_second"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
