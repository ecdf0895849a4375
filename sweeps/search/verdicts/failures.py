"""A sweep whose runs fail one after the other for the same reason is stopped, before its budget is burnt for nothing.

Failures are of the same kind if the first lines of their errors are, numbers, files and ids apart; see
:func:`sweeps.common.faults.kind`. Those are counted that follow each other with no run between them that has ended
otherwise, complete or stopped early. Two sorts tell nothing about the sweep and are passed over:

- values that do not go together, which are refused before anything is trained;
- a loss that is no number, once some trial of the search has ended without: then its parameters are to blame, and the
  sampler is told so.
"""

from __future__ import annotations

from sweeps.common import faults
from sweeps.common.names import REFERENCE_LABEL, Event
from sweeps.common.words import count
from sweeps.search.searcher import Run


class RepeatedFailures:
    """Counts failures of one kind.

    Args:
        limit: With how many in a row the sweep is to stop, at least 1.
        has_ended_well: Whether some trial of the search has been complete, or stopped early, before.
    """

    def __init__(self, limit: int, *, has_ended_well: bool) -> None:
        self._limit, self._has_ended_well = limit, has_ended_well
        self._started: set[str] = set()
        self._kind, self._labels = "", list[str]()

    def note(self, event: Event, run: Run) -> str:
        """Take note of an event.

        Returns:
            Why the sweep is to stop; "" where it is not.
        """
        if event == Event.STARTED:
            self._started.add(run.label)
        elif event in (Event.COMPLETE, Event.PRUNED):
            self._has_ended_well |= run.trial_label != REFERENCE_LABEL
            self._labels.clear()
        elif event == Event.FAILED and run.label in self._started and not self._is_of_params(run):
            kind = faults.kind(run.error)
            if kind != self._kind:
                self._kind, self._labels = kind, []
            self._labels.append(run.label)
            if len(self._labels) >= self._limit:
                return (
                    f"{count(len(self._labels), 'run')} in a row failed alike ({', '.join(self._labels)}): {run.error}"
                )
        return ""

    def _is_of_params(self, run: Run) -> bool:
        return self._has_ended_well and faults.diverged(run.error)


def remedy(cause: str, resume_command: str) -> str:
    """Return what to tell the user about a sweep that was stopped.

    Args:
        cause: What `RepeatedFailures.note` said.
        resume_command: What to type to resume the sweep.
    """
    return (
        f"The sweep has stopped because {cause}\n"
        "Remove the cause; error.txt in the folder of a trial has all that is known of it. Then resume the sweep with "
        "the failed trials; or go on in spite of it, with a larger --max-failures:\n"
        f"resume  {resume_command} --retry-failed"
    )
