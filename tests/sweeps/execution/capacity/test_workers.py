"""Workers and the runs that fit, on clusters of numbers."""

from __future__ import annotations

import pytest

from sweeps.execution.capacity.workers import HEAD_BYTES, concurrency, default_workers, places, trial_slots
from sweeps.search.trial_spec import Workers

ONE_CPU, ONE_GPU = [{"CPU": 1.0}], [{"CPU": 8.0, "GPU": 1.0}]


def test_workers_where_flags_leave_something_open() -> None:
    cpus, gpus = [{"CPU": 4.0}], [{"CPU": 16.0, "GPU": 2.0}, {"CPU": 4.0}]
    assert default_workers(cpus, 2, None, None) == Workers(count=2, cpus=1, gpus=0)
    assert default_workers(gpus, 2, None, None) == Workers(count=2, cpus=8, gpus=1)
    assert default_workers(gpus, 1, 3, 0.5) == Workers(count=1, cpus=3, gpus=0.5)
    with pytest.raises(ValueError, match=r"cannot share a GPU, but got --gpus-per-worker 0.5 with --workers 2"):
        default_workers(gpus, 2, None, 0.5)


@pytest.mark.parametrize(
    ("nodes", "flags", "expected"),
    [
        (ONE_CPU, {}, Workers(count=1, cpus=1, gpus=0)),
        (ONE_GPU, {}, Workers(count=1, cpus=8, gpus=1)),
        (ONE_GPU, {"gpus": 0}, Workers(count=2, cpus=1, gpus=0)),
        (ONE_GPU, {"gpus": 0.5}, Workers(count=1, cpus=4, gpus=0.5)),
        ([{"CPU": 2.0}], {}, Workers(count=2, cpus=1, gpus=0)),
        ([{"CPU": 3.0}], {"cpus": 2}, Workers(count=1, cpus=2, gpus=0)),
        (ONE_GPU * 2, {}, Workers(count=2, cpus=8, gpus=1)),
        (ONE_CPU * 2, {"batch_sizes": (2, 3)}, Workers(count=1, cpus=1, gpus=0)),
        ([{"CPU": 1.0, "GPU": 4.0}], {}, Workers(count=1, cpus=1, gpus=1)),
    ],
)
def test_there_are_two_where_two_fit_and_else_one(
    nodes: list[dict[str, float]], flags: dict[str, float], expected: Workers
) -> None:
    given = {"num": None, "cpus": None, "gpus": None, **flags}
    found = default_workers(nodes, **given)
    assert found == expected and trial_slots(nodes, found) >= 1


def test_how_many_runs_fit() -> None:
    nodes = [{"CPU": 5.0}, {"CPU": 2.0}]
    assert trial_slots(nodes, Workers(count=1, cpus=2, gpus=0)) == 3
    assert trial_slots(nodes, Workers(count=2, cpus=2, gpus=0)) == 1
    with pytest.raises(ValueError, match=r"asks for 4 workers x 2 CPU, but the cluster has 2 nodes with 7 CPUs"):
        trial_slots(nodes, Workers(count=4, cpus=2, gpus=0))


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 2), (0.3333, 3), (0.25, 4), (0.2, 5), (0.1, 10), (0.05, 20), (0.4, 2), (0.3334, 2)]
)
def test_shares_of_a_gpu_are_counted_exactly(share: float, expected: int) -> None:
    nodes = [{"CPU": 64.0, "GPU": 1.0}]
    assert places(nodes, Workers(count=1, cpus=1, gpus=share)) == expected
    assert places(nodes * 3, Workers(count=1, cpus=1, gpus=share)) == 3 * expected
    cpus = int(default_workers([{"CPU": 100.0, "GPU": 1.0}], 1, None, 0.07).cpus)
    assert cpus == 7, "as a float it is 100 * 0.07 = 7.000000000000001, and 100 * 0.29 less than 29"


def test_gpus_and_cpus_must_both_be_there() -> None:
    assert places([{"CPU": 3.0, "GPU": 1.0}], Workers(count=1, cpus=1, gpus=0.1)) == 3
    assert places([{"CPU": 8.0}, {"GPU": 8.0}], Workers(count=1, cpus=1, gpus=1)) == 0


def test_the_heads_memory_bounds_the_runs_at_a_time() -> None:
    assert concurrency(None, 8, 40, None) == (8, "") and concurrency(None, 8, 3, None) == (3, "")
    assert concurrency(None, 8, 40, 8 * HEAD_BYTES) == (8, "")
    number, said = concurrency(None, 8, 40, 3.5 * HEAD_BYTES)
    assert number == 3 and said.startswith("At a time 3 runs will be trained and not the 8 that fit the workers, since")
    assert "1.1 GB of memory on the head, of which 3.9 GB are free" in said
    assert concurrency(None, 8, 40, 0.1 * HEAD_BYTES)[0] == 1, "one is always tried"
    number, said = concurrency(6, 8, 40, 3.5 * HEAD_BYTES)
    assert number == 6 and said.startswith("--concurrency 6 may be too much, since each run takes")
    with pytest.raises(ValueError, match="--concurrency must be at most 8, which is what fits, but got 9"):
        concurrency(9, 8, 40, None)
