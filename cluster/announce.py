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
    """The worker types of a launcher's config, each with its resources and how many there may be."""
    found = ClusterConfig()
    for name, kind in config["available_node_types"].items():
        if name != config["head_node_type"] and kind["max_workers"]:
            found.node_group_configs.add(name=name, resources=kind["resources"], max_count=kind["max_workers"])
    return found


if __name__ == "__main__":
    config = json.loads(Path(sys.argv[1]).read_text())
    ray.init("auto", log_to_driver=False, logging_level="ERROR")
    GcsClient(ray.get_runtime_context().gcs_address).report_cluster_config(limits(config).SerializeToString())
