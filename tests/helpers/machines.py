"""Hosts on one machine: network namespaces with sshd, each with processes, a home and a shared memory of its own.

Making them takes root, iproute2, openssh-server and rsync.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).parents[2]
MISSING = [name for name in ("ip", "unshare", "sshd", "ssh", "ssh-keygen", "rsync") if not shutil.which(name)]
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
if [ -d /results ]; then mount -t tmpfs tmpfs /results; fi
exec {command}
"""
SSHD = """
ListenAddress {address}
HostKey {keys}/host
AuthorizedKeysFile {keys}/user.pub
StrictModes no
UsePAM no
PidFile none
SetEnv PIP_NO_INDEX=1 PIP_NO_DEPS=1 PIP_NO_BUILD_ISOLATION=0 PYTHONPATH={libraries} PGPC_CACHE={cache} {env}
"""


class Machines:
    """Hosts on one network, each with processes, a home folder, a temporary and a shared memory of its own."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack, *, env: str = "", outside: str | None = None):
        """Start the hosts.

        Args:
            folder: A folder for what they need.
            stack: What ends them.
            env: More variables, NAME=VALUE, of the shells on them.
            outside: An address of this machine in their network; None keeps it out.
        """
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
        if outside is not None:
            _ip("addr", "add", f"{outside}/24", "dev", bridge)
        for number, (name, address) in enumerate(HOSTS.items()):
            space, inside, plug = self.names[name], f"eth{number}", f"{bridge}n{number}"
            _ip("netns", "add", space)
            stack.callback(_ip, "netns", "del", space)
            _ip("link", "add", plug, "type", "veth", "peer", "name", inside, "netns", space)
            _ip("link", "set", plug, "master", bridge, "up")
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
            values = {"keys": keys, "libraries": sysconfig.get_path("purelib"), "cache": folder / "cache", "env": env}
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
