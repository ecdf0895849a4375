"""A cluster of the sweep's own: what it gives to all its processes, and the workers of a trial on it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
import ray.train

from sweeps.execution import resources
from sweeps.execution.trainer import Trainer
from sweeps.search.trial_spec import Workers


@pytest.mark.parametrize("variable", ["TMPDIR", "RAY_TMPDIR"])
def test_a_folder_too_deep_for_sockets_is_refused_before_anything_starts(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv(variable, "/tmp/" + "x" * 40)
    with pytest.raises(ValueError, match=rf"{variable} must have at most 3\d bytes, .* but got '/tmp/xx.*RAY_TMPDIR"):
        resources.connect(None)
    assert not ray.is_initialized()


def test_a_short_folder_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, folder in (("TMPDIR", "/tmp/" + "x" * 40), ("RAY_TMPDIR", "/tmp")):  # the second counts
        monkeypatch.setenv(name, folder)
    resources._check_temporary_folder()


@pytest.fixture(scope="module")
def connected() -> Iterator[str]:
    """The address of a cluster of our own."""
    resources.connect(None)
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


def test_every_process_knows_the_address(connected: str) -> None:
    variable = ray.remote(lambda: os.environ["RAY_ADDRESS"]).options(num_cpus=0)
    assert ray.get(variable.remote()) == connected
    assert resources.PORT not in os.environ


def test_helpers_find_the_cluster_among_several(connected: str) -> None:
    """What frees the workers of a stopped trial does, in a process of its own, what is done here."""

    def num_nodes() -> int:
        from ray.util.state import list_nodes

        return len(list_nodes())

    # Ray finds clusters by the command lines of their processes.
    words = ["raylet", "-c", "import time; time.sleep(60)", "--gcs-address=192.0.2.9:1"]
    other = subprocess.Popen(words, executable=sys.executable)
    try:
        assert ray.get(ray.remote(num_nodes).options(num_cpus=0).remote()) == 1
    finally:
        other.kill()
        other.wait()


def test_workers_of_a_trial_are_one_process_group(connected: str, tmp_path: Path) -> None:
    def loop() -> None:
        import torch
        import torch.distributed as dist

        total = torch.tensor(dist.get_rank() + 1.0)
        dist.all_reduce(total)
        found = [dist.get_backend(), dist.get_world_size(), total.item(), os.environ["LOCAL_RANK"]]
        (tmp_path / f"{dist.get_rank()}.txt").write_text(" ".join(map(str, found)))

    before = signal.getsignal(signal.SIGINT)
    try:
        Trainer(
            loop,
            scaling_config=ray.train.ScalingConfig(num_workers=2, resources_per_worker={"CPU": 0.5}),
            run_config=ray.train.RunConfig(name="trial", storage_path=str(tmp_path / "runs")),
        ).fit()
    finally:
        signal.signal(signal.SIGINT, before)
    assert [(tmp_path / f"{rank}.txt").read_text() for rank in (0, 1)] == ["gloo 2 3.0 0", "gloo 2 3.0 1"]


def test_workers_where_flags_leave_something_open() -> None:
    cpus, gpus = [{"CPU": 4.0}], [{"CPU": 16.0, "GPU": 2.0}, {"CPU": 4.0}]
    assert resources.default_workers(cpus, 2, None, None) == Workers(count=2, cpus=1, gpus=0)
    assert resources.default_workers(gpus, 2, None, None) == Workers(count=2, cpus=8, gpus=1)
    assert resources.default_workers(gpus, 1, 3, 0.5) == Workers(count=1, cpus=3, gpus=0.5)
    with pytest.raises(ValueError, match=r"cannot share a GPU, but got --gpus-per-worker 0.5 with --workers 2"):
        resources.default_workers(gpus, 2, None, 0.5)


def test_how_many_runs_fit() -> None:
    nodes = [{"CPU": 5.0}, {"CPU": 2.0}]
    assert resources.trial_slots(nodes, Workers(count=1, cpus=2, gpus=0)) == 3
    assert resources.trial_slots(nodes, Workers(count=2, cpus=2, gpus=0)) == 1
    with pytest.raises(ValueError, match=r"asks for 4 workers x 2 CPU, but the cluster has 2 nodes with 7 CPUs"):
        resources.trial_slots(nodes, Workers(count=4, cpus=2, gpus=0))
