"""Signals that ask a sweep to end, sent to this very process."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from sweeps.execution.watch import stop_signals
from sweeps.execution.watch.stop_signals import end_in_peace, exit_by_signals, leave_in_time, stop_gracefully

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Handlers of the process are as they were; its own may ignore SIGHUP, where the tests run under nohup."""
    hangup = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    before = [signal.getsignal(number) for number in SIGNALS]
    yield
    assert [signal.getsignal(number) for number in SIGNALS] == before
    signal.signal(signal.SIGHUP, hangup)


@pytest.mark.parametrize(
    ("number", "kind"), [(SIGNALS[0], KeyboardInterrupt), *((number, SystemExit) for number in SIGNALS[1:])]
)
def test_before_there_is_anything_to_lose_the_program_ends(number: int, kind: type[BaseException]) -> None:
    with pytest.raises(kind) as stop, exit_by_signals():
        signal.raise_signal(number)
    with exit_by_signals() as received, contextlib.suppress(kind):
        signal.raise_signal(number)
    assert received == [number], "what was raised may get lost"
    assert kind is KeyboardInterrupt or getattr(stop.value, "code", None) == 128 + number


@pytest.mark.parametrize("number", SIGNALS)
def test_each_of_them_asks_for_the_end_once(number: int) -> None:
    interruption, said, received = SimpleNamespace(requested=False), list[str](), list[int]()
    with stop_gracefully(interruption, said.append, received):
        signal.raise_signal(number)
        went_on = True
    assert interruption.requested and went_on and received == [number]
    assert said == ["Stopping; what runs can be resumed later. Press Ctrl-C once more to leave at once."]


@pytest.mark.parametrize(
    ("pause", "second", "leaves"),
    [
        (0.0, signal.SIGTERM, False),  # `timeout` sends it to the process and to its group
        (1.0, signal.SIGTERM, True),
        (1.0, signal.SIGINT, True),
        (1.0, signal.SIGHUP, False),
    ],
)
def test_a_second_one_leaves_at_once_unless_it_is_the_same(
    pause: float, second: int, leaves: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(stop_signals.time, "monotonic", lambda: now)
    interruption, went_on = SimpleNamespace(requested=False), False
    with stop_gracefully(interruption, lambda text: None, []):
        signal.raise_signal(signal.SIGTERM)
        now += pause
        signal.raise_signal(second)
        went_on = True
    assert went_on is not leaves


def test_nohup_is_heeded() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        interruption = SimpleNamespace(requested=False)
        with stop_gracefully(interruption, lambda text: None, []):
            signal.raise_signal(signal.SIGHUP)
        assert not interruption.requested
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_cuts_the_end_short(number: int) -> None:
    received, ways = list[int](), list[str]()

    def finish() -> int:
        ways.append("short" if received else "long")
        if not received:
            signal.raise_signal(number)
            ways.append("not reached")
        return len(ways)

    assert end_in_peace(finish, received) == 2 and ways == ["long", "short"] and received == [number]


def test_what_has_been_asked_for_once_is_done_in_peace_except_from_ctrl_c() -> None:
    received, done = [int(signal.SIGTERM)], list[int]()

    def finish(*numbers: int) -> None:
        for number in numbers:
            signal.raise_signal(number)
            done.append(number)

    end_in_peace(lambda: finish(signal.SIGTERM, signal.SIGHUP), received)
    assert done == [signal.SIGTERM, signal.SIGHUP]
    with pytest.raises(KeyboardInterrupt):
        end_in_peace(lambda: finish(signal.SIGINT), received)


@pytest.mark.parametrize(("gone", "patience"), [(False, 0.3), (True, 60)])
def test_who_hangs_after_the_end_was_asked_for_is_made_to_leave(gone: bool, patience: float) -> None:
    interruption, reached = SimpleNamespace(requested=False), list[str]()

    def end() -> None:
        reached.append("the end of the process")

    with stop_gracefully(interruption, lambda text: None, []):
        with leave_in_time(interruption, is_gone=lambda: gone, end=end, patience=patience):
            signal.raise_signal(signal.SIGTERM)
            time.sleep(60)
        reached.append("the end")
    assert not reached


def test_who_does_not_hear_of_it_ends_in_another_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop_signals, "_LAST_CALL", 0.2)
    interruption, ended = SimpleNamespace(requested=True), threading.Event()

    def is_deaf() -> bool:
        return ended.wait(30)

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as who waits deep in a library
    try:
        with leave_in_time(interruption, is_gone=lambda: True, end=ended.set):
            assert is_deaf()
        ended.clear()
        with leave_in_time(interruption, is_gone=lambda: False, end=ended.set, patience=0.1):
            assert not ended.wait(1.5), "where Ray is there the main thread will leave"
    finally:
        signal.signal(signal.SIGINT, before)


def test_who_ends_in_time_is_left_alone() -> None:
    interruption, reached = SimpleNamespace(requested=False), list[str]()
    with stop_gracefully(interruption, lambda text: None, []):
        with leave_in_time(interruption, is_gone=lambda: True, end=lambda: None, patience=0.3):
            signal.raise_signal(signal.SIGTERM)
        time.sleep(1.5)
        reached.append("the end")
    assert reached
