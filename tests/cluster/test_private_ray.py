"""Ray's private modules: where they are imported, and for which version."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cluster import private_ray

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "cluster").glob("*.py"))
PUBLIC = {"ray", "ray.util"}


def imported(path: Path) -> set[str]:
    """The modules that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_private_modules_are_imported_in_one_file(path: Path) -> None:
    private = {name for name in imported(path) if name.partition(".")[0] == "ray"} - PUBLIC
    assert bool(private) == (path.name == "private_ray.py")


def test_everything_that_is_imported_is_explained() -> None:
    names = private_ray.__all__
    assert all(f"``{name}``" in private_ray.__doc__ and hasattr(private_ray, name) for name in names)


def test_another_version_is_refused_with_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "ray.py").write_text('__version__ = "2.61.0"')
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    run = subprocess.run(
        [sys.executable, "-c", "import cluster.private_ray"], env=env, cwd=tmp_path, capture_output=True, text=True
    )
    last = run.stderr.strip().splitlines()[-1]
    assert run.returncode == 1 and last.startswith(
        "ImportError: The cluster's scripts use private modules of Ray 2.60.*"
    )
    assert "but Ray 2.61.0 is installed; install ray==2.60.* or adapt" in last


@pytest.mark.slow
@pytest.mark.parametrize("name", ["publish_node_types", "spot_notice"])
def test_scripts_run_as_files_from_anywhere(name: str, tmp_path: Path) -> None:
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    # Without arguments they get as far as their first: all imports have succeeded by then.
    run = subprocess.run(
        [sys.executable, str(ROOT / "cluster" / f"{name}.py")], env=env, cwd=tmp_path, capture_output=True, text=True
    )
    error = run.stderr.strip().splitlines()[-1]
    assert run.returncode == 1 and error.startswith(("IndexError", "ValueError: not enough values to unpack"))
