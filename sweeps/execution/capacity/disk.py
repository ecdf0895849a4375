"""What the checkpoints of a sweep will take of the disk, said and compared with what is free before it begins."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from pgpc.training import trunk
from sweeps.common.words import count, gigabytes
from sweeps.definition.folder import trials_folder
from sweeps.definition.sweep import Sweep


@dataclass(frozen=True, kw_only=True)
class DiskNeed:
    """The disk space that the checkpoints of a sweep still take at most.

    Attributes:
        size: Bytes of one checkpoint.
        kept: Checkpoints that are there at the same time, one for each run whose checkpoint is not removed.
        passing: Checkpoints besides: a run writes the next one before it removes the last, and best/ has a copy.
        there: Checkpoints that an earlier driver has left, which take no further space.
    """

    size: int
    kept: int
    passing: int
    there: int

    @classmethod
    def of(cls, sweep: Sweep, size: int, concurrency: int) -> DiskNeed:
        """Return what a sweep takes.

        Args:
            sweep: The sweep.
            size: Bytes of one checkpoint.
            concurrency: Number of runs at the same time.
        """
        options, num_seeds = sweep.options, len(sweep.seeds)
        trials = sweep.num_trials
        if options.population is not None and options.keep != "all":
            trials = min(trials, options.population)  # those that are replaced lose theirs
        kept = (trials + sweep.is_search) * num_seeds
        trunks = num_seeds if options.share_trunk and trunk.length(sweep.config) else 0
        there = sum(1 for _ in trials_folder(sweep.folder).glob("*/checkpoint_*/checkpoint.pt"))
        return cls(size=size, kept=kept, passing=concurrency + trunks + sweep.is_search, there=there)

    @property
    def total(self) -> int:
        """The bytes that are still to be written."""
        return self.size * (max(self.kept - self.there, 0) + self.passing)

    @property
    def least(self) -> int:
        """The bytes without which no run can be trained; none where all that are to be trained have begun."""
        return 2 * self.size if self.kept > self.there else 0


def describe_need(need: DiskNeed, sweep: Sweep) -> str:
    """Return a line that says what a sweep will take of the disk and what is free, with a warning where that is less.

    Args:
        need: What it takes.
        sweep: The sweep, whose folder exists.

    Raises:
        ValueError: Not even one run can be trained.
    """
    free = shutil.disk_usage(sweep.folder).free
    if free < need.least:
        raise ValueError(
            f"The disk of {sweep.folder} must have room for a checkpoint and the next one, {gigabytes(need.least)}, "
            f"but {gigabytes(free)} are free. Free space there, or choose another --storage."
        )
    number = max(need.kept - need.there, 0) + need.passing
    text = f"up to {gigabytes(need.total)}, for {count(number, 'checkpoint')} of {gigabytes(need.size)}; "
    text += f"{gigabytes(free)} are free"
    if free >= need.total:
        return text
    fewer = [] if sweep.options.keep == "complete" else ["--keep complete"]
    remedies = ", ".join([*fewer, "fewer --trials", "another --storage"])
    return f"{text}, which may not be enough. A sweep whose disk is full stops, and can be resumed; or use {remedies}"
