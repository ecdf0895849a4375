"""The configuration of the embedded pair. Plain data: importing it loads no image library."""

from __future__ import annotations

from dataclasses import dataclass

from pgpc.runtime.checks import all_at_once, check
from pgpc.runtime.fields import Phase, check_fields, documented, key

STREETS_VERSION = 3
"""Version of the embedded pair's pictures and shards; caches of another one are not used."""


@documented
@dataclass(frozen=True, kw_only=True, slots=True)
class StreetsConfig:
    """Size and seed of the embedded pair of domains."""

    num_source: int = key(
        240,
        doc="Labeled source images.",
        low=1,
        unit="images",
        phase=Phase.START,
        hyperparameter=False,
        remedy="Ask for one image or more.",
    )
    num_target: int = key(
        240,
        doc="Target images for training.",
        low=1,
        unit="images",
        phase=Phase.START,
        hyperparameter=False,
        remedy="Ask for one image or more.",
    )
    num_val: int = key(
        48,
        doc="Target images for validation.",
        low=1,
        unit="images",
        phase=Phase.START,
        hyperparameter=False,
        remedy="Ask for one image or more.",
    )
    height: int = key(
        128,
        doc="Height of the images.",
        low=64,
        multiple_of=32,
        unit="pixels",
        phase=Phase.START,
        hyperparameter=False,
    )
    width: int = key(
        256,
        doc="Width of the images, at least their height.",
        low=64,
        multiple_of=32,
        unit="pixels",
        phase=Phase.START,
        hyperparameter=False,
    )
    seed: int = key(
        0,
        doc="Seed of the images; images of different seeds have nothing in common.",
        low=0,
        phase=Phase.START,
        hyperparameter=False,
    )

    @all_at_once()
    def __post_init__(self) -> None:
        if not check_fields(self, "data.streets"):
            return
        check(
            self.width >= self.height,
            f"data.streets.width must be at least data.streets.height ({self.height})",
            self.width,
            "Swap them, or widen the image.",
        )
