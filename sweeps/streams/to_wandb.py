"""Runs of a sweep in Weights & Biases, by its own client.

Where they go say W&B's own variables: WANDB_PROJECT, WANDB_ENTITY, WANDB_API_KEY, and WANDB_MODE=offline for a folder.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import wandb

from sweeps.common.names import Status
from sweeps.streams.outbox import RefusedError
from sweeps.streams.tracker import PROJECT, TrackedRun

_LONGEST_TAG = 64
_STEP = "iteration"


class WandbTracker:
    """Keeps a sweep's runs as a group of runs in a project of W&B.

    Args:
        folder: The folder of the sweep; what W&B writes lies in its ``wandb``.

    Raises:
        ValueError: There is nobody logged in, and W&B is not offline.
    """

    name = "W&B"

    def __init__(self, folder: Path) -> None:
        self._offline = wandb.setup().settings.mode in ("offline", "disabled")
        # Without a key W&B would ask for one, on a terminal that is full of other things.
        if not self._offline and not wandb.login(prompt=False, verify=False):
            raise ValueError(
                "--log-to wandb needs a W&B account, but nobody is logged in. Run `wandb login`, set WANDB_API_KEY, or "
                "set WANDB_MODE=offline and send the runs later with `wandb sync`."
            )
        self._folder = folder
        self._project = os.environ.get("WANDB_PROJECT") or PROJECT
        self._runs: dict[str, wandb.Run] = {}

    @property
    def place(self) -> str:
        """The project and, where W&B is offline, the folder."""
        return f"project {self._project}" + (f", offline in {self._folder / 'wandb'}" if self._offline else "")

    def begin(self, run: TrackedRun, when: float) -> None:
        """Open a run, or open it again, with its parameters and tags."""
        self._open(run).summary["status"] = Status.RUNNING.value

    def report(self, run: TrackedRun, iteration: int, metrics: Mapping[str, float], when: float) -> None:
        """Add a report."""
        self._open(run).log({_STEP: iteration, **metrics})

    def end(self, run: TrackedRun, status: Status, error: str, when: float) -> None:
        """Close a run. W&B knows finished and failed ones; our word for it is the summary's "status"."""
        mine = self._open(run)
        mine.summary["status"] = status.value
        if error:
            mine.summary["error"] = error
        mine.finish(exit_code=int(status == Status.FAILED))
        del self._runs[run.id]

    def _open(self, run: TrackedRun) -> wandb.Run:
        """Return the run, which is opened where it is not."""
        if run.id not in self._runs:
            try:
                mine = wandb.init(
                    project=self._project,
                    id=run.id,
                    name=run.label,
                    group=run.sweep,
                    job_type=run.tags["kind"],
                    tags=[f"{key} {value}"[:_LONGEST_TAG] for key, value in run.tags.items()],
                    config={**run.tags, **run.params},
                    dir=str(self._folder),
                    resume="allow",
                    reinit="create_new",  # several runs are open at a time
                    # It is about the driver's process, which trains nothing, that W&B would otherwise tell.
                    settings=wandb.Settings(console="off", silent=True, x_disable_stats=True, disable_git=True),
                )
            except wandb.errors.UsageError as error:
                raise RefusedError(str(error)) from error
            # A run that is resumed goes through some iterations again, and W&B's own steps must not go back.
            mine.define_metric(_STEP)
            mine.define_metric("*", step_metric=_STEP)
            self._runs[run.id] = mine
        return self._runs[run.id]
