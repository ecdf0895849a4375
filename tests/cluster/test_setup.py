"""The set-up commands of both files, run as the launcher runs them, in a home folder with only what it has copied.

Left out, because it takes 6 GB and root: the project's dependencies are those of the environment that the tests run in,
and what goes through sudo (system packages, the NFS export and mount) is written down instead of done.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROGRAMS = {
    "sudo": 'echo "$@" >> ~/sudo.log; if [ "$1" = tee ]; then cat > ~/exports; fi',
    "exportfs": "",
    "mount.nfs4": "",
    "curl": 'case "$*" in *vpc-ipv4-cidr-block) echo 10.1.0.0/16;; */mac) echo 0a:1b;; *) echo imds;; esac',
    "crontab": 'case "$1" in -l) cat ~/crontab;; *) cat > ~/crontab.new; mv ~/crontab.new ~/crontab;; esac',
}


class Node:
    """A home folder as the launcher leaves it before the set-up."""

    def __init__(self, folder: Path, config: dict):
        self.home = folder
        self.project = folder / "pgpc-code"
        for target, source in config["file_mounts"].items():
            target = folder / target.removeprefix("~/")
            target.parent.mkdir(parents=True, exist_ok=True)
            if source.startswith("~"):
                target.write_text("0f343b09-3112-6a20-f133-d67c2b018a3b")
                target.chmod(0o644)
            elif (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, target)
        programs = folder / "programs"
        programs.mkdir()
        for name, script in PROGRAMS.items():
            (programs / name).write_text(f"#!/bin/bash\n{script}\n")
            (programs / name).chmod(0o755)
        (programs / "python3").symlink_to(sys.executable)
        # All but the project itself, which the set-up must install.
        libraries = folder / "libraries"
        libraries.mkdir()
        for entry in Path(sysconfig.get_path("purelib")).iterdir():
            if "pgpc" not in entry.name:
                (libraries / entry.name).symlink_to(entry)
        self._env = {key: value for key, value in os.environ.items() if key.startswith(("AWS_", "LANG"))} | {
            "HOME": str(folder),
            "PATH": f"{programs}:/usr/bin:/bin:/usr/sbin:/sbin",
            "PYTHONPATH": str(libraries),
            "PIP_NO_INDEX": "1",
            "PIP_NO_DEPS": "1",
            "PIP_NO_BUILD_ISOLATION": "0",
        }

    def run(self, command: str, **env: str) -> subprocess.CompletedProcess:
        """As the launcher does, but for the terminal that it gives the shell."""
        shell = ["bash", "--norc", "-c", f"source ~/.bashrc 2> /dev/null; {command}"]
        run = subprocess.run(
            shell, env={**self._env, **env}, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120
        )
        return run


@pytest.fixture(scope="module")
def gpu_setup():
    config = yaml.safe_load((ROOT / "cluster" / "gpu.yaml").read_text())
    (command,) = config["setup_commands"]
    return config, command.replace("YOUR-BUCKET", "bucket")


@pytest.mark.slow
def test_head_and_worker_on_aws(s3, gpu_setup, tmp_path):
    config, command = gpu_setup
    node = Node(tmp_path, config)
    for _ in range(2):  # the second time changes nothing
        run = node.run(command)
        assert run.returncode == 0, run.stdout + run.stderr
    token = tmp_path / ".ray" / "auth_token"
    assert (token.stat().st_mode & 0o777, token.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert token.read_text() not in run.stdout + run.stderr
    assert (tmp_path / ".bashrc").read_text() == f"source {tmp_path}/pgpc-code/cluster/node.sh\n"
    assert (tmp_path / "exports").read_text() == "/results 10.1.0.0/16(rw,no_subtree_check)\n"
    assert (tmp_path / "crontab").read_text().count("*/5 * * * *") == 1
    assert "exportfs -ra" in (tmp_path / "sudo.log").read_text()
    assert "+ " in (node.project / "setup.log").read_text()  # every command, with its time

    # What the shells of the node find afterwards.
    found = node.run("command -v python pgpc ray save-results; echo $RAY_AUTH_MODE $RAY_JOB_STOP_WAIT_TIME_S")
    venv = node.project / ".venv" / "bin"
    assert found.stdout.split()[:2] == [str(venv / "python"), str(venv / "pgpc")]
    assert found.stdout.split()[-3:] == [str(venv / "save-results"), "token", "300"]
    # Ray's workers start in the home folder, where a folder named like the package would be taken for it.
    where = node.run("cd && python -c 'import pgpc, sweeps; print(pgpc.__file__, sweeps.__file__)'")
    assert where.stdout.split() == [str(node.project / p / "__init__.py") for p in ("pgpc", "sweeps")], where.stderr

    # A worker: it has cluster/ from the head, and so the head's versions.
    versions = (node.project / "cluster" / "constraints.txt").read_text()
    assert "ray==2.60.0" in versions.lower() and "file:" not in versions
    (tmp_path / "sudo.log").unlink()
    run = node.run(command, RAY_HEAD_IP="10.1.2.3")
    assert run.returncode == 0, run.stdout + run.stderr
    assert (tmp_path / "sudo.log").read_text().splitlines()[-1] == "mount -t nfs4 -o noatime 10.1.2.3:/results /results"
    assert f"install --constraint {node.project}/cluster/constraints.txt" in run.stdout + run.stderr

    token.unlink()
    run = node.run(command)
    assert run.returncode == 1 and "must hold the cluster's token" in run.stdout + run.stderr


def test_a_bucket_must_be_named_and_the_folder_of_own_machines_be_one(gpu_setup, tmp_path):
    config, command = gpu_setup
    node = Node(tmp_path, config)
    (node.project / ".venv" / "bin").mkdir(parents=True)
    pip = node.project / ".venv" / "bin" / "pip"  # what is tested comes after the installation
    pip.write_text("#!/bin/bash\n")
    pip.chmod(0o755)
    run = node.run(command.replace("//bucket", "//YOUR-BUCKET"))
    assert run.returncode == 1 and "need a bucket of yours" in run.stdout + run.stderr

    onprem = yaml.safe_load((ROOT / "cluster" / "onprem.yaml").read_text())["setup_commands"][0]
    shared, other = (onprem.replace("/shared/results", str(tmp_path / name)) for name in ("shared", "other"))
    for command, env, code in ((shared, {}, 0), (shared, {"RAY_HEAD_IP": "h"}, 0), (other, {"RAY_HEAD_IP": "h"}, 1)):
        run = node.run(command, **env)
        assert run.returncode == code, run.stdout + run.stderr
    assert "must be one folder for all machines" in run.stdout + run.stderr
    assert not (tmp_path / "sudo.log").exists()
