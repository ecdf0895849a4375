"""Whoever posts never waits, nothing overtakes anything, and what fails is tried again."""

from __future__ import annotations

import threading
import time

from sweeps.streams.outbox import Outbox, RefusedError


class Server:
    """Takes numbers; fails as long as it is told to."""

    def __init__(self) -> None:
        self.taken: list[int] = []
        self.attempts = 0
        self.fault: Exception | None = None

    def take(self, number: int) -> None:
        self.attempts += 1
        if self.fault:
            raise self.fault
        self.taken.append(number)


def wait_for(condition) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "did not happen within 30 s"
        time.sleep(0.005)


def test_messages_arrive_in_order_and_nobody_waits_for_a_slow_server() -> None:
    said: list[str] = []
    server, gate = Server(), threading.Event()
    outbox = Outbox("MLflow", said.append)
    began = time.monotonic()
    outbox.post(lambda: gate.wait(30) and None)
    for number in range(50):
        outbox.post(lambda number=number: server.take(number))
    assert time.monotonic() - began < 1 and server.taken == []
    gate.set()
    outbox.close(patience=30)
    assert server.taken == list(range(50)) and said == []


def test_what_fails_is_sent_again_before_what_follows_and_said_once() -> None:
    said: list[str] = []
    server = Server()
    server.fault = ConnectionError("connection refused.\nmore of it")
    outbox = Outbox("MLflow", said.append, first_pause=0.01)
    for number in range(3):
        outbox.post(lambda number=number: server.take(number))
    wait_for(lambda: server.attempts >= 3)
    server.fault = None
    outbox.close(patience=30)
    assert server.taken == [0, 1, 2]
    assert said == ["MLflow cannot be reached; the sweep goes on, and tries again: connection refused"]


def test_what_is_refused_is_dropped() -> None:
    said: list[str] = []
    server = Server()

    def refused() -> None:
        raise RefusedError("Param value 2 already logged")

    outbox = Outbox("MLflow", said.append)
    for send in (refused, lambda: server.take(1), refused, lambda: server.take(2)):
        outbox.post(send)
    outbox.close(patience=30)
    assert server.taken == [1, 2]
    assert said == ["MLflow has refused a message: Param value 2 already logged", "2 messages did not reach MLflow."]


def test_a_server_that_is_away_at_the_end_gets_one_last_attempt() -> None:
    said: list[str] = []
    server = Server()
    server.fault = ConnectionError()
    outbox = Outbox("W&B", said.append, first_pause=600)
    for number in range(3):
        outbox.post(lambda number=number: server.take(number))
    wait_for(lambda: server.attempts == 1)
    began = time.monotonic()
    outbox.close(patience=60)
    assert time.monotonic() - began < 30 and server.attempts == 2
    assert said == [
        "W&B cannot be reached; the sweep goes on, and tries again: ConnectionError",
        "3 messages did not reach W&B.",
    ]
    outbox.post(lambda: server.take(9))  # and what comes too late harms nobody
    assert server.taken == []


def test_a_server_that_hangs_is_not_waited_for() -> None:
    said: list[str] = []
    hanging = threading.Event()
    outbox = Outbox("W&B", said.append)
    outbox.post(lambda: hanging.wait(60) and None)
    outbox.post(lambda: None)
    began = time.monotonic()
    outbox.close(patience=0.1)
    assert time.monotonic() - began < 30 and said == ["2 messages did not reach W&B."]
    hanging.set()


def test_what_waits_is_bounded(monkeypatch) -> None:
    monkeypatch.setattr("sweeps.streams.outbox._ROOM", 5)
    said: list[str] = []
    server, gate = Server(), threading.Event()
    outbox = Outbox("MLflow", said.append)
    outbox.post(lambda: gate.wait(30) and None)
    for number in range(10):
        outbox.post(lambda number=number: server.take(number))
    gate.set()
    outbox.close(patience=30)
    assert server.taken == [0, 1, 2, 3] and said == ["6 messages did not reach MLflow."]
