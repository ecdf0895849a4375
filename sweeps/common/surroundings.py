"""What the runs of a sweep depend on beside their configs, as a driver of the sweep has found it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What the runs of a sweep depend on beside their configs.

    Attributes:
        threads: Threads of each worker, the same for all runs of the sweep, since sums on the CPU depend on them.
        device: What the workers train on, "cpu" or "cuda".
        data: Place of shards or of a file of weights -> digest of its contents.
        classes: Names of the classes of the source; none of the embedded pair, whose never change.
        determinism: Settings of torch, and variables of the environment, that decide how it computes.
        accepted: Places whose contents are others than for the driver before, which the user has accepted.
        changes: Sentences on all that is otherwise than for the driver before.
    """

    threads: int = 1
    device: str = "cpu"
    data: Mapping[str, str] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    determinism: Mapping[str, str] = field(default_factory=dict)
    accepted: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Surroundings:
        """Return the surroundings that `to_json` has made this of.

        Raises:
            TypeError: They are of another version.
        """
        lists = {name: tuple(plain.get(name, ())) for name in ("classes", "accepted", "changes")}
        return cls(**{**plain, **lists})

    def to_json(self) -> dict[str, Any]:
        """Return the surroundings as plain data."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
