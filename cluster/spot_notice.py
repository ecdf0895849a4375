"""On each worker of AWS: tells Ray when the instance is going to be taken back: ``spot_notice.py HEAD:PORT``.

AWS announces it two minutes before, in the metadata of the instance, which Ray 2.60 does not read. The node is drained:
nothing new is started on it, and the trials that run on it save (see `sweeps.execution.slots.training`).
"""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from datetime import datetime
from pathlib import Path

import ray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a file, it only has its own folder there
from cluster.private_ray import DrainNodeReason, GcsClient

METADATA = "http://169.254.169.254/latest"
"""Address of an instance's metadata, the same on all instances."""
PAUSE = 5.0
"""Seconds between two requests, as many as AWS recommends."""


def notice(metadata: str = METADATA) -> float | None:
    """Return when the instance will be taken back, in seconds since the epoch; None where that is not announced.

    Args:
        metadata: The address of the instance's metadata (version 2).

    Raises:
        OSError: The metadata service does not answer.
    """
    token = _request(f"{metadata}/api/token", method="PUT", headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"})
    try:
        text = _request(f"{metadata}/meta-data/spot/instance-action", headers={"X-aws-ec2-metadata-token": token})
    except urllib.error.HTTPError as error:
        if error.code == 404:  # no notice, or no spot instance
            return None
        raise
    return datetime.fromisoformat(json.loads(text)["time"].replace("Z", "+00:00")).timestamp()


def drain(address: str, host: str, deadline: float) -> bool:
    """Tell a cluster that one of its nodes is going to end.

    Args:
        address: The address of the head, HOST:PORT.
        host: The address of the node.
        deadline: The end of the node, in seconds since the epoch.

    Returns:
        True if the cluster has such a node and has accepted the notice.
    """
    gcs = GcsClient(address=address)
    nodes = [node_id for node_id, node in gcs.get_all_node_info().items() if node.node_manager_address == host]
    reason = DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
    told = [gcs.drain_node(node_id.hex(), reason, "spot notice", int(1000 * deadline))[0] for node_id in nodes]
    return any(told)


def _request(url: str, *, method: str = "GET", headers: dict[str, str]) -> str:
    with urllib.request.urlopen(urllib.request.Request(url, method=method, headers=headers), timeout=2) as answer:
        text: bytes = answer.read()
    return text.decode()


def main() -> None:
    """Ask the metadata again and again until there is a notice that Ray has accepted."""
    address = sys.argv[1]
    while True:
        try:
            deadline = notice()
            if deadline is not None and drain(address, ray.util.get_node_ip_address(), deadline):
                return
        except (OSError, RuntimeError):  # the metadata or the head does not answer; it may again
            pass
        time.sleep(PAUSE)


if __name__ == "__main__":
    main()
