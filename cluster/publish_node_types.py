"""On the head: tells the cluster which nodes its autoscaler may start: ``publish_node_types.py CONFIG``, once Ray runs.

Ray has a place for this, and the sweep looks there to learn how many trials will fit; but Ray 2.60's own autoscaler
leaves it empty, and a sweep would take a cluster of which only the head is up for one without workers.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a file, it only has its own folder there
from cluster.private_ray import ClusterConfig, GcsClient


def node_types(config: Mapping[str, Any]) -> ClusterConfig:
    """Return the worker types of a launcher's config, each with its resources and largest number of nodes."""
    found = ClusterConfig()
    for name, kind in config["available_node_types"].items():
        if name != config["head_node_type"] and kind["max_workers"]:
            found.node_group_configs.add(name=name, resources=kind["resources"], max_count=kind["max_workers"])
    return found


def main() -> None:
    """Publish the node types of the config that the command line names."""
    config = json.loads(Path(sys.argv[1]).read_text())
    ray.init("auto", log_to_driver=False, logging_level=logging.ERROR)
    client = GcsClient(ray.get_runtime_context().gcs_address)
    client.report_cluster_config(node_types(config).SerializeToString())


if __name__ == "__main__":
    main()
