"""What a slot does between two requests of Tune; whole runs in slots are those of every sweep in these tests."""

from __future__ import annotations

import threading
from typing import cast

import pytest

from sweeps.execution.slots import slot
from sweeps.execution.slots.group import Group
from sweeps.execution.slots.slot import Slot


class Workers:
    """Stands for a group of workers, and knows when they were let go."""

    def __init__(self) -> None:
        self.gone = threading.Event()

    def end(self) -> None:
        self.gone.set()


@pytest.fixture
def idle(monkeypatch: pytest.MonkeyPatch) -> tuple[Slot, Workers]:
    """A slot that has just answered, and its workers."""
    monkeypatch.setattr(slot, "IDLE", 0.2)
    found, workers = Slot.__new__(Slot), Workers()
    found._group, found._clock = cast(Group, workers), None
    found._start_clock()
    return found, workers


def test_workers_are_let_go_where_tune_wants_nothing_for_a_while(idle: tuple[Slot, Workers]) -> None:
    """So that their machines can go, too."""
    _, workers = idle
    assert workers.gone.wait(60)


def test_workers_stay_where_tune_wants_something_in_time(idle: tuple[Slot, Workers]) -> None:
    waiting, workers = idle
    waiting._stop_clock()
    assert not workers.gone.wait(0.6)
