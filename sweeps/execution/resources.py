"""Starting or joining a Ray cluster, and whether a sweep fits into it.

With T trials at a time, each on W GPUs, so on T x W of them, what runs out first, and what moves it:

- the head's memory. Besides the driver each trial keeps there what a node that is lost must not take with it: Tune's
  actor and its queue, and Train's controller, cleaner, watcher and meeting point: six processes, 1.1 GB
  a trial as measured (pages that they share counted in each). More workers a trial (--workers), or a head with more
  memory.
- the driver's time. One process takes every report, asks the pruner and writes to the study: T reports per evaluation
  interval, and the results and the report anew, in at most a tenth of the time. Without these a trial of a few
  reports takes 0.2 s of it (tests.benchmarks.sweep_scale). Longer intervals (training.eval_interval).
- the study. Only the driver writes to it, and it lies on the head's own disk, so that its database is no limit before
  the driver is; but each suggestion reads all earlier trials (--search random or qmc do not need them).
- the results folder. T checkpoints per interval go through the head's network and disk. A head with more of both.
- data. Each node downloads each shard once, when its first trial starts, however many trials follow: so many nodes
  times the shards' bytes, in one request per shard. S3 answers thousands of requests a second; packing into fewer
  shards moves it.
- instances. The account's quotas, and the capacity of one region, before any of these at a thousand GPUs.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Sequence
from pathlib import Path

import ray
from ray.util.state import list_actors

from sweeps.common.private_ray import build_address, cluster_state
from sweeps.execution.joining.auth_token import protect_token
from sweeps.execution.joining.cluster_address import NO_CLUSTER, check_cluster_address
from sweeps.search.trial_spec import Workers

PORT = "RAY_GCS_SERVER_PORT"  # environment variable: where the cluster that is started next is to listen
STATE_API_TIMEOUT = 60.0
"""Seconds that the dashboard gets to answer; it starts a few seconds after the cluster."""
_WORKER_ENV = {
    # Reports are handed over at this interval, by default 2 s each.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    # How often it is asked whether a machine is about to be taken away, by default every 5 s; some clouds give it 30.
    "RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "1",
    # Train gives its controller this variable; with the same on the whole job the controller can be an idle process.
    "RAY_WARN_BLOCKING_GET_INSIDE_ASYNC": "0",
}


def connect(address: str | None) -> None:
    """Join the cluster at `address`, or start one on this machine that ends with this process.

    Raises:
        ValueError: There is no cluster at the address, it cannot free the workers of stopped trials, or others may read
            the token of clusters.
    """
    protect_token()
    if address:
        check_cluster_address(address)
    env = {key: os.environ.get(key, value) for key, value in _WORKER_ENV.items()}
    if not address:
        env["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] = "0"  # a process of every trial, and this machine is not a spot one
        env["RAY_ADDRESS"] = reserve_address()
    elif address != "auto":
        env["RAY_ADDRESS"] = address
    if "PGPC_CACHE" in os.environ:
        env["PGPC_CACHE"] = str(Path(os.environ["PGPC_CACHE"]).expanduser().absolute())
    try:
        ray.init(
            address=address or "local",
            include_dashboard=None if address else True,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            runtime_env={"env_vars": env},
        )
    except (ConnectionError, ray.exceptions.AuthenticationError) as error:
        raise ValueError(NO_CLUSTER.format(address=address, error=error)) from None
    finally:
        os.environ.pop(PORT, None)
    protect_token()
    _check_state_api()


def reserve_address() -> str:
    """Return the address that the cluster which is started next is going to have.

    What frees a stopped trial's workers (see `_check_state_api`) looks for its own cluster by itself. Where several run
    on the machine, it finds it by the environment variable RAY_ADDRESS only, which must be known before the start.
    """
    host = ray.util.get_node_ip_address()
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    os.environ[PORT] = str(port)
    return str(build_address(host, port))


def _check_state_api() -> None:
    """Refuse a cluster whose State API, which the dashboard serves, does not answer.

    A stopped trial's workers are freed by a helper of Ray Train that asks it. Where nothing answers, they stay and the
    next trials wait for ever: https://github.com/ray-project/ray/issues/54305.
    """
    deadline = time.monotonic() + STATE_API_TIMEOUT
    while True:
        try:
            # Without an address it fails where there are several clusters, such as two sweeps on one machine.
            list_actors(ray.get_runtime_context().gcs_address, limit=1, timeout=10)
            return
        except Exception as error:  # whatever it is: connection, HTTP, protocol; the dashboard may still be starting
            if time.monotonic() > deadline:
                raise ValueError(
                    "Ray's State API must answer, or the workers of a stopped trial are never freed, but it does not "
                    f"({type(error).__name__}: {error}). Install `ray[default]` on the head node and start it with its "
                    "dashboard (`ray start --head --include-dashboard=true`)."
                ) from None
            time.sleep(1)


def nodes() -> list[dict[str, float]]:
    """Return the resources of every node that is alive or, where an autoscaler can start more, that it can start."""
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    config = cluster_state.get_cluster_config()
    groups = config.node_group_configs if config else []
    scaled = [dict(group.resources) for group in groups for _ in range(_count(group.max_count))]
    return max(alive, scaled, key=lambda nodes: sum(n.get("GPU", 0) * 1e6 + n.get("CPU", 0) for n in nodes))


def _count(maximum: int) -> int:
    """Return the number of nodes that an autoscaler may start; it says -1 for any."""
    return 1000 if maximum < 0 else maximum


def default_workers(nodes: Sequence[dict[str, float]], count: int, cpus: float | None, gpus: float | None) -> Workers:
    """Return the workers of a trial where flags leave something open.

    A worker takes one GPU where the cluster has any, with that GPU's share of the CPUs (at most 8, for loading data);
    without GPUs it takes one CPU.

    Args:
        nodes: The resources of each node.
        count: The number of workers.
        cpus: CPUs of each worker; None where the user has not said it.
        gpus: GPUs of each worker; None where the user has not said it.

    Raises:
        ValueError: Several workers would have to share a GPU.
    """
    cluster_gpus = sum(n.get("GPU", 0) for n in nodes)
    if gpus is None:
        gpus = 1 if cluster_gpus else 0
    if cpus is None:
        share = sum(n.get("CPU", 0) for n in nodes if n.get("GPU")) / cluster_gpus if cluster_gpus else 0
        cpus = max(1, min(8, int(share * gpus)))
    if 0 < gpus < 1 and count > 1:
        raise ValueError(
            f"Workers of one trial cannot share a GPU, but got --gpus-per-worker {gpus:g} with --workers {count}. "
            "Use --workers 1, or whole GPUs."
        )
    return Workers(count=count, cpus=cpus, gpus=gpus)


def trial_slots(nodes: Sequence[dict[str, float]], workers: Workers) -> int:
    """Return how many runs fit at the same time.

    Args:
        nodes: The resources of each node.
        workers: The workers of a run.

    Raises:
        ValueError: Not even one fits.
    """
    slots = 0
    for node in nodes:
        fits = [node.get("CPU", 0) // workers.cpus] if workers.cpus else []
        fits += [node.get("GPU", 0) // workers.gpus] if workers.gpus else []
        slots += int(min(fits))
    if slots >= workers.count:
        return slots // workers.count
    cpus, gpus = (sum(node.get(kind, 0) for node in nodes) for kind in ("CPU", "GPU"))
    has = f"{len(nodes)} node{'s' * (len(nodes) != 1)} with {cpus:g} CPUs and {gpus:g} GPUs in all"
    remedy = "--gpus-per-worker 0 to train on CPUs, " if workers.gpus > gpus / workers.count else ""
    raise ValueError(
        f"A trial asks for {workers}, but the cluster has {has}, which has room for {slots} such workers. "
        f"Use {remedy}fewer --workers, or fewer --cpus-per-worker."
    )
