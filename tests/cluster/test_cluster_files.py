"""The cluster's files against the schemas of those who read them, and against what must not be open to the world."""

from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from cluster.prepared import Values, fill

FOLDER = Path(__file__).parents[2] / "cluster"


def test_the_launcher_accepts_them(launcher):
    prepared = prepare_config(launcher)
    if launcher["provider"]["type"] == "external":
        prepared = fill(prepared, Values("us-east-1", "my-results", {"gpu_1": 3, "gpu_4": 0, "gpu_8": 1}))
        kinds = prepared["available_node_types"]
        assert [kinds[name]["max_workers"] for name in ("gpu_1", "gpu_4", "gpu_8")] == [3, 0, 1]
        assert prepared["provider"]["region"] == "us-east-1" and "YOUR-BUCKET" not in str(prepared)
        assert prepared["head_setup_commands"] == ["bash ~/pgpc-code/cluster/setup.sh s3://my-results/pgpc/results"]
    validate_config(prepared)


@pytest.mark.slow
def test_cloudformation_accepts_the_account():
    lint = pytest.importorskip("cfnlint.api")
    found = lint.lint_all((FOLDER / "account.yaml").read_text())
    assert [match.message for match in found if match.rule.severity in ("error", "warning")] == []


def test_they_are_safe(launcher, account, faults):
    assert faults(launcher) == []
    assert faults(account) == []


def _set(where, value):
    """A change of the value at a path of keys; a key that is not there is added."""

    def change(config):
        *path, last = where
        for key in path:
            config = config[key]
        if callable(value):
            config[last] = value(config[last])
        else:
            config[last] = value

    return change


def _drop(*where):
    def change(config):
        *path, last = where
        for key in path:
            config = config[key]
        del config[last]

    return change


def _start(kind, old, new):
    """A change in the command that starts Ray."""
    key = f"{kind}_start_ray_commands"
    return _set([key], lambda commands: [c.replace(old, new) if "ray start" in c else c for c in commands])


NODE = ["available_node_types", "gpu_4", "node_config"]
EVERYBODY = {"GroupName": "x", "IpPermissions": [{"FromPort": 22, "ToPort": 22, "IpProtocol": "tcp"}]}


@pytest.mark.parametrize(
    "change",
    [
        _start("head", "RAY_AUTH_MODE=token ", ""),
        _start("worker", "RAY_AUTH_MODE=token ", ""),
        _start("worker", "RAY_AUTH_MODE=token", "RAY_AUTH_MODE=disabled"),
        _start("head", "--dashboard-host=127.0.0.1", "--dashboard-host=0.0.0.0"),
        _start("head", "--dashboard-host=127.0.0.1", ""),
        _set(["head_start_ray_commands"], lambda commands: ["export RAY_AUTH_MODE=disabled", *commands]),
        _set(["head_start_ray_commands"], lambda commands: [*commands, "ray start --address=other"]),
        _set(["head_start_ray_commands"], lambda commands: [*commands, "tensorboard --logdir / --host 0.0.0.0"]),
        _drop("file_mounts", "~/.ray/auth_token"),
        _set(["setup_commands"], lambda commands: ["echo 0f343b0931126a20f133d67c2b018a3b > token", *commands]),
        _set(["file_mounts", "~/pgpc"], "."),
        _set(["file_mounts", "~/.aws"], "~/.aws"),
        _set(["setup_commands"], ["pip install -e ~/pgpc"]),
        _set(["provider", "security_group"], EVERYBODY),
        _set(["provider", "aws_credentials"], {"aws_access_key_id": "x"}),
        _set(["provider", "cache_stopped_nodes"], True),
        _set([*NODE, "SecurityGroupIds"], ["sg-1"]),
        _set([*NODE, "IamInstanceProfile"], {"Name": "admin"}),
        _set([*NODE, "UserData"], "ufw disable"),
        _set([*NODE, "LaunchTemplate", "LaunchTemplateName"], "pgpc-head"),
        _set([*NODE, "MetadataOptions", "HttpTokens"], "optional"),
        _set([*NODE, "MetadataOptions", "HttpPutResponseHopLimit"], 2),
        _drop(*NODE, "MetadataOptions"),
        _set([*NODE, "BlockDeviceMappings", 0, "Ebs", "Encrypted"], False),
        _set([*NODE, "BlockDeviceMappings", 0, "Ebs", "DeleteOnTermination"], False),
        _set(["available_node_types", "gpu_1", "min_workers"], 1),
    ],
)
def test_a_change_of_the_launchers_file_that_opens_it_is_found(gpu, faults, change):
    assert faults(gpu) == []
    change(gpu)
    assert faults(gpu)


SSH = ["Resources", "SecurityGroup", "Properties", "SecurityGroupIngress"]
HTTP = {"IpProtocol": "tcp", "FromPort": 8265, "ToPort": 8265, "CidrIp": "198.51.100.0/24"}
AMONG = ["Resources", "AmongNodes", "Properties"]
BUCKET = ["Resources", "UseOfBucket", "Properties", "PolicyDocument", "Statement"]
HEAD = ["Resources", "HeadRole", "Properties"]
WORKERS = [*HEAD, "Policies", 0, "PolicyDocument", "Statement"]


@pytest.mark.parametrize(
    "change",
    [
        _set(["Parameters", "MyAddress", "Default"], "203.0.113.7/32"),
        _set(["Parameters", "MyAddress", "AllowedPattern"], ".*"),
        _set([*SSH, 0, "CidrIp"], "0.0.0.0/0"),
        _set([*SSH, 0, "ToPort"], 65535),
        _set(SSH, lambda rules: [*rules, HTTP]),
        _set([*AMONG, "SourceSecurityGroupId"], "sg-1"),
        _set([*BUCKET, 1, "Resource"], "*"),
        _set([*BUCKET, 1, "Action"], ["s3:*"]),
        _set([*HEAD, "ManagedPolicyArns"], ["arn:aws:iam::aws:policy/AmazonEC2FullAccess"]),
        _set([*WORKERS, 5, "Resource"], "*"),
        _set([*WORKERS, 1, "NotResource"], {"Sub": "arn:aws:ec2:*:*:volume/*"}),
        _drop(*WORKERS, 2, "Condition", "StringEquals", "ec2:MetadataHttpTokens"),
        _drop(*WORKERS, 2, "Condition", "StringEquals", "aws:RequestTag/ray-cluster-name"),
        _drop(*WORKERS, 3, "Condition"),
        _drop(*WORKERS, 4, "Condition"),
        _set(["Resources", "HeadTemplate", "Properties", "LaunchTemplateData", "SecurityGroupIds"], ["sg-1"]),
    ],
)
def test_a_change_of_the_account_that_opens_it_is_found(account, faults, change):
    assert faults(account) == []
    change(account)
    assert faults(account)


def test_the_head_trains_nothing_and_workers_come_and_go(gpu):
    types = gpu["available_node_types"]
    head = types.pop(gpu["head_node_type"])
    assert head["resources"] == {"CPU": 0, "GPU": 0}
    assert "InstanceMarketOptions" not in head["node_config"]
    assert "--num-cpus=0" in gpu["head_start_ray_commands"][1]
    assert {kind["min_workers"] for kind in types.values()} == {0}
    assert {kind["resources"]["GPU"] for kind in types.values()} == {1, 4, 8}
    # publish_node_types.py takes it for granted.
    assert gpu["max_workers"] >= sum(kind["max_workers"] for kind in types.values())


def test_both_say_the_same_where_they_can(gpu):
    onprem = yaml.safe_load((FOLDER / "onprem.yaml").read_text())
    for key in ("file_mounts", "rsync_exclude"):
        assert onprem[key] == gpu[key]
    key = "worker_start_ray_commands"
    assert onprem[key] == gpu[key][:2]  # only AWS takes machines back


def test_no_file_that_the_launcher_must_copy_is_left_out_of_the_copy(launcher):
    # rsync leaves out a file that is named to it where a pattern fits: the key, say, by which the head reaches workers.
    named = [*launcher["file_mounts"].values(), "pgpc.pem", "id_ed25519", "ray-bootstrap-x_1"]
    for pattern in launcher["rsync_exclude"]:
        assert not any(fnmatch(Path(name).name, pattern) for name in named)
