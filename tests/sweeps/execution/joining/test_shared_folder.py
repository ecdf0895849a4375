"""What the nodes of a cluster must see: the folder of the sweep, and what its configs name."""

from __future__ import annotations

from pathlib import Path

import pytest

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
