"""The page for those who change something names what is there: files, rooms in their order, readable code."""

import ast
import importlib
import re
import textwrap
from pathlib import Path

import pytest

from tests.test_imports import FLOOR

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "contributing.md").read_text()
PACKAGES = ("pgpc", "sweeps")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
PROSE = re.sub(r"^```.*?^```", "", PAGE, flags=re.MULTILINE | re.DOTALL)
RECIPES = re.findall(r"^### (.*?)\n(.*?)(?=^##)", PAGE, re.MULTILINE | re.DOTALL)
FILE = re.compile(r"`((?:pgpc|sweeps|tests|docs|cluster)/[\w./]*|README\.md)`")


def tree():
    """The paths in the map, in its order, those of folders with a "/" at the end."""
    (text,) = (content for kind, content in BLOCKS if kind == "text")
    parents, found = [], []
    for line in text.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        name = line.split()[0]
        parents[depth:] = [name]
        found.append("".join(parents))
    return found


def rooms():
    return {
        f"{file.parent.relative_to(ROOT)}/" for package in PACKAGES for file in (ROOT / package).rglob("__init__.py")
    }


def test_the_map_has_every_room_and_nothing_that_is_not_there():
    assert {path for path in tree() if path.endswith("/")} == rooms()
    assert all((ROOT / path).exists() for path in tree())
    assert len(set(tree())) == len(tree())


@pytest.mark.parametrize("package", PACKAGES)
def test_the_map_is_in_the_order_of_imports(package):
    inside = [path.removesuffix("/").removesuffix(".py").split("/") for path in tree()]
    floors = [FLOOR[".".join(parts)] for parts in inside if parts[0] == package and len(parts) == 2]
    assert len(floors) > 5
    assert floors == sorted(floors)


def test_every_file_that_is_named_exists():
    new = set(re.findall(FILE.pattern + r" \(new\)", PROSE))
    named = set(FILE.findall(PROSE))
    assert len(named) > 30
    missing = {path for path in named if not (ROOT / path).exists()}
    assert missing == new
    links = re.findall(r"\]\(([^)#]+)\)", PROSE)
    assert links and all((ROOT / "docs" / link).exists() for link in links)


def test_every_recipe_touches_at_most_three_files():
    assert len(RECIPES) == 6
    for title, text in RECIPES:
        code = {path for path in FILE.findall(text) if not path.startswith("tests/")}
        assert 1 <= len(code) <= 3, title


@pytest.mark.parametrize("code", [content for kind, content in BLOCKS if kind == "python"])
def test_the_code_in_recipes_can_be_read(code):
    try:
        ast.parse(code)
    except SyntaxError:  # a statement of a function, or an entry of a table
        ast.parse(
            f"def f():\n    [\n{code}]" if code.rstrip().endswith(",") else f"def f():\n{textwrap.indent(code, '  ')}"
        )


USED = {
    "pgpc.contrast.reliability": ("at_least_float32", "rank_negatives"),
    "pgpc.bases.self_training": ("SelfTraining", "SelfTraining.more_passes"),
    "pgpc.bases.base": ("Base.images_per_step", "Base.prepare", "Base.step", "Base.make_part", "Base.learning_rate"),
    "pgpc.bases.passes": ("Pass", "backward", "begin_step", "end_step"),
    "pgpc.bases.losses": ("cross_entropy",),
    "pgpc.presets": ("BASES", "BasePreset", "_UNIFORM"),
    "pgpc.data.layouts.known": ("LAYOUTS", "Layout", "Split", "Labels", "train_id_labels"),
    "pgpc.cli.pack": ("_LAYOUTS",),
    "sweeps.search.samplers": ("Sampler", "BaseSampler"),
    "pgpc.evaluation.scores": ("Metrics.overall", "Metrics.pixels", "Metrics.iou", "_percent"),
    "sweeps.reporting.tables": ("ranked", "Column"),
    "sweeps.reporting.data": ("SweepReport.metric",),
}
"""What the recipes take from the files that they change."""


@pytest.mark.parametrize("module", USED)
def test_what_the_recipes_use_is_there(module):
    for dotted in USED[module]:
        found = importlib.import_module(module)
        for name in dotted.split("."):
            found = getattr(found, name)
        assert dotted.rpartition(".")[2] in PAGE
