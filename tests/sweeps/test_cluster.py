"""What a cluster of the sweep's own gives to all its processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import ray

from sweeps import cluster


@pytest.fixture(scope="module")
def connected() -> Iterator[str]:
    """The address of a cluster of our own."""
    cluster.connect(None)
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


def test_every_process_knows_the_address(connected: str) -> None:
    variable = ray.remote(lambda: os.environ["RAY_ADDRESS"]).options(num_cpus=0)
    assert ray.get(variable.remote()) == connected
    assert cluster.PORT not in os.environ


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
