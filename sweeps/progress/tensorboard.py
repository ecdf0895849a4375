"""What became of a run, as a text in TensorBoard: nothing else there tells that a run was pruned."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path

from pgpc.runtime.display import printable
from sweeps.common.names import Event
from sweeps.definition.selection import BY_MIOU, Selection
from sweeps.search.searcher import Run

_TAG = "outcome"


def note_outcome(directory: Path, event: Event, run: Run, selection: Selection = BY_MIOU) -> None:
    """Add the text to the run's directory, in an event file of its own.

    Args:
        directory: The directory of the run.
        event: How it has ended: COMPLETE, PRUNED or FAILED.
        run: What is known of it.
        selection: What its score is.
    """
    from torch.utils.tensorboard import SummaryWriter  # slow to import

    text = f"{event} at iteration {run.iteration} of {run.iterations}" if event != Event.COMPLETE else str(event)
    if not math.isnan(run.score):
        text += f", {selection.name} {run.score:{selection.spec}}"
    if event == Event.FAILED:
        text += "\n\n" + textwrap.indent(printable(run.error), "    ")  # indented: as it is
    with SummaryWriter(str(directory)) as writer:
        writer.add_text(_TAG, text, run.iteration)
