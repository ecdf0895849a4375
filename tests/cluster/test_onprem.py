"""onprem.yaml for real: a laptop, a head and two workers as network namespaces of one machine, with sshd between them.

It takes minutes, and root with the right to make namespaces, so that it runs only on request:

    PGPC_TEST_LONG=1 pytest tests/cluster/test_onprem.py

The one thing that is not as on real machines: the dependencies are those of the environment that the tests run in.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
MISSING = [name for name in ("ip", "unshare", "sshd", "ssh", "ssh-keygen", "rsync") if not shutil.which(name)]
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(os.getuid() != 0, reason="making network namespaces takes root"),
    pytest.mark.skipif(bool(MISSING), reason=f"there is no {', '.join(MISSING)}"),
    pytest.mark.timeout(600),
]
HOSTS = {"laptop": "10.200.71.1", "head": "10.200.71.2", "one": "10.200.71.3", "two": "10.200.71.4"}
HOST = """
set -e
ip link set lo up
hostname {address}  # gloo connects to what the host's name resolves to
for each in {interpreter}; do mkdir -p {folder}/home/$each; mount --bind $HOME/$each {folder}/home/$each; done
mount --rbind {folder}/home $HOME  # with the interpreter in it
mkdir -p /tmp/ray /run/sshd
mount --bind {folder}/ray /tmp/ray
mount -t tmpfs tmpfs /dev/shm
exec {command}
"""
SSHD = """
ListenAddress {address}
HostKey {keys}/host
AuthorizedKeysFile {keys}/user.pub
StrictModes no
UsePAM no
PidFile none
SetEnv PIP_NO_INDEX=1 PIP_NO_DEPS=1 PIP_NO_BUILD_ISOLATION=0 PYTHONPATH={libraries} PGPC_CACHE={cache}
"""


class Machines:
    """Hosts on one network, each with processes, a home folder, a temporary and a shared memory of its own."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack):
        self.folder, self.names = folder, {name: f"pgpc-{os.getpid()}-{name}" for name in HOSTS}
        self._processes: dict[str, subprocess.Popen] = {}
        keys = folder / "keys"
        keys.mkdir()
        for key in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys / key)], check=True)
        bridge = f"pg{os.getpid()}"
        _ip("link", "add", bridge, "type", "bridge")
        stack.callback(_ip, "link", "del", bridge)
        _ip("link", "set", bridge, "up")
        for number, (name, address) in enumerate(HOSTS.items()):
            space, inside, outside = self.names[name], f"eth{number}", f"{bridge}n{number}"
            _ip("netns", "add", space)
            stack.callback(_ip, "netns", "del", space)
            _ip("link", "add", outside, "type", "veth", "peer", "name", inside, "netns", space)
            _ip("link", "set", outside, "master", bridge, "up")
            _ip("-n", space, "addr", "add", f"{address}/24", "dev", inside)
            _ip("-n", space, "link", "set", inside, "up")
            home = folder / name / "home"
            (home / "bin").mkdir(parents=True)
            (folder / name / "ray").mkdir()
            (home / ".bashrc").write_text(f'export PATH="$HOME/bin:{Path(sys.executable).parent}:$PATH"\n')
            # An environment without dependencies of its own has no command `ray`; this is the one that runs in it.
            ray = home / "bin" / "ray"
            ray.write_text('#!/bin/sh\nexec python -m ray.scripts.scripts "$@"\n')
            ray.chmod(0o755)
            values = {"keys": keys, "libraries": sysconfig.get_path("purelib"), "cache": folder / "cache"}
            (folder / name / "sshd").write_text(SSHD.format(address=address, **values))
        for name in ("head", "one", "two"):
            command = f"{shutil.which('sshd')} -D -e -f {folder / name / 'sshd'}"
            log = (folder / name / "sshd.log").open("w")
            process = subprocess.Popen(self._on(name, command), stdout=log, stderr=log, start_new_session=True)
            self._processes[name] = process
            stack.callback(_end, process)
        token = folder / "laptop" / "home" / ".ray" / "auth_token"
        token.parent.mkdir()
        token.write_text("0f343b09-3112-6a20-f133-d67c2b018a3b")
        token.chmod(0o600)

    def _on(self, name: str, command: str) -> list[str]:
        home, base = Path.home(), Path(sys.base_prefix)
        inside = str(base.relative_to(home)) if base.is_relative_to(home) else ""
        script = HOST.format(address=HOSTS[name], folder=self.folder / name, interpreter=inside, command=command)
        return [
            "ip",
            "netns",
            "exec",
            self.names[name],
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "--uts",
            "bash",
            "-c",
            script,
        ]

    def laptop(self, command: str, **env: str) -> subprocess.Popen:
        """A command of the user."""
        environment = {
            **os.environ,
            "TMPDIR": str(self.folder / "laptop"),
            "RAY_USAGE_STATS_ENABLED": "0",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            **env,
        }
        return subprocess.Popen(
            self._on("laptop", f"bash -c '{command}'"),
            env=environment,
            cwd=ROOT,
            text=True,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def ask(self, command: str, code: int = 0, **env: str) -> str:
        """What a command of the user prints."""
        process = self.laptop(command, **env)
        output, _ = process.communicate(timeout=400)
        assert process.returncode == code, output
        return output

    def processes(self, name: str) -> list[str]:
        """Command lines of a host's processes."""
        space = os.readlink(f"/proc/{_child(self._processes[name].pid)}/ns/pid")
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if os.readlink(process / "ns/pid") == space:
                    found.append((process / "cmdline").read_text().replace("\0", " "))
        return found


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def _child(pid: int) -> int:
    """The first process of the namespace that `unshare --fork` has made; `ip netns exec` becomes unshare itself."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def _end(process: subprocess.Popen) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # and by --kill-child all that runs in its namespace
    process.wait()


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
