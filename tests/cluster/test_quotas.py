"""Which node types an account may start, by its quotas."""

from __future__ import annotations

import math

import pytest

from cluster.quotas import _family, judge

WANTED = {"gpu_1": 8, "gpu_4": 4, "gpu_8": 0}
HEAD, G_SPOT, G, P_SPOT, P = "L-1216C47A", "L-3819A6DF", "L-DB2E81BA", "L-7212CCBC", "L-417A185B"


@pytest.fixture
def session(empty_account, market):
    return empty_account.Session(region_name="us-east-1")


def nodes(verdicts):
    return {verdict.name: verdict.nodes for verdict in verdicts}


@pytest.mark.parametrize(
    ("spot", "on_demand", "expected"),
    [
        (256, 0, {"gpu_1": 8, "gpu_4": 4}),  # 8 * 8 + 4 * 48
        (64, 0, {"gpu_1": 8, "gpu_4": 0}),
        (15, 17, {"gpu_1": 3, "gpu_4": 0}),  # one spot, two on demand
        (64, 100, {"gpu_1": 8, "gpu_4": 2}),  # the first type takes all of the spot quota
        (0, 0, {"gpu_1": 0, "gpu_4": 0}),
    ],
)
def test_types_of_a_family_share_its_quota(session, market, gpu, spot, on_demand, expected):
    market.quotas = {HEAD: 5, G_SPOT: spot, G: on_demand, P_SPOT: 0, P: 0}
    assert nodes(judge(session, gpu, WANTED)) == {"head": 1, **expected, "gpu_8": 0}


def test_what_is_missing_is_said_with_the_line_that_asks_for_it(session, market, gpu):
    market.quotas = {HEAD: 3, G_SPOT: 8, G: 0, P_SPOT: 95, P: 0}
    head, one, four, eight = map(str, judge(session, gpu, {**WANTED, "gpu_8": 1}))
    assert "will NOT start" in head and f"--quota-code {HEAD} --desired-value 4" in head
    assert "will start up to 1 of 8" in one and f"--quota-code {G_SPOT} --desired-value 64" in one
    assert (
        "will NOT start" in four and "will NOT start" in eight and f"--quota-code {P_SPOT} --desired-value 96" in eight
    )


def test_quotas_that_aws_does_not_tell_limit_nothing(session, gpu):
    verdicts = judge(session, gpu, WANTED)
    assert nodes(verdicts) == {"head": 1, **WANTED}
    assert math.isinf(verdicts[1].spot) and "an unknown number" in str(verdicts[1])


def test_a_type_that_the_region_does_not_have(session, market, gpu):
    gpu["available_node_types"]["gpu_1"]["node_config"]["InstanceType"] = "g99.large"
    market.quotas = {HEAD: 5, G_SPOT: 48, G: 0}
    one = judge(session, gpu, WANTED)[1]
    assert one.nodes == 0 and "AWS has none in us-east-1" in str(one)


def test_families():
    assert [_family(name) for name in ("m6i.xlarge", "g5.2xlarge", "p4d.24xlarge")] == ["standard", "g", "p"]
    with pytest.raises(ValueError, match="but got 'trn1.2xlarge'"):
        _family("trn1.2xlarge")
