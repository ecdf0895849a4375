"""Starting or joining a Ray cluster, and which nodes it has; `sweeps.execution.capacity` says what fits into it.

With T trials at a time, each on W GPUs, so on T x W of them, what runs out first, and what moves it:

- the head's memory. Besides the driver each slot keeps there what a node that is lost must not take with it: Tune's
  actor, and Train's watcher and meeting point: three processes, 1.1 GB when they were six, as measured (pages that they
  share counted in each). More workers a trial (--workers), or a head with more memory.
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

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import ray

from sweeps.common.private_ray import HEAD_NODE_RESOURCE_NAME, cluster_state
from sweeps.execution.joining.auth_token import protect_token
from sweeps.execution.joining.cluster_address import NO_CLUSTER, check_cluster_address

_TEMPORARY = ("RAY_TMPDIR", "TMPDIR") if sys.platform.startswith("linux") else ("RAY_TMPDIR",)
"""Environment variables that name the folder below which Ray keeps a session; the first that is set counts."""
_LONGEST_SOCKET = "plasma_store"  # of those that Ray makes
_WORKER_ENV = {
    # Reports are handed over at this interval, by default 2 s each.
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    # How often it is asked whether a machine is about to be taken away, by default every 5 s; some clouds give it 30.
    "RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "1",
    # Train's controller, which runs in Tune's processes, waits inside its event loop; Ray would warn of it each time.
    "RAY_WARN_BLOCKING_GET_INSIDE_ASYNC": "0",
}


def connect(address: str | None, variables: Mapping[str, str] = MappingProxyType({})) -> None:
    """Join the cluster at `address`, or start one on this machine that ends with this process.

    Args:
        address: Its address; None for one of its own.
        variables: Environment variables of all processes that the sweep starts in it.

    Raises:
        ValueError: There is no cluster at the address, or others may read the token of clusters; or Ray does not start
            on this machine, or the path of the folder for temporary files is too long for it.
    """
    protect_token()
    if address:
        check_cluster_address(address)
    else:
        _check_temporary_folder()
    env = {**{key: os.environ.get(key, value) for key, value in _WORKER_ENV.items()}, **variables}
    if not address:
        env["RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"] = "0"  # a process of every trial, and this machine is not a spot one
    if "PGPC_CACHE" in os.environ:
        env["PGPC_CACHE"] = str(Path(os.environ["PGPC_CACHE"]).expanduser().absolute())
    try:
        with _sessions_of_their_own(), _own_handler():
            ray.init(
                address=address or "local",
                # A dozen processes that nothing here asks; those of another cluster are its owner's.
                include_dashboard=None if address else False,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
                runtime_env={"env_vars": env},
            )
    except (ConnectionError, ray.exceptions.AuthenticationError) as error:
        raise ValueError(NO_CLUSTER.format(address=address, error=error)) from None
    except Exception as error:  # of no type of its own when Ray's start takes longer than half a minute
        if address or "timed out during startup" not in str(error):
            raise
        raise ValueError(
            f"Ray must start on this machine within half a minute, but it did not ({error}). Where other programs keep "
            "the machine busy, wait for them, then give the command again; nothing is lost. Else Ray's logs tell more: "
            f"{_temporary_folder()[0]}/ray/session_latest/logs."
        ) from None
    protect_token()


def _check_temporary_folder() -> None:
    """Refuse a folder for temporary files in which Ray's sockets would have longer paths than a socket can have."""
    folder, variable = _temporary_folder()
    session = f"/ray/session_2026-01-31_23-59-59_999999_{os.getpid()}/sockets/{_LONGEST_SOCKET}"
    most = (103 if sys.platform == "darwin" else 107) - len(session)
    if len(os.fsencode(folder)) > most:
        raise ValueError(
            f"{variable} must have at most {most} bytes, since the paths of the sockets that Ray makes below it are "
            f"limited by the operating system, but got {folder!r}. Set RAY_TMPDIR to a folder with a short name, such "
            "as /tmp."
        )


def _temporary_folder() -> tuple[str, str]:
    """Return the folder below which Ray keeps a session, and the variable that names it; "" where none does."""
    variable = next((name for name in _TEMPORARY if name in os.environ), "")
    return os.environ.get(variable, "/tmp"), variable


_starting_ray = threading.Event()
# Python calls it in every process that is forked from this one, as Ray's are; see `_sessions_of_their_own`.
os.register_at_fork(after_in_child=lambda: os.setsid() if _starting_ray.is_set() else None)


@contextlib.contextmanager
def _sessions_of_their_own() -> Iterator[None]:
    """Give each process that is started meanwhile a session, and so a process group, of its own.

    A batch system, `timeout` and a terminal that is closed send their signal to the whole group of the driver. Ray must
    outlive it, until the driver has ended the sweep. Where the driver is killed, the system kills Ray with it.
    """
    _starting_ray.set()
    try:
        yield
    finally:
        _starting_ray.clear()


@contextlib.contextmanager
def _own_handler() -> Iterator[None]:
    """Keep this process's handler of SIGTERM, in the place of which Ray sets one of its own."""
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM) if is_main else None
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def nodes() -> list[dict[str, float]]:
    """Return the resources of every node that is alive or, where an autoscaler can start more, that it can start."""
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    config = cluster_state.get_cluster_config()
    groups = config.node_group_configs if config else []
    scaled = [dict(group.resources) for group in groups for _ in range(_count(group.max_count))]
    return max(alive, scaled, key=lambda nodes: sum(n.get("GPU", 0) * 1e6 + n.get("CPU", 0) for n in nodes))


def is_gone(address: str) -> bool:
    """Return whether nobody listens any more at the address of a cluster that was there."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=1).close()
    except ConnectionRefusedError:
        return True
    except OSError:  # whatever it is, it need not be so for long
        return False
    return False


def head_memory() -> float | None:
    """Return the bytes of memory that Ray has found free on the head; None where it does not say."""
    for node in ray.nodes():
        if node["Alive"] and HEAD_NODE_RESOURCE_NAME in node["Resources"]:
            found: float | None = node["Resources"].get("memory")
            return found
    return None


def _count(maximum: int) -> int:
    """Return the number of nodes that an autoscaler may start; it says -1 for any."""
    return 1000 if maximum < 0 else maximum
