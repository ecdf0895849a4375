"""Where a run's results go: its folder, its TensorBoard files, the caller, and an address on S3."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from pgpc.bases.starts import write_starts
from pgpc.bases.state import TrainingState
from pgpc.config import to_dict
from pgpc.models.checkpoint import SCRATCH
from pgpc.runtime import distributed
from pgpc.runtime.files import scratch_folder
from pgpc.runtime.lease import Lease
from pgpc.training import remote
from pgpc.training.averages import Progress
from pgpc.training.begin import Begin, ForkTrunk, Fresh
from pgpc.training.best import BestKeeper
from pgpc.training.callbacks import Callbacks
from pgpc.training.curves import compared_metrics
from pgpc.training.tracking import Tracker
from pgpc.training.trunk import TrunkRecord


class OutputPlace(NamedTuple):
    """Where the files of a run are.

    Attributes:
        folder: The run's folder on this machine.
        url: The address on S3 that the folder is copied to, or None.
        lease: The right to write there; None where there is no address, and on processes that do not write.
    """

    folder: Path
    url: str | None
    lease: Lease | None


@dataclass(frozen=True, kw_only=True)
class RunOutputs:
    """Where a run's results go.

    Attributes:
        place: Where its files are.
        tracker: The TensorBoard files of process 0; None on the others.
        callbacks: The caller's.
        record: The record of a trunk that is being trained; None for any other run.
        best: What keeps the best network, of process 0; None on the others.
    """

    place: OutputPlace
    tracker: Tracker | None
    callbacks: Callbacks
    record: TrunkRecord | None
    best: BestKeeper | None

    def hand_over(self, state: TrainingState, metrics: Mapping[str, float], progress: Progress | None = None) -> None:
        """Save the state, bring the curves up to it, and give the metrics to the caller.

        Args:
            state: What is saved.
            metrics: What the caller gets.
            progress: Between two reports, the run's means, which the checkpoint then holds.
        """
        between = progress.state_dict() if progress is not None else None
        if self.tracker is not None:
            self.tracker.flush()
        first, on_report = distributed.rank() == 0, self.callbacks.on_report
        if on_report is None:
            if first:
                state.save(self.place.folder, between)
        elif first:
            with scratch_folder(SCRATCH) as folder:
                state.save(folder, between)
                on_report(dict(metrics), folder)
        else:
            on_report(dict(metrics), None)
        folder, url, lease = self.place
        if url is not None and first:
            remote.copy_up(folder, url, lease, last=False)

    def write_record(self) -> None:
        """Write the record of a trunk, by process 0."""
        if self.record is not None and distributed.rank() == 0:
            self.record.write(self.place.folder)

    def keep_report(self, state: TrainingState) -> None:
        """Keep the last report of a trunk for the runs that are forked from it."""
        if self.record is not None:
            self.record.reports.append(state.metrics)
            self.write_record()

    def keep_best(self, state: TrainingState) -> None:
        """Keep the networks that were just reported where they are the best so far."""
        if self.best is not None:
            self.best.consider(state)

    def end_trunk(self, state: TrainingState, progress: Progress) -> None:
        """Complete the record of a trunk: all that a run needs which is forked from its end."""
        record = self.record
        if record is None:
            return
        if record.progress is None:  # else this trunk was resumed at its end
            record.iterations, record.progress = state.step, progress.state_dict()
            self.write_record()
        if state.metrics.get("iteration") != state.step:
            self.hand_over(state, {"iteration": state.step, "seconds": record.seconds})


def open_tracker(
    state: TrainingState,
    place: OutputPlace,
    *,
    begin: Begin,
    samples: Sequence[tuple[Tensor, np.ndarray, str]],
    compared: Sequence[str] | None,
) -> Tracker:
    """Write ``config.json`` and its starts into a run's folder and open its TensorBoard files; by process 0 alone.

    Args:
        state: The state that the run begins with.
        place: Where its files are. The folder is made where there is none; of one that is copied to S3, what an earlier
            run there has left is removed.
        begin: Where the run begins.
        samples: The images that pictures are made of, with their labels and names.
        compared: See :class:`Callbacks`.
    """
    out = place.folder
    if place.url is not None:
        remote.clear(out)
    out.mkdir(parents=True, exist_ok=True)
    write_starts(out, state.starts)
    (out / "config.json").write_text(json.dumps(to_dict(state.config), indent=2) + "\n")
    # Of an earlier try nothing is shown but what the run is resumed from; what a try to fork has copied is not, either.
    first = -1 if isinstance(begin, Fresh | ForkTrunk) else state.step
    metrics = compared_metrics(
        state.config,
        has_labels=bool(samples),
        has_teacher=state.teacher is not None,
        on_gpu=state.device.type == "cuda",
    )
    tracker = Tracker(out, state.config, state.classes, step=first, samples=samples, metrics=metrics, compared=compared)
    if isinstance(begin, ForkTrunk):
        tracker.copy_curves(Path(begin.folder))
    return tracker
