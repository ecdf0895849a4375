"""What the head starts for a sweep: Ray's real autoscaler on a real head, against a server that speaks AWS.

The instances are the server's, so that nothing ever runs on them: up to the request, the decision is the real one.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

import pytest
from ray.autoscaler._private.util import prepare_config
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
from ray.autoscaler.v2.instance_manager.subscribers.cloud_resource_monitor import CloudResourceMonitor
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.utils import ResourceRequestUtil
from ray.core.generated.autoscaler_pb2 import GangResourceRequest
from ray.core.generated.instance_manager_pb2 import Instance, InstanceUpdateEvent

from cluster.prepared import PreparedAWS, Values, fill, write_values

ROOT = Path(__file__).parents[2]
VALUES = Values("us-east-1", "bucket", {"gpu_1": 8, "gpu_4": 4, "gpu_8": 0})
SWEEP = """
import sys, ray
from sweeps.execution import resources as cluster
from sweeps.execution.capacity.workers import default_workers, trial_slots
cluster.connect(sys.argv[1])
nodes = cluster.nodes()
workers = default_workers(nodes, int(sys.argv[2]), None, None)
print(trial_slots(nodes, workers), workers, sep="; ", flush=True)
bundles = [{"CPU": workers.cpus, "GPU": workers.gpus}] * workers.count
group = ray.util.placement_group(bundles)  # as Ray Train's
sys.stdin.read()
"""


@contextlib.contextmanager
def running(*command, env, **kwargs):
    """A process with all that it starts, ended on the way out."""
    process = subprocess.Popen(command, env=env, cwd=ROOT, start_new_session=True, **kwargs)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def started(aws, count):
    """Type and market of the workers, once there are so many."""
    deadline = time.monotonic() + 60
    while True:
        found = aws.client("ec2").describe_instances(Filters=[{"Name": "tag:ray-node-type", "Values": ["worker"]}])
        workers = [i for reservation in found["Reservations"] for i in reservation["Instances"]]
        if len(workers) >= count or time.monotonic() > deadline:
            return sorted((i["InstanceType"], i.get("InstanceLifecycle", "on demand")) for i in workers), workers
        time.sleep(0.5)


@pytest.fixture
def head(aws, market, gpu, tmp_path, monkeypatch):
    """``head(config)`` starts the head of a cluster, with what the launcher would put there, and gives its address and
    environment."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    write_values(VALUES)
    ssh = tmp_path / "bin" / "ssh"  # nobody answers at the server's instances
    ssh.parent.mkdir()
    ssh.write_text("#!/bin/sh\nexit 1\n")
    ssh.chmod(0o755)
    token = tmp_path / ".ray" / "auth_token"
    token.parent.mkdir()
    token.write_text("0f343b09-3112-6a20-f133-d67c2b018a3b")
    with contextlib.ExitStack() as stack:

        def start(config):
            config = prepare_config(config)
            config = PreparedAWS.fillout_available_node_types_resources(config)
            config = PreparedAWS.bootstrap_config(config)
            config["file_mounts"] = {}
            head = config["available_node_types"]["head"]["node_config"]
            tags = {"ray-node-type": "head", "ray-user-node-type": "head", "ray-launch-config": "x"}
            (instance,) = PreparedAWS(config["provider"], "pgpc").create_node(head, tags, 1)
            launcher = tmp_path / "bootstrap.yaml"
            launcher.write_text(json.dumps(config))
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                port = free.getsockname()[1]
            env = {
                **os.environ,
                "PATH": f"{ssh.parent}:{sysconfig.get_path('scripts')}:{os.environ['PATH']}",
                "PYTHONPATH": str(ROOT),
                "RAY_AUTH_MODE": "token",
                "RAY_enable_autoscaler_v2": "1",
                "RAY_CLOUD_INSTANCE_ID": instance,
                "RAY_NODE_TYPE_NAME": "head",
                "RAY_OVERRIDE_RESOURCES": '{"CPU":0,"GPU":0}',
                "RAY_USAGE_STATS_ENABLED": "0",
                "AUTOSCALER_UPDATE_INTERVAL_S": "1",
            }
            # Sockets lie in it, and their paths must be short.
            sockets = stack.enter_context(tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True))
            process = stack.enter_context(
                running(
                    "ray",
                    "start",
                    "--head",
                    "--block",
                    f"--port={port}",
                    "--num-cpus=0",
                    "--dashboard-port=0",
                    "--node-ip-address=127.0.0.1",
                    "--object-store-memory=80000000",
                    f"--temp-dir={sockets}",
                    f"--autoscaling-config={launcher}",
                    env=env,
                    stdout=(tmp_path / "head.log").open("w"),
                    stderr=subprocess.STDOUT,
                )
            )
            address = f"127.0.0.1:{port}"
            publish = [sys.executable, str(ROOT / "cluster" / "publish_node_types.py"), str(launcher)]
            while "Ray runtime started" not in (tmp_path / "head.log").read_text():
                assert process.poll() is None, (tmp_path / "head.log").read_text()
                time.sleep(0.2)
            subprocess.run(publish, env={**env, "RAY_ADDRESS": address}, check=True, timeout=60)
            return address, env

        yield start


@pytest.mark.long
def test_a_sweep_gets_spot_instances_and_where_there_are_none_others(aws, market, gpu, head):
    address, env = head(gpu)
    sweep = [sys.executable, "-c", SWEEP, address]
    with running(*sweep, "2", env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        # Only the head is up, yet the sweep counts on 8 nodes of one GPU and 4 of four.
        assert first.stdout.readline() == "12; 2 workers x 8 CPU and 1 GPU\n"
        kinds, workers = started(aws, 2)
        assert kinds == [("g5.2xlarge", "spot")] * 2
        # The server knows the profile of one instance a request only.
        profiles = {worker.get("IamInstanceProfile", {}).get("Arn", "").rpartition("/")[2] for worker in workers}
        assert profiles - {""} == {"pgpc-worker"}
        for worker in workers:
            assert [group["GroupName"] for group in worker["SecurityGroups"]] == ["pgpc"]
            assert worker["MetadataOptions"]["HttpTokens"] == "required"
        market.has_spot = False
        with running(*sweep, "2", env=env, stdin=subprocess.PIPE):
            kinds, _ = started(aws, 4)
            assert market.refused > 0
            assert kinds == [("g5.2xlarge", "on demand")] * 2 + [("g5.2xlarge", "spot")] * 2


def decided(config, trials, workers, monitor):
    """The nodes that the autoscaler starts for so many trials on an empty cluster."""
    config = AutoscalingConfig(prepare_config(fill(config, VALUES)), skip_content_hash=True)
    worker = ResourceRequestUtil.make({"GPU": 1, "CPU": 8})
    request = SchedulingRequest(
        disable_launch_config_check=True,
        node_type_configs=config.get_node_type_configs(),
        max_num_nodes=config.get_max_num_nodes(),
        gang_resource_requests=[GangResourceRequest(requests=[worker] * workers) for _ in range(trials)],
        cloud_resource_availabilities=monitor.get_resource_availabilities(),
        recoverable_resource_availabilities=monitor.get_recoverable_resource_availabilities(),
    )
    answer = ResourceDemandScheduler(None).schedule(request)
    nodes = {launch.instance_type: launch.count for launch in answer.to_launch}
    return nodes, trials - len(answer.infeasible_gang_resource_requests)


@pytest.mark.parametrize(
    ("trials", "workers", "nodes", "running"),
    [
        (1, 2, {"gpu_1": 2}, 1),
        (5, 2, {"gpu_1": 8, "gpu_4": 1}, 5),
        (12, 2, {"gpu_1": 8, "gpu_4": 4}, 12),
        (13, 2, {"gpu_1": 8, "gpu_4": 4}, 12),  # as many as trial_slots counts
        (2, 4, {"gpu_4": 2}, 2),
    ],
)
def test_it_picks_by_need(gpu, trials, workers, nodes, running):
    assert decided(gpu, trials, workers, CloudResourceMonitor()) == (nodes, running)


def test_why_the_types_have_no_twins_on_demand(gpu):
    # Should this fail, Ray has learned it: twins of lower priority would do, and spot_first.py could go.
    types = gpu["available_node_types"]
    types["gpu_1"]["priority"] = 1
    types["twin"] = {**types["gpu_1"], "priority": 0}
    monitor = CloudResourceMonitor()
    event = InstanceUpdateEvent(instance_type="gpu_1", new_instance_status=Instance.ALLOCATION_FAILED)
    monitor.notify([event])  # AWS has refused
    assert decided(gpu, 1, 2, monitor) == ({"gpu_1": 2}, 1)
    event.new_instance_status = Instance.ALLOCATION_TIMEOUT
    monitor.notify([event])  # AWS has agreed, and nothing came
    assert decided(gpu, 1, 2, monitor) == ({"twin": 2}, 1)
