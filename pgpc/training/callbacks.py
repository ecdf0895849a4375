"""What a caller of the training wants to be asked and told while it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

OnReport = Callable[[dict[str, float], "Path | None"], None]
OnPoint = Callable[[dict[str, float]], None]
ShouldCheckpoint = Callable[[], bool]


@dataclass(frozen=True, kw_only=True)
class Callbacks:
    """The caller's part in a run.

    Attributes:
        on_report: Called on every process after each evaluation with the metrics, equal on all processes, and, on
            process 0, with a folder that holds the checkpoint (None on the others). The folder vanishes when the
            call returns. Without this callback the checkpoint is kept in the run's folder.
        on_point: Called on process 0 with each point of the training curves, every ``training.log_interval``
            iterations: its iteration, losses, images per second and what else is a curve of TensorBoard.
        should_checkpoint: Asked whether to write a checkpoint between two evaluations, because the machine is about to
            be taken away, say. Called on every process every ``training.log_interval`` iterations, and the answer must
            be the same on all. `on_report` then has only ``iteration`` and ``seconds``. A run that is resumed from
            there comes to the reports of one that was not interrupted.
        compared: Dotted keys of the config that TensorBoard shows as the run's hyperparameters, under the last part of
            their names; None for all keys that bear on the result.
    """

    on_report: OnReport | None = None
    on_point: OnPoint | None = None
    should_checkpoint: ShouldCheckpoint | None = None
    compared: Sequence[str] | None = None


NO_CALLBACKS = Callbacks()
