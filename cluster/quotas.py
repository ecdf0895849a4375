"""How many nodes an AWS account may start, spot and on demand, before anybody waits for one that never comes.

AWS counts vCPUs, for families of instance types and not for types, and spot apart from on demand. A new account may
start no GPU at all.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

_OF_FAMILY = {
    "g": ("L-DB2E81BA", "L-3819A6DF"),
    "p": ("L-417A185B", "L-7212CCBC"),
    "standard": ("L-1216C47A", "L-34B43A08"),
}
"""AWS's codes of the quotas of vCPUs, on demand and spot: of G, of P up to P4, and of all that have no accelerator."""
_STANDARD = "acdhimrtz"


@dataclasses.dataclass
class Room:
    """How many vCPUs of a family an account may use, as far as they are known.

    Attributes:
        on_demand: Those on demand; None where AWS does not say.
        spot: Those of spot instances; None where AWS does not say.
        codes: AWS's codes of the two quotas.
    """

    on_demand: float | None
    spot: float | None
    codes: tuple[str, str]

    def nodes(self, vcpus: int, *, spot: bool) -> float:
        """Return for how many nodes of so many vCPUs there is room; infinity where AWS does not say."""
        left = self.spot if spot else self.on_demand
        return math.inf if left is None else left // vcpus

    def take(self, vcpus: int, nodes: int) -> None:
        """Take the vCPUs of nodes away, those of spot instances first."""
        as_spot = int(min(nodes, self.nodes(vcpus, spot=True)))
        if self.spot is not None:
            self.spot -= as_spot * vcpus
        if self.on_demand is not None:
            self.on_demand -= (nodes - as_spot) * vcpus


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What an account may start of one node type.

    Attributes:
        name: The name of the type in gpu.yaml.
        machine: AWS's name of the instance type.
        wanted: How many nodes of it are wanted at most.
        nodes: How many of these will start at most.
        spot: How many of it there is room for as spot instances, beside the types before it; infinity if unknown.
        on_demand: The same on demand.
        remedy: What to do so that all that are wanted start; empty if they do.
    """

    name: str
    machine: str
    wanted: int
    nodes: int
    spot: float
    on_demand: float
    remedy: str = ""

    def __str__(self) -> str:
        """Return the verdict as a line for a terminal."""
        room = f"room for {_count(self.spot)} spot, {_count(self.on_demand)} on demand"
        if not self.wanted:
            return f"{self.name:6} {self.machine:14} not wanted ({room})"
        tells = "will start" if self.nodes else "will NOT start"
        how_many = f" up to {self.nodes} of {self.wanted}" if self.nodes else ""
        return f"{self.name:6} {self.machine:14} {tells}{how_many} ({room}){self.remedy and '; ' + self.remedy}"


def judge(session: Any, config: Mapping[str, Any], wanted: Mapping[str, int]) -> list[Verdict]:
    """Return what an account may start of each node type, the head's first.

    Types of one family share its quota, in the order in which the config has them.

    Args:
        session: The boto3 session, with a region.
        config: The config of gpu.yaml.
        wanted: For each type that trains, how many nodes are wanted.
    """
    kinds = config["available_node_types"]
    head = config["head_node_type"]
    machines = {name: kind["node_config"]["InstanceType"] for name, kind in kinds.items()}
    vcpus = _vcpus(session, sorted(set(machines.values())))
    rooms: dict[str, Room] = {}
    verdicts = []
    for name in sorted(machines, key=lambda name: name != head):
        machine, number = machines[name], 1 if name == head else wanted[name]
        if machine not in vcpus:
            remedy = f"AWS has none in {session.region_name}: choose another --region"
            verdicts.append(Verdict(name, machine, number, 0, 0, 0, remedy))
            continue
        family = _family(machine)
        room = rooms.setdefault(family, _room(session, family))
        as_spot = 0 if name == head else room.nodes(vcpus[machine], spot=True)
        on_demand = room.nodes(vcpus[machine], spot=False)
        nodes = int(min(number, as_spot + on_demand))
        room.take(vcpus[machine], nodes)
        remedy = ""
        if nodes < number:
            code = room.codes[0 if name == head else 1]
            remedy = _request(session.region_name, code, vcpus[machine] * number)
        verdicts.append(Verdict(name, machine, number, nodes, as_spot, on_demand, remedy))
    return verdicts


def _family(machine: str) -> str:
    """Return the family of an instance type whose quota it counts towards.

    Raises:
        ValueError: It is not known.
    """
    letters = re.match("[a-z]*", machine).group()  # type: ignore[union-attr]  # matches the empty string, too
    if len(letters) == 1 and letters in _STANDARD:
        return "standard"
    if letters in _OF_FAMILY:
        return letters
    raise ValueError(
        f"An instance type must be of the families {', '.join(_OF_FAMILY)}, whose quotas are known, but got "
        f"{machine!r}. Add its family's quotas to cluster/quotas.py."
    )


def _vcpus(session: Any, machines: list[str]) -> dict[str, int]:
    """Return the vCPUs of those instance types that there are in the region."""
    pages = session.client("ec2").get_paginator("describe_instance_types")
    found = pages.paginate(Filters=[{"Name": "instance-type", "Values": machines}])
    return {kind["InstanceType"]: kind["VCpuInfo"]["DefaultVCpus"] for page in found for kind in page["InstanceTypes"]}


def _room(session: Any, family: str) -> Room:
    codes = _OF_FAMILY[family]
    on_demand, spot = (_quota(session.client("service-quotas"), code) for code in codes)
    return Room(on_demand, spot, codes)


def _quota(quotas: Any, code: str) -> float | None:
    """Return the vCPUs of a quota, or None if AWS does not say."""
    try:
        return float(quotas.get_service_quota(ServiceCode="ec2", QuotaCode=code)["Quota"]["Value"])
    except quotas.exceptions.ClientError:  # no right to see quotas, or a region without the quota
        return None


def _request(region: str, code: str, vcpus: int) -> str:
    return (
        "ask AWS for more (hours to days): aws service-quotas request-service-quota-increase "
        f"--region {region} --service-code ec2 --quota-code {code} --desired-value {vcpus}"
    )


def _count(nodes: float) -> str:
    return "an unknown number" if nodes == math.inf else str(int(nodes))
