"""What may import what: the rooms of the house in one order, nothing upward, no circle, nothing slow too early."""

import ast
import importlib.metadata
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

ORDER = {
    "pgpc": (
        ("runtime",),
        ("classes",),
        ("data",),
        ("models",),
        ("adaptation", "contrast", "optimization"),
        ("config",),
        ("presets",),
        ("recipes",),
        ("evaluation",),
        ("bases",),
        ("diagnosis",),
        ("training", "figures"),
        ("cli",),
        ("__main__",),
    ),
    "sweeps": (
        ("common",),
        ("estimates",),
        ("definition",),
        ("search",),
        ("results",),
        ("findings",),
        ("execution", "progress", "reporting", "streams"),
        ("finalize",),
        ("comparability",),
        ("preparation",),
        ("driver",),
        ("command_line", "arguments"),
        ("report", "run_ablation"),
    ),
}
"""The rooms of each package, folders and files, from the ground up; those of one floor do not know one another."""

FLOOR = {
    f"{package}.{room}": i for package, floors in ORDER.items() for i, rooms in enumerate(floors) for room in rooms
}


def files(package):
    return sorted((ROOT / package).rglob("*.py"))


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path):
    """Every module that a file imports, in functions and for type checkers too; ``from a import b`` is a and a.b."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def room(module):
    return ".".join(module.split(".")[:2])


@pytest.mark.parametrize("package", ORDER)
def test_every_room_has_its_floor(package):
    rooms = {room(module_of(path)) for path in files(package)} - {package}
    assert rooms == {name for name in FLOOR if name.startswith(f"{package}.")}


@pytest.mark.parametrize("path", [p for package in ORDER for p in files(package)], ids=module_of)
def test_no_import_runs_up_or_sideways(path):
    """The face of a package, its __init__, hands on names of any room and is no room itself."""
    own = room(module_of(path))
    if own not in FLOOR:
        return
    package = own.partition(".")[0]
    theirs = {room(module) for module in imports(path)} & FLOOR.keys()
    beside_or_above = {other for other in theirs if other.startswith(package) and FLOOR[other] >= FLOOR[own]} - {own}
    assert not beside_or_above


def test_there_is_no_circle_of_files():
    modules = {module_of(path): path for package in ORDER for path in files(package)}
    graph = defaultdict(set)
    for module, path in modules.items():
        graph[module] = {name for name in imports(path) if name in modules and name != module}
        if path.name == "__init__.py":  # hands names of its own modules on, which may ask it for others
            graph[module] = {name for name in graph[module] if not name.startswith(f"{module}.")}
    done, path_to = set(), []

    def visit(module):
        assert module not in path_to, " -> ".join([*path_to[path_to.index(module) :], module])
        if module in done:
            return
        path_to.append(module)
        for other in sorted(graph[module]):
            visit(other)
        path_to.pop()
        done.add(module)

    for module in modules:
        visit(module)


def test_no_room_of_the_sweep_hides_a_module_of_python_or_of_a_dependency():
    """``python sweeps/run_ablation.py`` finds what lies in sweeps/ before everything else."""
    names = {path.stem for path in (ROOT / "sweeps").iterdir() if path.suffix == ".py" or path.is_dir()} - {"__init__"}
    assert not names & (sys.stdlib_module_names | set(importlib.metadata.packages_distributions()) - {"sweeps"})


def test_rooms_of_the_sweep_are_small():
    rooms = [folder for folder in (ROOT / "sweeps").rglob("*") if (folder / "__init__.py").is_file()]
    sizes = {room.name: len(list(room.glob("*.py"))) - 1 for room in rooms}
    assert len(sizes) == 18
    assert max(sizes.values()) <= 9, sizes


ROOF = "pgpc.config"
OWNERS = ("data", "models", "adaptation", "contrast", "optimization")


@pytest.mark.parametrize("owner", OWNERS)
def test_owners_of_config_parts_never_import_the_roof(owner):
    for path in files(f"pgpc/{owner}"):
        assert ROOF not in {module for module in imports(path) if not module.startswith(f"{ROOF}.")}, path


@pytest.mark.parametrize("path", files("pgpc"), ids=module_of)
def test_the_method_never_imports_the_sweep(path):
    assert not {module.split(".")[0] for module in imports(path)} & {"ray", "optuna", "sweeps"}


@pytest.mark.parametrize("room_", ["training", "bases/state.py", "bases/base.py", "data/loader.py"])
def test_the_loop_the_state_the_loader_and_the_trunk_name_no_base(room_):
    where = ROOT / "pgpc" / room_
    for path in [where] if where.is_file() else sorted(where.rglob("*.py")):
        named = {m for m in imports(path) if m.startswith(("pgpc.bases.proca", "pgpc.bases.self_training"))}
        assert not named, path
        code = ast.parse(path.read_text())
        constants = {node.value for node in ast.walk(code) if isinstance(node, ast.Constant)}
        # One exception: the name that ProCA's part had in older checkpoints.
        assert not constants & ({"self_training", "proca"} - ({"proca"} if path.name == "state.py" else set())), path


@pytest.mark.parametrize("package", ["sweeps", "cluster"])
def test_private_modules_of_ray_and_optuna_are_imported_in_one_file(package):
    allowed = {"private_ray.py", "private_optuna.py"}
    for path in files(package):
        private = {
            module
            for module in imports(path)
            if module.split(".")[0] in ("ray", "optuna")
            and any(part.startswith("_") and not part.startswith("__") for part in module.split("."))
        }
        assert not private or path.name in allowed, (path, private)


def loaded_by(code):
    """What is in sys.modules after some code."""
    command = [sys.executable, "-c", f"import sys; {code}; print(*sys.modules)"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stdout.split())


@pytest.mark.slow
def test_training_loads_neither_ray_nor_optuna():
    loaded = loaded_by("import pgpc.cli, pgpc.training, pgpc.models.mit_in_timm")
    assert "torch" in loaded
    assert not {"ray", "optuna"} & loaded


def test_configs_and_help_do_without_torch():
    assert "torch" not in loaded_by("import pgpc, pgpc.cli; pgpc.preset('streets')")


@pytest.mark.parametrize("room_", ["results", "reporting", "definition", "common"])
def test_results_and_reports_load_neither_ray_nor_torch(room_):
    modules = [module_of(path) for path in files(f"sweeps/{room_}") if "private" not in path.name]
    loaded = loaded_by(f"import {', '.join(modules)}")
    assert not {"ray", "torch"} & loaded


SLOW = {"timm", "tensorboard", "torchvision", "sklearn", "matplotlib", "PIL.Image", "torch._dynamo", "ray", "optuna"}
"""What takes long to import and only some commands need."""


@pytest.mark.slow
@pytest.mark.parametrize(("names", "needed"), [("pgpc", set()), ("pgpc.training, pgpc.contrast", {"PIL.Image"})])
def test_what_is_slow_is_imported_where_it_is_used(names, needed):
    assert SLOW & loaded_by(f"import {names}") == needed


@pytest.mark.slow
def test_a_mix_transformer_is_checked_measured_and_built_without_timm():
    """Each takes seconds to import, in every process: timm loads torchvision, and arithmetic on "meta" the compiler."""
    checked = "check_model(config.model); checkpoint_bytes(config)"
    built = "build_model(config.model); make_teacher(build_model(config.model))"
    loaded = loaded_by(
        "import pgpc; from pgpc.models import build_model, check_model; "
        "from pgpc.adaptation.teacher import make_teacher; "
        "from pgpc.bases.checkpoint_size import checkpoint_bytes; "
        f"config = pgpc.preset('streets'); {checked}; {built}"
    )
    assert not {"timm", "torchvision", "torch._dynamo"} & loaded
