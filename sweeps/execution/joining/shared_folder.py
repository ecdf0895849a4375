"""Whether all nodes of a cluster see the folder of a sweep and the files that its configs name.

Where they do not, each trial would train up to its first checkpoint and fail there. The nodes that are there are asked
before the first trial; one that joins later is asked by each worker, before it trains.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pgpc.config import Config, flatten, place_keys
from sweeps.definition.sweep import holds_anywhere

PATIENCE = 10.0
"""Seconds until a file that one node has written must be seen by another; network file systems take some."""
ANSWER_SECONDS = 120.0
"""Seconds that a node has to answer; one that does not may be about to go, and is left to its trials."""
_MARK = ".seen-by-all"
SHARE_IT = (
    "Name one with --storage that all of them see, such as a folder of NFS (cluster/gpu.yaml makes one on AWS), or "
    "leave --address out to use this machine alone."
)


class Look(NamedTuple):
    """What a node sees.

    Attributes:
        node: The address of the node.
        problem: What is wrong with the folder there; "" for nothing.
        missing: Which of the places are not there.
    """

    node: str
    problem: str
    missing: list[str]


def check_shared(folder: Path, places: Mapping[str, str]) -> None:
    """Refuse a cluster with a node that does not see what the trials need.

    Args:
        folder: The folder of the sweep, which is there.
        places: Path -> key of the config that names it, see `local_places`.

    Raises:
        ValueError: A node does not see the folder, cannot write it, or lacks a place.
        OSError: The folder cannot be written.
    """
    nodes = [node for node in ray.nodes() if node["Alive"]]
    if len(nodes) < 2:
        return
    mark = folder / f"{_MARK}-{uuid.uuid4().hex}"
    mark.touch()
    try:
        refuse(folder, places, _looks(nodes, mark, list(places)))
    finally:
        for file in folder.glob(f"{mark.name}*"):
            file.unlink(missing_ok=True)


def _looks(nodes: Sequence[Mapping[str, Any]], mark: Path, places: Sequence[str]) -> list[Look]:
    """Return what those nodes see that answer."""
    ask = ray.remote(look)
    asked = []
    for node in nodes:
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        trains = any(node["Resources"].get(kind) for kind in ("CPU", "GPU"))
        task = ask.options(num_cpus=0, max_retries=0, scheduling_strategy=there)
        asked.append(task.remote(node["NodeManagerAddress"], str(mark), list(places) if trains else []))
    answers, _ = ray.wait(asked, num_returns=len(asked), timeout=ANSWER_SECONDS)
    found = []
    for answer in answers:
        with contextlib.suppress(ray.exceptions.RayError):  # a node that has gone meanwhile
            found.append(ray.get(answer))
    return found


def look(node: str, mark: str, places: Sequence[str]) -> Look:
    """Return what this node sees, and leave a file beside the mark.

    Args:
        node: The address of the node.
        mark: Path of the file that the driver has written.
        places: Paths of what the trials read.
    """
    problem = "" if _appears(Path(mark)) else "is missing, or is another one,"
    if not problem:
        try:
            Path(f"{mark}-{uuid.uuid4().hex}").touch()
        except OSError as error:
            problem = f"cannot be written ({error.strerror})"
    return Look(node, problem, [place for place in places if not Path(place).exists()])


def refuse(folder: Path, places: Mapping[str, str], looks: Sequence[Look]) -> None:
    """Refuse what nodes have seen where a trial could not do with it; see `check_shared`.

    Args:
        folder: The folder of the sweep.
        places: Path -> key of the config that names it.
        looks: What each node has seen.
    """
    for problem in dict.fromkeys(found.problem for found in looks if found.problem):
        where = ", ".join(found.node for found in looks if found.problem == problem)
        raise ValueError(
            f"The results folder must be one that all nodes of the cluster see and write, but {folder} {problem} on "
            f"{where}. {SHARE_IT}"
        )
    for place in dict.fromkeys(place for found in looks for place in found.missing):
        where = ", ".join(found.node for found in looks if place in found.missing)
        raise ValueError(
            f"{places[place]} must name what all nodes of the cluster have, but {place} is not there on {where}. Put "
            "it on a file system that all of them see; shards may also be on S3 (s3://BUCKET/NAME)."
        )


def local_places(configs: Sequence[Config]) -> dict[str, str]:
    """Return the paths that configs name for their trainings to read, each with the key that names it."""
    named = [(key, value) for config in configs for key, value in flatten(config).items() if key in place_keys()]
    return {path: key for key, path in named if path and not holds_anywhere(path)}


def mark_run(directory: Path) -> None:
    """Leave in a run's directory what its workers look for before they train; called on the head.

    Raises:
        OSError: The directory cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    (directory / _MARK).touch()


def check_run(directory: Path) -> None:
    """Refuse to train where the run's directory is not the one that the head sees; called by each worker.

    Raises:
        ValueError: It is not.
    """
    if not _appears(directory / _MARK):
        raise ValueError(
            "The results folder must be one that all nodes of the cluster see, but what the head has written in "
            f"{directory} is not there on {ray.util.get_node_ip_address()}. {SHARE_IT}"
        )


def _appears(file: Path) -> bool:
    """Return whether a file is there, or comes to be seen within `PATIENCE`."""
    deadline = time.monotonic() + PATIENCE
    while not file.exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True
