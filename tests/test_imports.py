"""What may import what."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import pgpc

PACKAGE = Path(pgpc.__file__).parent


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_the_method_never_imports_the_sweep(path):
    imported = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            imported |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            imported.add(node.module.split(".")[0])
    assert not imported & {"ray", "optuna", "sweeps"}


def test_training_loads_neither_ray_nor_optuna():
    code = "import sys, pgpc.cli, pgpc.training, pgpc.models.mit; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "torch" in loaded
    assert not {"ray", "optuna"} & set(loaded)


def test_configs_and_help_do_without_torch():
    code = "import sys, pgpc, pgpc.cli; pgpc.preset('streets'); print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


SLOW = {"timm", "tensorboard", "torchvision", "sklearn", "matplotlib", "PIL.Image", "torch._dynamo", "ray", "optuna"}
"""What takes long to import and only some commands need."""


@pytest.mark.parametrize(("names", "needed"), [("pgpc", set()), ("pgpc.training, pgpc.contrast", {"PIL.Image"})])
def test_what_is_slow_is_imported_where_it_is_used(names, needed):
    code = f"import sys, {names}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert SLOW & set(loaded) == needed
