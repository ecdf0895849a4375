"""What the nodes of a cluster must see: the folder of the sweep, and what its configs name."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

import pgpc
from sweeps.execution.joining import shared_folder
from sweeps.execution.joining.shared_folder import Look, check_run, local_places, look, mark_run, refuse

SEEN = Look("10.0.0.1", "", [])


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_folder, "PATIENCE", 0.3)


def test_a_node_looks_at_the_folder_and_the_places(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    assert look("n", str(mark), []).problem == "is missing, or is another one,"
    mark.touch()
    assert look("n", str(mark), [str(tmp_path), str(tmp_path / "gone")]) == Look("n", "", [str(tmp_path / "gone")])
    assert len(list(tmp_path.iterdir())) == 2, "it has written beside the mark"


def test_a_folder_that_a_node_does_not_see_is_refused() -> None:
    refuse(Path("/results"), {}, [SEEN, SEEN])
    looks = [SEEN, Look("10.0.0.2", "is missing,", []), Look("10.0.0.3", "is missing,", ["/data"])]
    message = r"but /results is missing, on 10.0.0.2, 10.0.0.3. Name one with --storage that all of them see, such as"
    with pytest.raises(ValueError, match=message):
        refuse(Path("/results"), {"/data": "data.source"}, looks)
    message = r"^data.source must name what all nodes .* but /data is not there on 10.0.0.2, 10.0.0.4. Put it on a file"
    with pytest.raises(ValueError, match=message):
        looks = [SEEN, Look("10.0.0.2", "", ["/data"]), Look("10.0.0.4", "", ["/data"])]
        refuse(Path("/results"), {"/data": "data.source"}, looks)


def test_places_are_what_configs_name_on_this_machine() -> None:
    config = pgpc.override(
        pgpc.preset("streets"), {"data.source": "/data/a", "data.target": "s3://b/c", "model.pretrained": "/w.pth"}
    )
    named = pgpc.override(config, {"model.pretrained": "imagenet"})  # which each node fetches for itself
    assert local_places([config, named, pgpc.preset("streets")]) == {
        "/data/a": "data.source",
        "/w.pth": "model.pretrained",
    }


def test_a_worker_on_a_node_that_does_not_see_the_run_does_not_train(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="what the head has written in .*0000 is not there on .* Name one with --storage"
    ):
        check_run(tmp_path / "trials" / "0000")
    mark_run(tmp_path / "trials" / "0000")
    check_run(tmp_path / "trials" / "0000")


@pytest.fixture
def half_blind(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a cluster of two nodes, and a folder in whose place one of them has another, empty one."""
    folder = tmp_path / "results"
    folder.mkdir()
    small = 80 * 2**20
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        dashboard = {"include_dashboard": True, "dashboard_port": free.getsockname()[1]}  # a driver asks it
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": small, **dashboard})
    join = f"{sys.executable} -m ray.scripts.scripts start --block --num-cpus 1 --object-store-memory {small}"
    script = f"mount -t tmpfs tmpfs {folder} && exec {join} --address {cluster.address}"
    log = tmp_path / "blind.log"
    with log.open("w") as output:
        blind = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script],
            start_new_session=True,
            stdout=output,
            stderr=output,
        )
    try:
        ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)
        deadline = time.monotonic() + 300
        while len(ray.nodes()) < 2:
            assert time.monotonic() < deadline and blind.poll() is None, log.read_text()
            time.sleep(0.5)
        ray.shutdown()
        yield cluster.address, folder
    finally:
        ray.shutdown()
        os.killpg(blind.pid, signal.SIGKILL)
        blind.wait()
        cluster.shutdown()


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="takes root and unshare")
def test_a_cluster_with_a_node_that_has_another_folder_trains_nothing(
    half_blind: tuple[str, Path], start: Callable[..., Any], tiny: list[str]
) -> None:
    address, folder = half_blind
    driver = start("--address", address, "--storage", folder, "--name", "blind", "--trials", 1, *tiny)
    assert driver.wait() == 2, driver.output
    refused = (
        r"must be one that all nodes of the cluster see and write, but \S+/blind is missing, or is another one, on"
    )
    assert re.search(refused, driver.output), driver.output
    assert "started" not in driver.output and not list(folder.rglob(f"{shared_folder._MARK}*")), "marks are removed"
