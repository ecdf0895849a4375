"""The autoscaler's access to AWS, which takes a node on demand where there is no spot capacity for it.

Ray 2.60's autoscaler does not do that with node types: one that AWS refuses is asked for again and again, and a
second, on-demand type for the same demand is never tried. Only the head uses this class: ``spot_first.py CONFIG OUT``
rewrites what the launcher has put there, for ``ray start --autoscaling-config=OUT``.
"""

from __future__ import annotations

import copy
import json
import logging
import sys
from pathlib import Path
from typing import Any

from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler.node_launch_exception import NodeLaunchException

logger = logging.getLogger(__name__)

NO_SPOT = (
    "InsufficientInstanceCapacity",
    "MaxSpotInstanceCountExceeded",
    "SpotMaxPriceTooLow",
    "UnfulfillableCapacity",
    "Unsupported",  # what AWS says of a type that it offers on demand only
)
"""Codes of AWS that say: not as a spot instance, not in any zone, not now."""


class SpotFirst(AWSNodeProvider):
    """Ray's own, but for what happens when a spot request is refused."""

    def create_node(self, node_config: dict[str, Any], tags: dict[str, str], count: int) -> dict[str, Any]:
        """As spot instances where `node_config` asks for them; if AWS has none in any zone, on demand.

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


def use_in(config: dict[str, Any]) -> dict[str, Any]:
    """The launcher's config with this class as its provider."""
    config = copy.deepcopy(config)
    config["provider"] |= {"type": "external", "module": f"cluster.spot_first.{SpotFirst.__name__}"}
    return config


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    target.write_text(json.dumps(use_in(json.loads(source.read_text()))))
