"""From an empty account to a head that runs a job, and back to nothing, by the commands that a user types.

AWS is the emulator; the head that it "starts" is a network namespace of this machine, to which ssh and rsync of the
laptop are led. It takes minutes, and root with the right to make namespaces, so that it runs only on request:

    PGPC_TEST_LONG=1 pytest tests/cluster/test_whole_way.py

As in test_setup.py, the dependencies are those of the environment that the tests run in, and what goes through sudo
is left out.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.helpers.aws import Market
from tests.helpers.machines import HOSTS, MISSING, Machines

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(os.getuid() != 0, reason="making network namespaces takes root"),
    pytest.mark.skipif(bool(MISSING), reason=f"there is no {', '.join(MISSING)}"),
    pytest.mark.timeout(900),
]
OUTSIDE = "10.200.71.200"
LED = """#!{python}
import os, re, sys
words = [re.sub(r"\\bubuntu@[\\d.]+", "root@{head}", word) for word in sys.argv[1:]]
if "ssh" == "{name}":
    words = ["-i", "{key}", *words]
os.execv("{program}", ["{name}", *words])
"""
ON_THE_HEAD = {
    "sudo": "true",
    "exportfs": "",
    "mount.nfs4": "",
    "curl": 'case "$*" in *vpc-ipv4-cidr-block) echo 10.1.0.0/16;; */mac) echo 0a:1b;; *) echo imds;; esac',
    "crontab": "[ $1 = -l ] || cat > /dev/null",
}


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def world(empty_account, tmp_path):
    """The hosts, and the market whose quotas the account has."""
    place = Path("/results")  # on the head a folder of its own lies over it
    with contextlib.ExitStack() as stack:
        if not place.exists():
            place.mkdir()
            stack.callback(place.rmdir)
        credentials = "AWS_ACCESS_KEY_ID=key AWS_SECRET_ACCESS_KEY=secret AWS_DEFAULT_REGION=us-east-1"
        little = "RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES=100000000"
        market = Market()
        market.quotas |= {"L-1216C47A": 32, "L-3819A6DF": 64, "L-DB2E81BA": 0, "L-7212CCBC": 0, "L-417A185B": 0}
        # The server listens once its address is there, and its port must be known before the hosts are.
        env = f"{credentials} {little} AWS_ENDPOINT_URL=http://{OUTSIDE}:5999"
        machines = Machines(tmp_path, stack, env=env, outside=OUTSIDE)
        stack.enter_context(market.serving(OUTSIDE, 5999))
        for name, script in ON_THE_HEAD.items():
            program(tmp_path / "head" / "home" / "bin" / name, f"#!/bin/bash\n{script}\n")
        # The head's Ray is started with a PYTHONPATH of its own, so that its environment must have the libraries.
        environment = tmp_path / "head" / "home" / "pgpc-code" / ".venv"
        venv.create(environment, with_pip=True)
        (packages,) = environment.glob("lib/python*/site-packages")
        (packages / "libraries.pth").write_text(sysconfig.get_path("purelib"))
        shutil.rmtree(tmp_path / "laptop" / "home" / ".ray")  # the preparation makes the token
        for name in ("ssh", "rsync"):
            values = {"name": name, "head": HOSTS["head"], "key": tmp_path / "keys" / "user"}
            text = LED.format(python=sys.executable, program=shutil.which(name), **values)
            program(tmp_path / "laptop" / "bin" / name, text)
        yield machines, empty_account


def test_from_an_empty_account_to_a_job_and_back_to_nothing(world):
    machines, aws = world
    user = {
        "PATH": f"{machines.folder}/laptop/bin:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "AWS_ENDPOINT_URL": f"http://{OUTSIDE}:5999",
        "AWS_EC2_METADATA_DISABLED": "true",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    refused = machines.ask("ray up -y cluster/gpu.yaml", 1, **user)
    assert "run `python cluster/prepare.py --bucket NAME` first" in refused.splitlines()[-1]
    shown = machines.ask("python cluster/prepare.py --bucket my-results --address 203.0.113.7", **user)
    assert "gpu_1" in shown and "will start up to 8 of 8" in shown, shown
    machines.ask("ray up -y cluster/gpu.yaml", **user)
    output = machines.ask(
        """
        ray dashboard cluster/gpu.yaml > /dev/null 2>&1 & tunnel=$!
        until curl --silent http://127.0.0.1:8265 > /dev/null; do sleep 1; done
        export RAY_AUTH_MODE=token RAY_API_SERVER_ADDRESS=http://127.0.0.1:8265
        ray job submit -- python -c "import pgpc, ray; ray.init(); print(sum([20, 22]), pgpc.__file__)"
        kill $tunnel
        """,
        **user,
    )
    assert "42 " in output and "pgpc-code/pgpc/__init__.py" in output and "succeeded" in output, output
    ec2 = aws.client("ec2")
    (head,) = [node for group in ec2.describe_instances()["Reservations"] for node in group["Instances"]]
    assert (head["InstanceType"], head["State"]["Name"]) == ("m6i.xlarge", "running")
    still = machines.ask("python cluster/prepare.py --remove", 2, **user)
    assert "Run `ray down cluster/gpu.yaml` first" in still
    machines.ask("ray exec cluster/gpu.yaml save-results && ray down -y cluster/gpu.yaml", **user)
    machines.ask("python cluster/prepare.py --remove", **user)
    assert not aws.client("cloudformation").describe_stacks()["Stacks"]
    assert not aws.client("ec2").describe_key_pairs()["KeyPairs"]
    assert "my-results" not in [bucket["Name"] for bucket in aws.client("s3").list_buckets()["Buckets"]]
    groups = {group["GroupName"] for group in ec2.describe_security_groups()["SecurityGroups"]}
    assert groups == {"default"}
