"""The node types that a cluster may start, as the head tells them; the whole way is in test_autoscaler.py."""

from __future__ import annotations

from typing import Any

from cluster.publish_node_types import node_types


def test_workers_of_which_there_may_be_some_are_published(gpu: dict[str, Any]) -> None:
    groups = node_types(gpu).node_group_configs
    assert {group.name: (dict(group.resources), group.max_count) for group in groups} == {
        "gpu_1": ({"CPU": 8, "GPU": 1}, 8),
        "gpu_4": ({"CPU": 48, "GPU": 4}, 4),
    }  # neither the head nor gpu_8, of which there may be none


def test_a_cluster_of_a_head_alone_publishes_nothing(gpu: dict[str, Any]) -> None:
    gpu["available_node_types"] = {"head": gpu["available_node_types"]["head"]}
    assert not node_types(gpu).node_group_configs
