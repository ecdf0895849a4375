"""The autoscaler's access to AWS, which takes a node on demand where there is no spot capacity for it.

Ray 2.60's autoscaler does not do that with node types: one that AWS refuses is asked for again and again, and a
second, on-demand type for the same demand is never tried.
"""

from __future__ import annotations

import logging
from typing import Any

from cluster.private_ray import AWSNodeProvider, NodeLaunchException

logger = logging.getLogger(__name__)

NO_SPOT = (
    "InsufficientInstanceCapacity",
    "MaxSpotInstanceCountExceeded",
    "SpotMaxPriceTooLow",
    "UnfulfillableCapacity",
    "Unsupported",  # what AWS says of a type that it offers on demand only
)
"""Codes of AWS which mean that there is no such spot instance in any zone for now."""


class SpotFirst(AWSNodeProvider):
    """Ray's own access to AWS, but for what happens when a spot request is refused."""

    def create_node(self, node_config: dict[str, Any], tags: dict[str, str], count: int) -> dict[str, Any]:
        """Start nodes, as spot instances where `node_config` asks for them; if AWS has none in any zone, on demand.

        Args:
            node_config: The description of the nodes, as EC2 takes it.
            tags: The tags that the nodes get.
            count: The number of nodes.

        Returns:
            Data of the nodes, by their ids.

        Raises:
            NodeLaunchException: AWS refuses these too, or for another reason.
        """
        try:
            return super().create_node(node_config, tags, count)
        except NodeLaunchException as refusal:
            if "InstanceMarketOptions" not in node_config or refusal.category not in NO_SPOT:
                raise
            logger.warning("%s as spot: %s; on demand instead", node_config["InstanceType"], refusal.category)
        on_demand = {key: value for key, value in node_config.items() if key != "InstanceMarketOptions"}
        return super().create_node(on_demand, tags, count)
