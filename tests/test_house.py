"""Rules about the code itself that the linter does not know."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(path for package in ("pgpc", "sweeps", "cluster") for path in (ROOT / package).rglob("*.py"))
MOST_LINES = 80
NOT_A_VERB = {
    *("The", "A", "An", "What", "Whether", "One", "Where", "All", "How", "Of"),
    *("By", "For", "As", "This", "That", "Every", "Nothing", "Rows", "Images", "Logits"),
    *("Labels", "Name", "Plain", "Called", "These", "Those", "It", "Its", "If"),
}
"""Words that a docstring of a function must not begin with: it says what the function does."""


def functions(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def is_property(node):
    names = {getattr(d, "attr", getattr(d, "id", "")) for d in node.decorator_list}
    return bool(names & {"property", "cached_property"})


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_functions_are_short_and_their_docstrings_begin_with_a_verb(path):
    for node in functions(path):
        assert node.end_lineno - node.lineno < MOST_LINES, node.name
        text = ast.get_docstring(node)
        if text and not is_property(node):
            first = text.split()[0]
            assert first not in NOT_A_VERB and re.match(r"[A-Z][a-z-]+[:.,]?$", first), f"{node.name}: {text[:60]!r}"


def test_the_formatter_is_switched_off_nowhere_or_almost():
    command = ["git", "grep", "-c", "fmt: " + "skip", "--", "*.py"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.split()
    assert sum(int(line.rpartition(":")[2]) for line in found) <= 20


def test_what_the_type_checker_is_told_to_ignore_has_a_reason():
    for path in FILES:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if "type: " + "ignore" in line:
                assert re.search(r"type: ignore\[[\w, -]+\]\s+# \S+", line), f"{path.relative_to(ROOT)}:{number}"


def test_the_package_is_typed_for_those_who_use_it():
    assert (ROOT / "pgpc" / "py.typed").is_file()
    assert (ROOT / "sweeps" / "py.typed").is_file()
