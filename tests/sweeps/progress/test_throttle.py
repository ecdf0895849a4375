"""How often a sweep writes what it has so far."""

from __future__ import annotations

from sweeps.progress.throttle import Throttle


class Work:
    """Takes as many seconds as it was done with things to do; its own clock."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.now, self.done = seconds, 0.0, []

    def __call__(self) -> None:
        self.done.append(self.now)
        self.now += self.seconds


def test_action_that_is_due_is_done_at_once_and_then_put_off() -> None:
    work = Work(1.0)
    throttle = Throttle(work, share=0.1, clock=lambda: work.now)
    throttle(due=False)
    assert work.done == []
    throttle(due=True)
    work.now = 9.9  # it ended at 1, so it may begin again at 10
    throttle(due=True)
    assert work.done == [0.0]
    work.now = 10.0
    throttle(due=False)
    assert work.done == [0.0, 10.0], "what was put off is made up for"
    work.now = 100.0
    throttle(due=False)
    assert work.done == [0.0, 10.0], "and it is not done again for nothing"


def test_it_never_takes_more_than_its_share_however_slow_it_becomes() -> None:
    work = Work(0.01)
    throttle = Throttle(work, share=0.05, clock=lambda: work.now)
    spent = 0.0
    for _ in range(5000):
        work.now += 0.1
        before = work.now
        throttle(due=True)
        spent += work.now - before
        work.seconds *= 1.001
    assert 0 < spent <= 0.05 * work.now + work.seconds


def test_pause_between_two() -> None:
    work = Work(0.0)
    throttle = Throttle(work, share=1.0, pause=30.0, clock=lambda: work.now)
    for _ in range(61):
        throttle(due=True)
        work.now += 1.0
    assert work.done == [0.0, 30.0, 60.0]
