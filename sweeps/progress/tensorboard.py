"""What became of a run, as a text in TensorBoard: nothing else there tells that a run was pruned."""

from __future__ import annotations

import math
from pathlib import Path

from sweeps.search.replicates import COMPLETE, FAILED, METRIC
from sweeps.search.searcher import Run

TAG = "outcome"


def note_outcome(directory: Path, status: str, run: Run) -> None:
    """Adds the text to the run in `directory`, with an event file of its own.

    Args:
        directory: of the run, which has ended.
        status: "complete", "pruned" or "failed".
        run: what is known of it.
    """
    from torch.utils.tensorboard import SummaryWriter  # slow to import

    text = f"{status} at iteration {run.iteration} of {run.iterations}" if status != COMPLETE else status
    if not math.isnan(score := run.metrics.get(METRIC, math.nan)):
        text += f", {METRIC} {score:.2f}"
    if status == FAILED:
        text += f"\n\n    {run.error}"  # indented: as it is
    with SummaryWriter(str(directory)) as writer:
        writer.add_text(TAG, text, run.iteration)
