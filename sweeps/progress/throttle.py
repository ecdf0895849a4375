"""Work that a sweep does again and again while it runs, and that takes longer the more trials there are."""

from __future__ import annotations

import math
import time
from collections.abc import Callable


class Throttle:
    """An action that is put off as long as doing it at once would take more than a share of the time.

    What is put off is made up for at the first call for which it is time; whoever needs all of it at the end does it
    once more.

    Args:
        act: The action.
        share: The most of the time that it may take, in (0, 1].
        pause: Seconds at least between the end of one and the begin of the next.
        clock: Gives the time in seconds.
    """

    def __init__(
        self,
        act: Callable[[], None],
        *,
        share: float,
        pause: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._act, self._share, self._pause, self._clock = act, share, pause, clock
        self._due, self._next = False, -math.inf

    def __call__(self, *, due: bool) -> None:
        """Do the action if it is due and time for it; to be called at every event.

        Args:
            due: Whether this event has made the action necessary.
        """
        self._due |= due
        began = self._clock()
        if not self._due or began < self._next:
            return
        self._due = False
        self._act()
        ended = self._clock()
        self._next = ended + max(self._pause, (ended - began) * (1 / self._share - 1))
