"""One sweep on a cluster of real nodes that loses them all, some of them twice.

What a trial starts beside its workers runs on the head, so of the other nodes it can lose its workers only.

=====================================  ========================================================================
lost in mid-trial                      what happens
=====================================  ========================================================================
a node that has announced its end      the trial saves, and goes on from there on another node, when there is room
all nodes but the head                 it waits until there are nodes again, goes on from its last report
the head, and the driver with it       after `--resume` finished trials stay; the others go on as above
=====================================  ========================================================================

None of these is held against a trial that gets to its next checkpoint, see sweeps.execution.recovery. A worker or a
driver alone is lost in test_interruptions.py.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import signal
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from ray._raylet import GcsClient
from ray.cluster_utils import Cluster
from ray.core.generated.autoscaler_pb2 import DrainNodeReason
from ray.util.state import list_actors
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sweeps.execution.checkpoints import snapshot_file

pytestmark = [pytest.mark.timeout(420), pytest.mark.long]
STEPS = [3, 6, 9, 12, 15, 18, 21, 24]
MEMORY = {"object_store_memory": 80 * 2**20}


@pytest.fixture(scope="module")
def begin() -> Iterator[Callable[[], Cluster]]:
    """Starts a cluster of a head, which takes no workers."""
    clusters: list[Cluster] = []

    def start() -> Cluster:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        head = {"num_cpus": 0, "include_dashboard": True, "dashboard_port": port, **MEMORY}
        clusters.append(Cluster(initialize_head=True, head_node_args=head))
        return clusters[-1]

    yield start
    for cluster in clusters:
        cluster.shutdown()


def add_nodes(cluster: Cluster, number: int) -> None:
    for _ in range(number):
        cluster.add_node(num_cpus=2, **MEMORY)


def kill(cluster: Cluster, node: Any) -> None:
    cluster.remove_node(node, allow_graceful=False)


def alive(cluster: Cluster) -> list[Any]:
    return list_actors(address=cluster.address, filters=[("state", "=", "ALIVE")], detail=True, timeout=60)


def announce_end(cluster: Cluster, node: Any, seconds: float) -> None:
    """What a cloud's notice that it takes a machine back is to Ray."""
    preemption = DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
    deadline = int(1000 * (time.time() + seconds))
    assert GcsClient(address=cluster.address).drain_node(node.node_id, preemption, "", deadline)[0]


def wait_for_save(trials: Path, timeout: float = 60) -> tuple[str, int]:
    """The trial whose newest checkpoint is from between two reports, and its iteration."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        for trial in ("base", "0000"):
            with contextlib.suppress(ValueError):  # it is just being written
                newest = json.loads(snapshot_file(trials / trial).read_text())["latest_checkpoint_result"]
                if (iteration := newest["metrics"]["iteration"]) not in STEPS:
                    return trial, int(iteration)
        time.sleep(0.05)
    raise AssertionError(f"no trial has saved within {timeout} s")


@pytest.fixture(scope="module")
def sweep(
    begin: Callable[[], Cluster], start: Callable[..., Any], tiny: list[str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """The sweep when it is over, and what was seen of it before."""
    storage = tmp_path_factory.mktemp("storage")
    cluster = begin()
    add_nodes(cluster, 2)
    driver = start(
        "--address",
        cluster.address,
        "--storage",
        storage,
        "--name",
        "spot",
        "--trials",
        1,
        "--scheduler",
        "none",
        "--concurrency",
        2,
        *tiny,
        "--set",
        f"training.iterations={STEPS[-1]}",
        "--set",
        "training.log_interval=1",
    )
    driver.wait_for("base  iteration 3 of")
    driver.wait_for("0000  iteration 3 of")
    before = alive(cluster)
    victim, other = cluster.worker_nodes
    head, logs = cluster.head_node.node_id, Path(cluster.head_node.get_logs_dir_path(), "train")
    announce_end(cluster, victim, seconds=30)
    label, saved = wait_for_save(storage / "spot" / "trials")
    kill(cluster, victim)
    killed = time.time()
    goes_on = f"{label}  resumed from(?s:.*){label}  iteration"
    driver.wait_for(goes_on, 180)
    kill(cluster, other)
    add_nodes(cluster, 1)
    driver.wait_for(f"{goes_on}(?s:.*){goes_on}", 180)
    kill(cluster, *cluster.worker_nodes)
    kill(cluster, cluster.head_node)
    os.killpg(driver.process.pid, signal.SIGKILL)
    driver.process.wait()

    cluster = begin()
    add_nodes(cluster, 1)
    resumed = start("--address", cluster.address, "--storage", storage, "--resume", "spot", "--concurrency", 1)
    code = resumed.wait(240)
    return {
        "folder": storage / "spot",
        "before": before,
        "head": head,
        "outputs": [driver.output, resumed.output],
        "code": code,
        "label": label,
        "logs": logs,
        "saved": saved,
        "killed": killed,
    }


def reported(output: str, trial: str) -> list[tuple[str, int]]:
    """What a driver has said of a trial's iterations; the first part is "" or says that it was resumed."""
    found = re.findall(rf"{trial}  (resumed from its checkpoint at )?iteration (\d+) of", output)
    return [(how, int(iteration)) for how, iteration in found]


def test_it_ends_well(sweep: dict[str, Any]) -> None:
    assert sweep["code"] == 0, sweep["outputs"]


def test_a_trials_workers_share_a_node(sweep: dict[str, Any]) -> None:
    nodes = defaultdict(list)
    for actor in sweep["before"]:
        if actor.class_name.endswith("RayTrainWorker"):
            nodes[actor.placement_group_id].append(actor.node_id)
    assert len(nodes) == 2
    assert all(len(of_trial) == 2 and len(set(of_trial)) == 1 for of_trial in nodes.values()), nodes
    assert len({of_trial[0] for of_trial in nodes.values()}) == 2


def test_all_but_the_workers_is_on_the_head(sweep: dict[str, Any]) -> None:
    kinds = defaultdict(set)
    for actor in sweep["before"]:
        kinds[actor.node_id == sweep["head"]].add(actor.class_name.rpartition(".")[2])
    assert kinds[False] == {"RayTrainWorker"}
    assert {"ResourceTrainable", "PreemptionWatcher", "SynchronizationActor"} <= kinds[True]


def test_finished_trials_are_kept(sweep: dict[str, Any]) -> None:
    first, second = sweep["outputs"]
    for trial in ("base", "0000"):
        assert (f"{trial}  complete" in first) != (f"{trial}  started" in second)


def test_no_iteration_is_done_twice(sweep: dict[str, Any]) -> None:
    lost = sweep["label"]
    steps = reported(sweep["outputs"][0], lost)
    assert [how for how, _ in steps].count("resumed from its checkpoint at ") == 2, steps
    steps += reported(sweep["outputs"][1], lost)
    assert [iteration for how, iteration in steps if not how] == STEPS, steps
    for (_, before), (how, after) in itertools.pairwise(steps):
        assert after == before if how else after > before, steps


def test_no_loss_of_a_node_is_held_against_the_next(sweep: dict[str, Any]) -> None:
    """The second is not announced, so a worker may be missed before its node is, and counts as one that has failed."""
    logs = "".join(file.read_text() for file in sweep["logs"].glob("*sys-controller*"))
    counts = re.findall(r"\[FailurePolicy\] (\w+)\\n  Source: ([\w ]+)\\n  Error count: (\d+)", logs)
    assert [(decision, count) for decision, _, count in counts] == [("RETRY", "1")] * 2
    assert counts[0][1] == "preemption"


def test_curves_have_every_point_once(sweep: dict[str, Any]) -> None:
    for trial in ("base", "0000"):
        events = EventAccumulator(str(sweep["folder"] / "trials" / trial)).Reload()
        assert [event.step for event in events.Scalars("eval/mIoU")] == STEPS, trial
        assert [event.step for event in events.Scalars("loss/source")] == list(range(1, STEPS[-1] + 1)), trial


def test_a_node_that_announces_its_end_loses_nothing_that_was_done_before(sweep: dict[str, Any]) -> None:
    events = EventAccumulator(str(sweep["folder"] / "trials" / sweep["label"])).Reload()
    before = [event.step for event in events.Scalars("loss/source") if event.wall_time < sweep["killed"]]
    assert before == list(range(1, sweep["saved"] + 1))


def test_the_study_has_each_value_once(sweep: dict[str, Any]) -> None:
    study = optuna.load_study(study_name="spot", storage=f"sqlite:///{sweep['folder'] / 'study.db'}")
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE]
    assert list(study.trials[0].intermediate_values) == STEPS


def test_a_lost_node_is_not_talked_about_at_length(sweep: dict[str, Any]) -> None:
    assert "Raylet" not in sweep["outputs"][0]
