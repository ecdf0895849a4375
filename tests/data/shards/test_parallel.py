"""Many items at once, in order."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from pgpc.data.shards import parallel
from pgpc.data.shards.parallel import in_parallel


@pytest.fixture(autouse=True)
def four_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "usable_cpus", lambda: 4)


def test_results_come_in_the_order_of_the_items() -> None:
    def slow_at_first(item: int) -> int:
        time.sleep(0.02 if item % 4 == 0 else 0)
        return 10 * item

    assert list(in_parallel(slow_at_first, range(30))) == [10 * item for item in range(30)]


def test_items_are_worked_on_at_once() -> None:
    barrier = threading.Barrier(4, timeout=30)  # all four must come, or it breaks
    assert list(in_parallel(lambda item: barrier.wait() >= 0, range(4))) == [True] * 4


def test_no_more_items_are_taken_than_fit_in_memory() -> None:
    taken = []

    def items() -> Iterator[int]:
        for item in range(1000):
            taken.append(item)
            yield item

    results = in_parallel(str, items())
    assert next(results) == "0"
    assert len(taken) <= 2 * 4 + 1
    results.close()


def test_an_error_comes_in_its_place() -> None:
    results = in_parallel(lambda item: 1 // (3 - item), range(10))
    assert [next(results) for _ in range(3)] == [0, 0, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
