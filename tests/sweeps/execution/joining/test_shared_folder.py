"""What the nodes of a cluster must see: the folder of the sweep, and what its configs name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

import pgpc
from sweeps.execution.joining import shared_folder
from sweeps.execution.joining.shared_folder import Look, check_run, check_shared, local_places, look, mark_run, refuse

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


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[list[str]]:
    """The addresses of a head, which takes no trials, and of a node, which does; this process is connected to them."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        cluster.add_node(num_cpus=1, node_ip_address="127.0.0.2")
        ray.init(cluster.address, log_to_driver=False)
        yield [node["NodeManagerAddress"] for node in ray.nodes()]
    finally:
        ray.shutdown()
        cluster.shutdown()


def looking(elsewhere: Path) -> Callable[[str, str, Sequence[str]], Look]:
    """`look` of nodes of one machine, as if the folder of 127.0.0.2 were a folder of its own."""

    def look_there(node: str, mark: str, places: Sequence[str]) -> Look:
        shared_folder.PATIENCE = 0.3  # in the process that looks
        return look(node, str(elsewhere / Path(mark).name) if node == "127.0.0.2" else mark, places)

    return look_there


@pytest.mark.slow
def test_every_node_is_asked_before_the_first_trial(
    two_nodes: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder, elsewhere = tmp_path / "sweep", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    check_shared(folder, {str(tmp_path): "data.source"})
    assert not list(folder.iterdir()), "a mark of it is left"
    # The head takes no trials and needs no data; the other node does.
    message = r"^data.target must name what all nodes .* but /nowhere is not there on 127\.0\.0\.2\. Put it"
    with pytest.raises(ValueError, match=message):
        check_shared(folder, {str(tmp_path): "data.source", "/nowhere": "data.target"})
    monkeypatch.setattr(shared_folder, "look", looking(elsewhere))
    with pytest.raises(ValueError, match=r"is missing, or is another one, on 127\.0\.0\.2\. Name one with --storage"):
        check_shared(folder, {})
    assert not list(folder.iterdir())
    assert len(two_nodes) == 2


@pytest.mark.slow
def test_a_node_that_goes_while_it_is_asked_is_left_to_its_trials(
    two_nodes: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def die(node: str, mark: str, places: Sequence[str]) -> Look:
        if node == "127.0.0.2":
            os._exit(1)
        return Look(node, "is missing,", [])

    monkeypatch.setattr(shared_folder, "look", die)
    head = next(address for address in two_nodes if address != "127.0.0.2")
    with pytest.raises(ValueError, match=f"is missing, on {head}. Name"):
        check_shared(tmp_path, {})
