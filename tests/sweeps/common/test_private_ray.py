"""The sweep refuses a Ray whose private parts it does not know, and uses them in one place only."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import ray

from sweeps.common import private_ray

SWEEPS = Path(private_ray.__file__).parents[1]


@pytest.mark.parametrize("version", ["2.60.0", "2.60.3"])
def test_patches_of_the_release_are_taken(version: str) -> None:
    private_ray.check_version(version)


@pytest.mark.parametrize("version", ["2.61.0", "2.6.0", "3.60.0", "2.59.1"])
def test_another_release_is_refused_in_one_sentence(version: str) -> None:
    with pytest.raises(ImportError, match=f"private to release 2.60, but Ray {version} is installed. Run `pip") as stop:
        private_ray.check_version(version)
    assert stop.value.name == "ray" and "\n" not in str(stop.value)


def test_the_installed_ray_is_the_one_that_was_read() -> None:
    private_ray.check_version(ray.__version__)


def _is_private(module: str) -> bool:
    return module.startswith("ray.") and (any(part.startswith("_") for part in module.split(".")) or ".v2." in module)


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted(SWEEPS.rglob("*.py")), ids=lambda path: str(path.relative_to(SWEEPS)))
def test_nobody_else_imports_private_parts_of_ray(path: Path) -> None:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if _is_private(alias.name)}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            found |= {name for name in names if _is_private(name)}
    assert bool(found) == (path.name == "private_ray.py"), found


@pytest.mark.parametrize("path", sorted(SWEEPS.rglob("*.py")), ids=lambda path: str(path.relative_to(SWEEPS)))
def test_nobody_else_uses_private_names_of_optuna(path: Path) -> None:
    private = [name for name in ("._trial_id", "._contains(") if name in path.read_text()]
    assert bool(private) == (path.name == "private_optuna.py"), private
