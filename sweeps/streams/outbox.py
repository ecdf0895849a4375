"""Messages to a server that may be slow, or away: a thread of its own sends them, and who posts them never waits."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from sweeps.common.words import count

_ROOM = 20_000
"""Messages that wait at most. A sweep that posts more while its server is away would run out of memory instead."""
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0


class RefusedError(Exception):
    """A server has understood a message and will not have it, however often it is sent."""


class Outbox:
    """Sends messages in the order in which they were posted.

    One that fails is sent again, after longer and longer pauses. That a server is in trouble is said once, and at the
    end how much was lost.

    Args:
        to: The name of the server, to say what is wrong with it.
        say: Writes one line on the terminal; called from the outbox's own thread.
        first_pause: Seconds before a message that has failed is sent again; each failure in a row doubles them, up to
            a minute.
    """

    def __init__(self, to: str, say: Callable[[str], None], first_pause: float = _FIRST_PAUSE) -> None:
        self._to, self._say, self._first_pause = to, say, first_pause
        self._changed = threading.Condition()
        self._waiting: deque[Callable[[], None]] = deque()
        self._closing = self._told = False
        self._lost = 0
        self._thread = threading.Thread(target=self._work, name=f"outbox to {to}", daemon=True)
        self._thread.start()

    def post(self, send: Callable[[], None]) -> None:
        """Have a message sent, and return at once.

        Args:
            send: Sends it. It must be harmless to send a message twice, since a failure may come after its arrival. It
                raises a `RefusedError` where another attempt would be in vain, and anything else where it would not.
        """
        with self._changed:
            if self._closing or len(self._waiting) >= _ROOM:
                self._lost += 1
                return
            self._waiting.append(send)
            self._changed.notify()

    def close(self, patience: float) -> None:
        """Wait until all is sent, or until a last attempt has failed, and say what was lost.

        Args:
            patience: Seconds to wait at most. What is being sent then may still arrive.
        """
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(patience)
        with self._changed:
            self._lost += len(self._waiting)
            self._waiting.clear()  # a thread that is still sending finds nothing more to do
            if self._lost:
                self._say(f"{count(self._lost, 'message')} did not reach {self._to}.")

    def _work(self) -> None:
        pause = self._first_pause
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                send, last = self._waiting[0], self._closing
            if self._sent(send):
                pause = self._first_pause
                with self._changed:
                    if self._waiting:  # close may have lost its patience
                        self._waiting.popleft()
            elif last:
                return
            else:
                with self._changed:
                    self._changed.wait_for(lambda: self._closing, timeout=pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _sent(self, send: Callable[[], None]) -> bool:
        """Send a message, and return whether it is done with: arrived, or refused."""
        try:
            send()
        except RefusedError as error:
            self._tell(f"{self._to} has refused a message: {_first_line(error)}")
            with self._changed:
                self._lost += 1
            return True
        except Exception as error:  # whatever a client raises must not stop a sweep
            self._tell(f"{self._to} cannot be reached; the sweep goes on, and tries again: {_first_line(error)}")
            return False
        return True

    def _tell(self, text: str) -> None:
        if not self._told:
            self._told = True
            self._say(text)


def _first_line(error: Exception) -> str:
    """Return the first line of an error's text without the point at its end, or its kind where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(". ") if lines else type(error).__name__
