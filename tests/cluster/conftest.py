"""The cluster's files as data, an AWS that is none, and what must hold for the files to be safe."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helpers.aws import IMAGE, KNOWN_IMAGE, Market

FOLDER = Path(__file__).parents[2] / "cluster"
COMMANDS = (
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)
SECRETS = re.compile(r"AKIA|ASIA|PRIVATE KEY|AUTH_TOKEN=|SECRET|PASSWORD|\b[0-9a-f]{32,}\b", re.IGNORECASE)
TOKEN = "~/.ray/auth_token"
NODE_CONFIG = {
    "InstanceType",
    "LaunchTemplate",
    "InstanceMarketOptions",
    "MetadataOptions",
    "BlockDeviceMappings",
    "TagSpecifications",
}
"""All that a node type says for itself; security group, role and image are those of the launch template."""


class _Template(yaml.SafeLoader):
    """CloudFormation's short forms: ``!Ref X`` becomes ``{"Ref": "X"}``."""


_Template.add_multi_constructor("!", lambda loader, tag, node: {tag: loader.construct_scalar(node)})


def launcher_faults(config: dict[str, Any]) -> Iterator[str]:
    """What makes a file for `ray up` unsafe."""
    text = yaml.safe_dump(config, default_flow_style=True, width=10**6)
    if "0.0.0.0" in text or "::" in text:
        yield "binds or opens to everybody"
    if SECRETS.search(text):
        yield "holds a secret"
    started = (config["head_start_ray_commands"], config["worker_start_ray_commands"])
    head, worker = ([command for command in commands if "ray start" in command] for commands in started)
    for command in head + worker:
        if not re.search(r"(^|; )RAY_AUTH_MODE=token (\w+=\S+ )*ray start ", command):
            yield "starts Ray without asking for the token"
    if not all("--dashboard-host=127.0.0.1 " in command for command in head):
        yield "shows the dashboard to the network"
    if len(head) != 1 or len(worker) != 1:
        yield "starts Ray more or less than once"
    others = [command for key in COMMANDS for command in config.get(key, ()) if "ray start" not in command]
    if any("RAY_AUTH_MODE" in command for command in others):
        yield "changes how clients are asked for the token"
    mounts = dict(config["file_mounts"])
    if mounts.pop(TOKEN, None) != TOKEN:
        yield "does not deliver the token as a file"
    if set(mounts.values()) != {"pgpc", "sweeps", "cluster", "setup.py", "setup.cfg", "README.md"}:
        yield "copies other files than the project's"
    if not any("cluster/setup.sh" in command for command in config["setup_commands"]):
        yield "does not run setup.sh"
    if config["provider"].get("module") == "cluster.prepared.PreparedAWS":
        yield from _aws_faults(config)


def _aws_faults(config: dict[str, Any]) -> Iterator[str]:
    if config["provider"].get("cache_stopped_nodes", True):
        yield "leaves stopped nodes and their disks"
    if unknown := set(config["provider"]) - {"type", "module", "cache_stopped_nodes", "key_pair"}:
        yield f"has a provider with {unknown}"  # credentials, or a security group, which Ray would open to the world
    for name, kind in config["available_node_types"].items():
        node, head = kind["node_config"], name == config["head_node_type"]
        if set(node) - NODE_CONFIG:
            yield f"{name} goes round its launch template"
        if node.get("LaunchTemplate", {}).get("LaunchTemplateName") != ("pgpc-head" if head else "pgpc-worker"):
            yield f"{name} has the security group and role of another template"
        metadata = node.get("MetadataOptions", {})
        if (metadata.get("HttpTokens"), metadata.get("HttpPutResponseHopLimit")) != ("required", 1):
            yield f"{name} gives its credentials to requests without IMDSv2"
        disks = [disk["Ebs"] for disk in node.get("BlockDeviceMappings", ())]
        if not disks or not all(disk.get("Encrypted") and disk.get("DeleteOnTermination") for disk in disks):
            yield f"{name} has a disk that is not encrypted, or that stays"
        if not head and (kind["min_workers"] or "InstanceMarketOptions" not in node):
            yield f"{name} costs more than is needed"


OUTSIDERS = (
    *("0.0.0.0/0", "0.0.0.0/32", "192.0.2.1/32", "YOUR.IP.ADD.RESS/32"),
    *("203.0.113.7", "203.0.113.0/23", "203.0.0.0/16", "203.0.0.0/8"),
)
"""What is nobody's own address: everybody's, that of an example, or that of too many."""


def account_faults(template: dict[str, Any]) -> Iterator[str]:
    """What makes the CloudFormation stack unsafe."""
    address = template["Parameters"]["MyAddress"]
    if "Default" in address:
        yield "lets somebody in whom nobody named"
    for outsider in OUTSIDERS:
        if re.search(address["AllowedPattern"], outsider):
            yield f"accepts {outsider} as somebody's own address"
    resources = template["Resources"]
    ssh = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "CidrIp": {"Ref": "MyAddress"}}
    group = {"GetAtt": "SecurityGroup.GroupId"}
    for resource in resources.values():
        properties = resource["Properties"]
        if resource["Type"] == "AWS::EC2::SecurityGroup" and properties["SecurityGroupIngress"] != [ssh]:
            yield "opens more than ssh from one address"
        if resource["Type"] == "AWS::EC2::SecurityGroupIngress" and properties.get("SourceSecurityGroupId") != group:
            yield "lets others than the nodes in"
        if resource["Type"] == "AWS::EC2::LaunchTemplate":
            data = properties["LaunchTemplateData"]
            known = {"ImageId", "SecurityGroupIds", "IamInstanceProfile"}
            if data["SecurityGroupIds"] != [group] or set(data) != known:
                yield "starts nodes in another security group"
        if resource["Type"] == "AWS::IAM::Role" and properties["ManagedPolicyArns"] != [{"Ref": "UseOfBucket"}]:
            yield "gives a role more than the bucket"
        documents = [policy["PolicyDocument"] for policy in properties.get("Policies", ())]
        for document in documents + ([properties["PolicyDocument"]] if "PolicyDocument" in properties else []):
            yield from _policy_faults(document)


def _policy_faults(document: dict[str, Any]) -> Iterator[str]:
    for statement in document["Statement"]:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        resource = str(statement.get("Resource", ""))
        if any(action.split(":")[1] == "*" or action == "*" for action in actions):
            yield "allows a whole service"
        if any(action.startswith("s3:") for action in actions) and ":::${Bucket}" not in resource:
            yield "reaches other buckets"
        if "iam:PassRole" in actions and statement["Resource"] != {"GetAtt": "WorkerRole.Arn"}:
            yield "passes other roles on"
        yield from _instance_faults(statement, actions)


def _instance_faults(statement: dict[str, Any], actions: list[str]) -> Iterator[str]:
    condition = statement.get("Condition", {}).get("StringEquals", {})
    if "ec2:RunInstances" in actions and ":instance/" not in str(statement.get("NotResource", "")):
        if condition.get("ec2:MetadataHttpTokens") != "required":
            yield "starts instances that give their credentials to requests without IMDSv2"
        if condition.get("aws:RequestTag/ray-cluster-name") != "pgpc":
            yield "starts instances that are no nodes of the cluster"
    if "ec2:TerminateInstances" in actions and condition.get("aws:ResourceTag/ray-cluster-name") != "pgpc":
        yield "may end other people's instances"
    if "ec2:CreateTags" in actions and not {"ec2:CreateAction", "aws:ResourceTag/ray-cluster-name"} & set(condition):
        yield "may call other people's instances nodes of the cluster"


@pytest.fixture(params=["gpu.yaml", "onprem.yaml"])
def launcher(request) -> dict[str, Any]:
    """A file for `ray up`, to be changed at will."""
    return yaml.safe_load((FOLDER / request.param).read_text())


@pytest.fixture
def gpu() -> dict[str, Any]:
    """gpu.yaml, every part of it on its own, as YAML's anchors are not."""
    config = yaml.safe_load((FOLDER / "gpu.yaml").read_text())
    return {key: copy.deepcopy(value) for key, value in yaml.safe_load(yaml.dump(config, Dumper=_Plain)).items()}


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


@pytest.fixture
def account() -> dict[str, Any]:
    """The CloudFormation template."""
    return yaml.load((FOLDER / "account.yaml").read_text(), _Template)


@pytest.fixture
def faults():
    """``faults(config)``: why a launcher's file, or the CloudFormation template, is not safe; empty if it is."""
    return lambda config: list(account_faults(config) if "Resources" in config else launcher_faults(config))


@pytest.fixture
def empty_account(_s3_server, monkeypatch, tmp_path):
    """boto3 for an account that has nothing; its endpoint and credentials are in the environment."""
    import boto3

    monkeypatch.setenv("AWS_ENDPOINT_URL", _s3_server)
    for name, value in {"ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    for name in ("PROFILE", "SESSION_TOKEN", "REGION"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    boto3.client("ssm").put_parameter(Name=KNOWN_IMAGE, Value="ami-12345678", Type="String", Overwrite=True)
    yield boto3
    # The next test has none of this one's instances, nor its key.
    living = [{"Name": "instance-state-name", "Values": ["pending", "running", "stopping", "stopped"]}]
    ec2 = boto3.resource("ec2", endpoint_url=_s3_server)
    ec2.instances.filter(Filters=living).terminate()
    ec2.KeyPair("pgpc").delete()
    boto3.client("cloudformation", endpoint_url=_s3_server).delete_stack(StackName="pgpc")


@pytest.fixture
def market(empty_account, monkeypatch):
    """A server of the same account whose spot market and quotas the test decides; the environment names it."""
    with Market().serving() as (market, address):
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        yield market


@pytest.fixture
def aws(empty_account):
    """boto3 for an account that has what account.yaml makes."""
    values = {"MyAddress": "203.0.113.7/32", "Bucket": "bucket", "Image": KNOWN_IMAGE}
    stacks = empty_account.client("cloudformation")
    stacks.create_stack(
        StackName="pgpc",
        TemplateBody=(FOLDER / "account.yaml").read_text().replace(IMAGE, KNOWN_IMAGE),
        Parameters=[{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()],
        Capabilities=["CAPABILITY_NAMED_IAM"],
    )
    return empty_account
