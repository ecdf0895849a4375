"""slurm.sh with Slurm itself: a controller and two nodes on this machine, a sweep that is stopped, and its resumption.

It takes minutes, root and Debian's munge, slurmctld and slurmd, so that it runs only on request:

    PGPC_TEST_LONG=1 pytest tests/cluster/test_slurm.py
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "cluster" / "slurm.sh"
MISSING = [name for name in ("munged", "slurmctld", "slurmd", "sbatch", "scontrol") if not shutil.which(name)]
real = [
    pytest.mark.long,
    pytest.mark.skipif(os.getuid() != 0, reason="slurmd takes root"),
    pytest.mark.skipif(bool(MISSING), reason=f"there is no {', '.join(MISSING)}"),
    pytest.mark.timeout(1800),
]
CONFIG = """
ClusterName=pgpc
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
MpiDefault=none
ReturnToService=2
NodeName=one NodeHostname={host} NodeAddr=127.0.0.1 Port={one} CPUs=1
NodeName=two NodeHostname={host} NodeAddr=127.0.0.1 Port={two} CPUs=1
PartitionName=all Nodes=one,two Default=YES MaxTime=INFINITE State=UP
"""


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class Slurm:
    """A controller and two nodes of one core each."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack):
        self.folder = folder
        for name in ("state", "spool-one", "spool-two", "home"):
            (folder / name).mkdir()
        controller, one, two = free_ports(3)
        config = folder / "slurm.conf"
        host = socket.gethostname().partition(".")[0]
        config.write_text(CONFIG.format(host=host, folder=folder, controller=controller, one=one, two=two))
        key = folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "SLURM_"))},
            "SLURM_CONF": str(config),
            "HOME": str(folder / "home"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PGPC_CACHE": str(folder / "cache"),
        }
        files = ("key-file", "socket", "pid-file", "seed-file", "log-file")
        names = ("munge.key", "munge.socket", "munge.pid", "munge.seed", "munge.log")
        options = [f"--{option}={folder / name}" for option, name in zip(files, names, strict=True)]
        for command in (
            ["munged", "--foreground", "--force", *options],
            ["slurmctld", "-D", "-i"],
            ["slurmd", "-D", "-N", "one"],
            ["slurmd", "-D", "-N", "two"],
        ):
            log = (folder / f"{command[0]}-{command[-1] if '-N' in command else 'one'}.out").open("w")
            process = subprocess.Popen(command, env=self.env, stdout=log, stderr=log)
            stack.callback(self._end, process)
            time.sleep(2)
        stack.callback(self._cancel)

    def _cancel(self) -> None:
        """End the jobs, which outlive the nodes' daemons."""
        self.ask("scancel", "--user=root")
        deadline = time.monotonic() + 60
        while self.ask("squeue", "--noheader") and time.monotonic() < deadline:
            time.sleep(1)

    @staticmethod
    def _end(process: subprocess.Popen) -> None:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(20)
        if process.poll() is None:
            process.kill()

    def ask(self, *command: str) -> str:
        """What a command prints."""
        run = subprocess.run(command, cwd=ROOT, env=self.env, capture_output=True, text=True, timeout=60)
        assert run.returncode == 0, run.stdout + run.stderr
        return run.stdout.strip()

    def state(self, job: str) -> str:
        """The state of a job, such as RUNNING."""
        shown = self.ask("scontrol", "show", "job", job)
        return next(word for word in shown.split() if word.startswith("JobState=")).removeprefix("JobState=")

    def wait(self, job: str, *, until, seconds: float = 500) -> str:
        """What a job has printed, once that is so."""
        deadline = time.monotonic() + seconds
        while True:
            log = self.folder / f"{job}.log"
            text, state = log.read_text() if log.exists() else "", self.state(job)
            if until(text, state):
                return text
            assert time.monotonic() < deadline and state in ("PENDING", "RUNNING", "COMPLETING"), (state, text)
            time.sleep(2)

    def submit(self, *arguments: str) -> str:
        """The number of a job on both nodes."""
        options = ["--parsable", "--nodes=2", f"--output={self.folder}/%j.log", "--time=20"]
        return self.ask("sbatch", *options, str(SCRIPT), "--storage", str(self.folder / "results"), *arguments)


@pytest.fixture
def slurm(tmp_path):
    with contextlib.ExitStack() as stack:
        yield Slurm(tmp_path, stack)


class TestReal:
    """With Slurm itself."""

    pytestmark = real

    def test_a_sweep_that_is_asked_to_stop_is_resumed_by_another_job(self, slurm):
        small = "--name first --trials 1 --concurrency 1 --no-warm-up --set training.iterations=30"
        small += " --set training.eval_interval=10 --set contrast.start=10"
        first = slurm.submit(*small.split())
        checkpoints = slurm.folder / "results" / "first" / "trials"
        slurm.wait(first, until=lambda text, _: list(checkpoints.glob("*/checkpoint_*")))
        # What Slurm does ten minutes before the end: the signal goes to the script alone.
        slurm.ask("scancel", "--batch", "--signal=TERM", first)
        text = slurm.wait(first, until=lambda _, state: state not in ("RUNNING", "COMPLETING"))
        assert "Stopping; what runs can be resumed later" in text, text
        token = slurm.folder / "home" / ".ray" / "auth_token"
        assert (token.stat().st_mode & 0o777, token.parent.stat().st_mode & 0o777) == (0o600, 0o700)
        assert token.read_text() not in text
        second = slurm.submit("--resume", "first")
        text = slurm.wait(second, until=lambda _, state: state not in ("PENDING", "RUNNING", "COMPLETING"))
        assert slurm.state(second) == "COMPLETED" and "0000" in text and "complete" in text, text
        assert not list(Path("/tmp").glob(f"ray-{second}*"))


def run(command, **env):
    base = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    return subprocess.run(command, env={**base, **env}, capture_output=True, text=True)


def test_outside_slurm_one_sentence():
    done = run(["bash", str(SCRIPT)])
    assert done.returncode == 1 and "Give it to sbatch" in done.stderr


def test_elsewhere_than_in_the_root_one_sentence(tmp_path):
    ray = tmp_path / "ray"
    ray.write_text("#!/bin/sh\n")
    ray.chmod(0o755)
    command = ["bash", "-c", f"cd {tmp_path} && bash {SCRIPT}"]
    done = run(command, SLURM_JOB_ID="1", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert done.returncode == 1 and "must start in the project's root" in done.stderr


def test_ray_asks_for_the_token_and_shows_nothing():
    text = SCRIPT.read_text()
    assert "export RAY_AUTH_MODE=token" in text and "0.0.0.0" not in text
    assert text.count("ray start --head") == 1 and "--dashboard-host=127.0.0.1" in text
