"""Tells a cluster what its autoscaler may start: ``announce.py CONFIG`` on the head, once it runs.

Ray has a place for this, and the sweep looks there to learn how many trials will fit; but Ray 2.60's own autoscaler
leaves it empty, and a sweep would take a cluster of which only the head is up for one without workers.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import ray
from ray._raylet import GcsClient
from ray.core.generated.autoscaler_pb2 import ClusterConfig


def limits(config: dict[str, Any]) -> ClusterConfig:
    """The worker types of a launcher's config and how many of each fit under its max_workers, the largest first."""
    found, left = ClusterConfig(), config["max_workers"]
    types = {name: kind for name, kind in config["available_node_types"].items() if name != config["head_node_type"]}
    for name, kind in sorted(types.items(), key=lambda item: -item[1]["resources"].get("GPU", 0)):
        count = min(kind.get("max_workers", 0), left)
        left -= count
        if count:
            resources = {key: int(value) for key, value in kind["resources"].items()}
            found.node_group_configs.add(name=name, resources=resources, max_count=count)
    return found


if __name__ == "__main__":
    config = json.loads(Path(sys.argv[1]).read_text())
    ray.init("auto", log_to_driver=False, logging_level="ERROR")
    GcsClient(ray.get_runtime_context().gcs_address).report_cluster_config(limits(config).SerializeToString())
