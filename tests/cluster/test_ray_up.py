"""`ray up`, `ray exec` and `ray down` on gpu.yaml, against a server that speaks AWS; ssh and rsync are recorded."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import sysconfig
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOKEN = "0f343b09-3112-6a20-f133-d67c2b018a3b"
RECORD = """#!{python}
import json, sys
with open({log!r}, "a") as log:
    log.write(json.dumps([{name!r}, *sys.argv[1:]]) + "\\n")
"""


LOGIN = ["bash", "--login", "-c", "-i"]


class Laptop:
    """A home folder with a token, and programs that write down how they are called."""

    def __init__(self, folder: Path):
        self.home, self._log, programs = folder / "home", folder / "log", folder / "bin"
        for each in (self.home / ".ray", programs):
            each.mkdir(parents=True)
        token = self.home / ".ray" / "auth_token"
        token.write_text(TOKEN)
        token.chmod(0o600)
        for name in ("ssh", "rsync"):
            file = programs / name
            file.write_text(RECORD.format(python=sys.executable, log=str(self._log), name=name))
            file.chmod(0o755)
        # The launcher keeps what it has found out about the account in the temporary folder.
        self._env = {
            **{key: value for key, value in os.environ.items() if key != "XDG_CONFIG_HOME"},
            "HOME": str(self.home),
            "TMPDIR": str(self.home),
            "RAY_USAGE_STATS_ENABLED": "0",
            "PATH": f"{programs}:{sysconfig.get_path('scripts')}:{os.environ['PATH']}",
        }

    def prepared(self, region: str = "us-east-1") -> Laptop:
        """Write the values that the preparation of the account would write."""
        path = self.home / ".config" / "pgpc" / "cluster.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        most = {"gpu_1": 3, "gpu_4": 0, "gpu_8": 0}
        path.write_text(json.dumps({"region": region, "bucket": "my-results", "max_workers": most}))
        return self

    def ray(self, *arguments: str) -> tuple[int, str, list[list[str]]]:
        """Exit code, output, and the calls of ssh and rsync that it made."""
        self._log.write_text("")
        run = subprocess.run(["ray", *arguments], cwd=ROOT, env=self._env, capture_output=True, text=True, timeout=120)
        calls = [json.loads(line) for line in self._log.read_text().splitlines()]
        return run.returncode, run.stdout + run.stderr, calls


def commands(calls):
    """What ran on the node, in order, out of the shell that the launcher wraps around it."""
    wrapped = [shlex.split(call[-1])[0] for call in calls if call[0] == "ssh" and call[-5:-1] == LOGIN]
    return [text.partition(" && (")[2].removesuffix(")") for text in wrapped]


def instances(aws):
    found = aws.client("ec2").describe_instances(
        Filters=[{"Name": "instance-state-name", "Values": ["pending", "running", "stopped", "stopping"]}]
    )
    return [instance for reservation in found["Reservations"] for instance in reservation["Instances"]]


@pytest.fixture
def laptop(tmp_path):
    return Laptop(tmp_path)


@pytest.mark.slow
def test_up_again_exec_and_down(aws, laptop):
    ec2 = aws.client("ec2")
    before = {group["GroupId"] for group in ec2.describe_security_groups()["SecurityGroups"]}
    code, output, calls = laptop.prepared().ray("up", "-y", "cluster/gpu.yaml")
    assert code == 0, output
    assert list(laptop.home.glob("ray-config-*")) == []  # the next command asks the preparation again

    (head,) = instances(aws)
    assert (head["InstanceType"], head.get("InstanceLifecycle")) == ("m6i.xlarge", None)  # on demand
    assert head["ImageId"] == "ami-12345678"
    assert head["IamInstanceProfile"]["Arn"].endswith(":instance-profile/pgpc-head")
    metadata = head["MetadataOptions"]
    assert (metadata["HttpTokens"], metadata["HttpPutResponseHopLimit"]) == ("required", 1)
    (disk,) = head["BlockDeviceMappings"]
    assert disk["DeviceName"] == "/dev/sda1" and disk["Ebs"]["DeleteOnTermination"]
    (volume,) = ec2.describe_volumes()["Volumes"]
    assert (volume["Size"], volume["VolumeType"], volume["Encrypted"]) == (200, "gp3", True)
    tags = {tag["Key"]: tag["Value"] for tag in head["Tags"]}
    assert (tags["ray-cluster-name"], tags["ray-node-type"], tags["ray-node-status"]) == ("pgpc", "head", "up-to-date")
    assert {"Key": "ray-cluster-name", "Value": "pgpc"} in volume["Tags"]

    # Nothing but what the account's stack opens: the launcher has made no security group of its own.
    assert {group["GroupId"] for group in ec2.describe_security_groups()["SecurityGroups"]} == before
    groups = [each["GroupId"] for each in head["SecurityGroups"]]
    (group,) = ec2.describe_security_groups(GroupIds=groups)["SecurityGroups"]
    outside = [rule for rule in group["IpPermissions"] if rule["IpRanges"] or rule.get("Ipv6Ranges")]
    assert [(rule["FromPort"], rule["ToPort"], rule["IpRanges"]) for rule in outside] == [
        (22, 22, [{"CidrIp": "203.0.113.7/32"}])
    ]
    inside = [rule["UserIdGroupPairs"] for rule in group["IpPermissions"] if rule not in outside]
    assert [[pair["GroupId"] for pair in pairs] for pairs in inside] == [[group["GroupId"]]]

    ran = commands(calls)
    (start,) = [command for command in ran if "ray start" in command]
    assert "RAY_AUTH_MODE=token PYTHONPATH=~/pgpc-code ray start --head" in start
    order = ["setup.sh s3://my-results/", "ray stop", "ray start --head", "publish_node_types.py"]
    places = [next(i for i, command in enumerate(ran) if part in command) for part in order]
    assert places == sorted(places)
    assert TOKEN not in str(calls) and TOKEN not in output
    copied = [call for call in calls if call[0] == "rsync"]
    assert [call[-1].partition(":")[2] for call in copied] == [
        "~/pgpc-code/pgpc/",
        "~/pgpc-code/sweeps/",
        "~/pgpc-code/cluster/",
        "~/pgpc-code/setup.py",
        "~/pgpc-code/setup.cfg",
        "~/pgpc-code/README.md",
        "~/.ray/auth_token",
        "~/ray_bootstrap_config.yaml",
        "~/ray_bootstrap_key.pem",
    ]
    for call in copied:  # rsync would leave out what a pattern fits, the file that it is told to copy included
        patterns = [call[i + 1] for i, word in enumerate(call) if word == "--exclude"]
        assert not any(fnmatch(Path(call[-2]).name, pattern) for pattern in patterns)
    assert (laptop.home / ".ssh" / "pgpc.pem").stat().st_mode & 0o777 == 0o600

    code, output, again = laptop.ray("up", "-y", "cluster/gpu.yaml")
    assert code == 0, output
    assert [each["InstanceId"] for each in instances(aws)] == [head["InstanceId"]]
    assert commands(again)[-3:] == ran[-3:]  # Ray is started again

    code, output, calls = laptop.ray("exec", "cluster/gpu.yaml", "save-results")
    assert (code, commands(calls)) == (0, ["save-results"]), output

    code, output, calls = laptop.ray("down", "-y", "cluster/gpu.yaml")
    assert code == 0, output
    assert commands(calls) == ["ray stop"]
    assert instances(aws) == [] and ec2.describe_volumes()["Volumes"] == []


@pytest.mark.slow
def test_without_the_accounts_stack_nothing_is_made(aws, laptop):
    aws.client("cloudformation").delete_stack(StackName="pgpc")
    ec2 = aws.client("ec2")
    groups = ec2.describe_security_groups()["SecurityGroups"]
    code, output, calls = laptop.prepared().ray("up", "-y", "cluster/gpu.yaml")
    assert code != 0 and "pgpc-" in output
    assert (instances(aws), calls) == ([], [])
    assert ec2.describe_security_groups()["SecurityGroups"] == groups


@pytest.mark.slow
def test_without_the_preparation_one_sentence_names_it(aws, laptop):
    code, output, calls = laptop.ray("up", "-y", "cluster/gpu.yaml")
    last = output.strip().splitlines()[-1]
    assert code == 1 and last == (
        "error: Nothing is prepared for this cluster yet: run `python cluster/prepare.py --bucket NAME` first."
    )
    assert "Traceback" not in output and "WARNING" not in output and (instances(aws), calls) == ([], [])
