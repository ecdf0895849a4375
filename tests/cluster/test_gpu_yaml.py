"""The cluster file against the launcher's own schema, and against what must not be open to the world."""

import ipaddress
from pathlib import Path

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

FILE = Path(__file__).parents[2] / "cluster" / "gpu.yaml"


@pytest.fixture(scope="module")
def config():
    return yaml.safe_load(FILE.read_text())


def test_the_launcher_accepts_it(config):
    validate_config(prepare_config(config))


def test_only_ssh_from_one_address_gets_in(config):
    for rule in config["provider"]["security_group"]["IpPermissions"]:
        assert (rule["FromPort"], rule["ToPort"]) == (22, 22)
        assert all(ipaddress.ip_network(r["CidrIp"]).num_addresses == 1 for r in rule["IpRanges"])


def test_every_start_needs_the_token_and_the_dashboard_stays_on_the_head(config):
    starts = [c for k in ("head", "worker") for c in config[f"{k}_start_ray_commands"] if "ray start" in c]
    assert len(starts) == 2
    assert all(c.startswith("RAY_AUTH_MODE=token ") for c in starts)
    assert "--dashboard-host=127.0.0.1" in starts[0]
    assert config["file_mounts"]["/home/ubuntu/.ray/auth_token"] == "~/.ray/auth_token"  # a file, no text


def test_the_head_runs_no_trials_and_workers_come_and_go(config):
    types = config["available_node_types"]
    assert types[config["head_node_type"]]["resources"] == {"CPU": 0, "GPU": 0}
    assert types["gpu_worker"]["min_workers"] == 0
