"""A place for one run of the sweep after the other: Tune's actor, which keeps its workers from one to the next."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.result import DONE

from sweeps.execution.checkpoints import drop_unlisted_checkpoints, mend_snapshot
from sweeps.execution.joining.shared_folder import mark_run
from sweeps.execution.run_errors import describe
from sweeps.execution.slots.group import Ended, Group
from sweeps.search.trial_spec import FAILURE, REPORT, TrialSpec

IDLE = 60.0
"""Seconds without a run after which a slot lets its workers go, so that an autoscaler can give up their machines."""
_PATIENCE = 4.0  # seconds that workers get to end in good order; Tune ends this process after five


class Slot(tune.Trainable):
    """Trains what it is told, one run after the other, and reports to Tune; this is Tune's trainable.

    A run waits after each report until Tune has decided that it goes on. So nothing is trained of a run that was
    stopped, and its slot is free at once. A training that fails leaves all that is known of its error in error.txt in
    the run's directory.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Begin with the first run; called by Tune.

        Args:
            config: The plain data of a `TrialSpec`.
        """
        self._group: Group | None = None
        self._train_folder = Path(self.logdir) / "train"
        self._clock: threading.Timer | None = None
        self._has_reported = False
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin with the next run; called by Tune, with the plain data of a `TrialSpec`."""
        self._stop_clock()
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Let the run go on, and return its next report; called by Tune."""
        self._stop_clock()
        if self._has_reported:
            self._go_on()
        assert self._group is not None, "a run has been begun"
        event = self._group.events.get()
        self._has_reported = not isinstance(event, Ended)
        self._start_clock()
        if not isinstance(event, Ended):
            return {REPORT: event.metrics}
        self._group.rest()
        if event.error is None:
            return {DONE: True}
        with contextlib.suppress(OSError):
            (self._spec.directory / "error.txt").write_text(f"{event.error}\n")
        return {DONE: True, FAILURE: describe(event.error)}

    def cleanup(self) -> None:
        """Let the workers go; called by Tune."""
        self._stop_clock()
        if self._group is not None:
            self._group.end()
            self._group.join(_PATIENCE)

    def _begin(self, plain: dict[str, Any]) -> None:
        self._plain, self._spec, self._has_reported = plain, TrialSpec.from_plain(plain), False
        mark_run(self._spec.directory)
        mend_snapshot(self._spec.directory)
        drop_unlisted_checkpoints(self._spec.directory)
        workers = self._spec.workers
        if self._group is not None and self._group.workers != workers:
            self._group.end()
            self._group = None
        if self._group is None or not self._group.begin(plain):
            self._group = Group(workers, self._train_folder)
            self._group.begin(plain)

    def _go_on(self) -> None:
        """Let the run go on; from its checkpoint, where the workers were let go meanwhile."""
        assert self._group is not None, "a run has been begun"
        if self._group.is_over:
            self._begin(self._plain)
        else:
            self._group.go_on()

    def _start_clock(self) -> None:
        """Let the workers go in a while, unless Tune wants something from this process before."""
        assert self._group is not None, "a run has been begun"
        self._clock = threading.Timer(IDLE, self._group.end)
        self._clock.daemon = True
        self._clock.start()

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
