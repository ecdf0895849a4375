"""onprem.yaml for real: a laptop, a head and two workers as network namespaces of one machine, with sshd between them.

It takes minutes, and root with the right to make namespaces, so that it runs only on request:

    PGPC_TEST_LONG=1 pytest tests/cluster/test_onprem.py

The one thing that is not as on real machines: the dependencies are those of the environment that the tests run in.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from pathlib import Path

import pytest
import yaml

from tests.helpers.machines import HOSTS, MISSING, Machines

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(os.getuid() != 0, reason="making network namespaces takes root"),
    pytest.mark.skipif(bool(MISSING), reason=f"there is no {', '.join(MISSING)}"),
    pytest.mark.timeout(600),
]


@pytest.fixture
def machines(tmp_path):
    with contextlib.ExitStack() as stack:
        yield Machines(tmp_path, stack)


@pytest.fixture
def onprem(machines):
    """The file, edited as its header says, and with little memory and one core a worker: a trial of two needs both."""
    config = yaml.safe_load((ROOT / "cluster" / "onprem.yaml").read_text())
    config["provider"] |= {"head_ip": HOSTS["head"], "worker_ips": [HOSTS["one"], HOSTS["two"]]}
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(machines.folder / "keys" / "user")}
    config["setup_commands"] = [c.replace("/shared", str(machines.folder)) for c in config["setup_commands"]]
    for kind, few in (("head", ""), ("worker", " --num-cpus=1")):
        key = f"{kind}_start_ray_commands"
        little = f"ray start --object-store-memory=100000000{few} "
        config[key] = [c.replace("ray start ", little) for c in config[key]]
    file = machines.folder / "onprem.yaml"
    file.write_text(yaml.safe_dump(config))
    return file


def test_a_sweep_on_own_machines(machines, onprem):
    machines.ask(f"ray up -y {onprem}")
    for name in ("head", "one", "two"):
        token = machines.folder / name / "home" / ".ray" / "auth_token"
        deadline = time.monotonic() + 120
        while not any("raylet/raylet" in line for line in machines.processes(name)):
            assert time.monotonic() < deadline, f"{name} does not come up"
            time.sleep(1)
        assert token.stat().st_mode & 0o777 == 0o600

    results = machines.folder / "results"
    sweep = f"python pgpc-code/sweeps/run_ablation.py --address auto --storage {results}"
    small = "--name first --trials 1 --concurrency 1 --set training.iterations=30"
    small += " --set training.eval_interval=10 --set contrast.start=10"
    output = machines.ask(f"""
        export RAY_API_SERVER_ADDRESS=http://127.0.0.1:8265
        ray dashboard {onprem} > /dev/null 2>&1 & tunnel=$!
        until curl --silent http://127.0.0.1:8265 > /dev/null; do sleep 1; done
        export RAY_AUTH_MODE=disabled
        echo without a token: $(ray job list 2>&1 | tail -n 1)
        export RAY_AUTH_MODE=token
        ray job submit --no-wait --submission-id first -- {sweep} {small}
        until ls -d {results}/first/trials/*/checkpoint_* 2> /dev/null; do
            if ray job status first 2>&1 | grep -qE "succeeded|failed|stopped"; then break; fi
            sleep 2
        done
        ray job stop first
        ray job logs first
        ray job status first
        echo resuming
        ray job submit --no-wait --submission-id second -- {sweep} --resume first
        ray job logs -f second
        ray job status second
        kill $tunnel
    """)
    (machines.folder / "output").write_text(output)
    stopped, _, resumed = output.partition("\nresuming\n")
    assert re.search(r"without a token: .*(401|[Uu]nauth|token)", stopped), output
    assert "Stopping; what runs can be resumed later" in stopped, output
    assert re.search(r"resume +python sweeps/run_ablation.py --resume first", stopped), output  # it had the time for it
    assert "Job 'second' succeeded" in resumed and re.search(r"0000 +complete", resumed), output
    machines.ask(f"ray rsync-down {onprem} {results}/first/report.html {machines.folder}/report.html")
    assert "<html" in (machines.folder / "report.html").read_text()

    machines.ask(f"ray down -y {onprem}")
    deadline = time.monotonic() + 120
    while left := [line for name in ("head", "one", "two") for line in machines.processes(name) if "raylet/" in line]:
        assert time.monotonic() < deadline, left
        time.sleep(2)
