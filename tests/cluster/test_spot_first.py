"""Nodes on demand where there are no spot instances; with the real autoscaler in test_autoscaler.py."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from cluster.private_ray import AWSNodeProvider, NodeLaunchException
from cluster.spot_first import NO_SPOT, SpotFirst

SPOT = {"InstanceType": "g5.2xlarge", "InstanceMarketOptions": {"MarketType": "spot"}}
ON_DEMAND = {"InstanceType": "g5.2xlarge"}


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The node configs that AWS is asked for; it refuses spot instances, with the code that the tag "refusal" names."""
    asked = []

    def create(self: object, node_config: dict[str, Any], tags: dict[str, str], count: int) -> dict[str, Any]:
        asked.append(node_config)
        if "InstanceMarketOptions" in node_config or tags.get("always"):
            raise NodeLaunchException(tags["refusal"], "refused", None)
        return {f"i-{number}": {} for number in range(count)}

    monkeypatch.setattr(AWSNodeProvider, "create_node", create)
    return asked


def provider() -> SpotFirst:
    return object.__new__(SpotFirst)  # without a connection to AWS


@pytest.mark.parametrize("code", NO_SPOT)
def test_without_spot_capacity_the_same_type_is_taken_on_demand(requests: list[dict[str, Any]], code: str) -> None:
    wanted = copy.deepcopy(SPOT)
    assert provider().create_node(wanted, {"refusal": code}, 2) == {"i-0": {}, "i-1": {}}
    assert requests == [SPOT, ON_DEMAND] and wanted == SPOT


def test_other_refusals_are_raised(requests: list[dict[str, Any]]) -> None:
    with pytest.raises(NodeLaunchException):
        provider().create_node(SPOT, {"refusal": "UnauthorizedOperation"}, 1)
    assert requests == [SPOT]
    with pytest.raises(NodeLaunchException):
        provider().create_node(ON_DEMAND, {"refusal": NO_SPOT[0], "always": "yes"}, 1)
    assert requests == [SPOT, ON_DEMAND]
