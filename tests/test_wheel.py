"""The wheel: what is in it, and what its metadata say."""

import configparser
import email
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import pgpc

ROOT = Path(__file__).parents[1]
COMMANDS = {
    "pgpc": "pgpc.cli:main",
    "pgpc-sweep": "sweeps.run_ablation:main",
    "pgpc-report": "sweeps.report:main",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of what is in this checkout, built in a copy so that nothing is left behind."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in ("pgpc", "sweeps", "cluster"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", folder, source], check=True)
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        yield archive


def read(wheel, name):
    (member,) = (member for member in wheel.namelist() if member.endswith(f".dist-info/{name}"))
    return wheel.read(member).decode()


@pytest.mark.slow
def test_the_wheel_has_every_file_of_the_packages(wheel):
    """Modules, and whatever lies beside them: templates, scripts, the files of `ray up`."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "pgpc", "sweeps", "cluster"]
    files = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    there = {name for name in files if (ROOT / name).is_file()}
    assert {"sweeps/reporting/webpage/page.html", "cluster/gpu.yaml", "cluster/setup.sh", "pgpc/py.typed"} <= there
    assert {name for name in wheel.namelist() if ".dist-info/" not in name} == there


@pytest.mark.slow
def test_the_wheel_has_the_commands_the_version_and_the_license(wheel):
    metadata = email.message_from_string(read(wheel, "METADATA"))
    assert (metadata["Name"], metadata["Version"]) == ("pgpc", pgpc.__version__)
    assert "Apache-2.0" in (metadata["License"], metadata["License-Expression"])
    assert read(wheel, "licenses/LICENSE") == (ROOT / "LICENSE").read_text()
    commands = configparser.ConfigParser()
    commands.read_string(read(wheel, "entry_points.txt"))
    assert dict(commands["console_scripts"]) == COMMANDS


@pytest.mark.slow
def test_the_commands_of_the_wheel_answer_outside_a_checkout(wheel, tmp_path):
    """They are found in a folder that has the wheel's files and nothing else."""
    wheel.extractall(tmp_path)
    alone = {"PYTHONPATH": "", "PATH": "", "COLUMNS": "100"}
    for name, place in COMMANDS.items():
        module, function = place.split(":")
        code = f"import sys; sys.argv = [{name!r}, '--help']; from {module} import {function}; {function}()"
        done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=alone, capture_output=True, text=True)
        assert done.returncode == 0 and done.stdout.startswith(f"usage: {name} "), done.stderr
