"""Signals that ask a sweep to end: Ctrl-C, SIGTERM of a batch system, and SIGHUP of a terminal that is closed.

All of them end it alike: what runs can be resumed, and what there is becomes a table, a report and best/. Who sends one
to the whole process group, as batch systems and `timeout` do, does not reach Ray, which has sessions of its own (see
:mod:`sweeps.execution.resources`); where it is reached all the same, the driver ends the sweep without it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Protocol, TypeVar

PATIENCE = 12.0
"""Seconds that Tune gets to end its runs, once the end is asked for. Batch systems kill after 30."""
_AS_ONE = 0.25  # seconds within which signals are one: `timeout` sends its own to the process and to the group
_LAST_CALL = 2.0  # seconds in which the main thread can leave by itself
_Handler = Callable[[int, "FrameType | None"], None]
_Found = TypeVar("_Found")


class Stoppable(Protocol):
    """What can be asked to end a sweep, as `sweeps.execution.tune_run.Interruption` can."""

    requested: bool


@contextlib.contextmanager
def exit_by_signals() -> Iterator[list[int]]:
    """Let a signal end a program in good order that has nothing to lose yet: locks, folders and Ray are let go.

    Yields:
        The numbers of the signals so far. There is one where the program goes on only because what the signal raised
        was lost: Python ignores what is raised while it removes an object, or in a callback.
    """
    received: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + number)

    with _handled_by(handle):
        yield received


@contextlib.contextmanager
def stop_gracefully(interruption: Stoppable, say: Callable[[str], None], received: list[int]) -> Iterator[None]:
    """Let the first Ctrl-C, SIGTERM or SIGHUP ask the sweep to stop, and a second one leave at once.

    A second SIGHUP does not: nobody is there who could be in a hurry. Only the main thread of a process hears of
    signals; in another one nothing changes, and the sweep ends by itself.

    Args:
        interruption: Ends the sweep.
        say: Writes one line on the terminal.
        received: Where the numbers of the signals are put.
    """
    last = 0.0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal last
        is_same = bool(received) and time.monotonic() - last < _AS_ONE
        last = time.monotonic()
        received.append(number)
        if not interruption.requested:
            interruption.requested = True
            say("Stopping; what runs can be resumed later. Press Ctrl-C once more to leave at once.")
        elif not is_same and number != signal.SIGHUP:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        say("This is not the main thread: Ctrl-C does not stop the sweep.")
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    try:
        with _handled_by(handle), contextlib.suppress(KeyboardInterrupt):
            yield
    finally:
        del os.environ["TUNE_DISABLE_SIGINT_HANDLER"]  # what this process runs next has handlers of its own


def end_in_peace(act: Callable[[], _Found], received: list[int]) -> _Found:
    """Do what the end of a sweep takes, which signals can cut short, but not keep from being done.

    The first signal lets it be done anew, now that `received` says that it is to be short. Where one has been received
    before, only Ctrl-C still has an effect; the others have got what they asked for.

    Args:
        act: What is to be done; looks into `received`.
        received: The numbers of the signals so far; further ones are put here.

    Raises:
        KeyboardInterrupt: Ctrl-C was pressed although the end is as short as it can be.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        is_first = not received
        received.append(number)
        if is_first or number == signal.SIGINT:
            raise KeyboardInterrupt

    with _handled_by(handle):
        was_stopped = bool(received)
        try:
            return act()
        except KeyboardInterrupt:
            if was_stopped:
                raise
        return act()


@contextlib.contextmanager
def leave_in_time(
    interruption: Stoppable, *, is_gone: Callable[[], bool], end: Callable[[], object], patience: float = PATIENCE
) -> Iterator[None]:
    """Raise KeyboardInterrupt in the main thread where the end is asked for and does not come.

    Some batch systems send their signal to every process there is, Ray's too. Then Tune waits for what is gone, and so
    deep in Ray that it does not hear of signals, until Ray ends this process.

    Args:
        interruption: Says whether the end is asked for.
        is_gone: Says whether Ray is gone, so that there is nothing to wait for.
        end: Ends the sweep and the process, from another thread, where Ray is gone and the main thread does not leave.
        patience: Seconds that Tune gets where Ray is there.
    """
    over, main = threading.Event(), threading.main_thread()

    def watch() -> None:
        while not interruption.requested:
            if over.wait(0.2):
                return
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline and not is_gone():
            if over.wait(0.5):
                return
        if not over.wait(0.5) and main.ident is not None:
            signal.pthread_kill(main.ident, signal.SIGINT)
            if is_gone() and not over.wait(_LAST_CALL):
                end()

    if threading.current_thread() is main:
        threading.Thread(target=watch, name="leave in time", daemon=True).start()
    try:
        yield
    finally:
        over.set()


@contextlib.contextmanager
def _handled_by(handler: _Handler) -> Iterator[None]:
    """Have a function handle the signals that end a sweep; SIGHUP only where `nohup` has not forbidden it."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        numbers = [signal.SIGINT, signal.SIGTERM]
        numbers += [signal.SIGHUP] if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN else []
        before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, signal.SIG_DFL if old is None else old)  # None: it was not Python that had set it
