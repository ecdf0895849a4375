"""The page about choosing without labels says what the code has: its table, its rule, its default, its files."""

import re
from pathlib import Path

from pgpc.evaluation.criteria.table import CRITERIA, ENSEMBLE
from sweeps.definition.selection import DEFAULT_SELECTION, Selection
from tests.benchmarks import selection_evidence

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "selection.md").read_text()


def on_one_line(text):
    return " ".join(text.replace("\n> ", "\n").split())


def test_the_table_is_that_of_the_code():
    lines = [f"| `{c.name}` | {c.help} | {c.needs.value} | {c.source} |" for c in (*CRITERIA, ENSEMBLE)]
    written = [line for line in PAGE.splitlines() if line.startswith("| `")]
    assert written == lines


def test_the_rule_is_that_of_the_benchmark():
    rule = on_one_line(*re.findall(r"^> (Candidates.*?)\n\n", PAGE, re.MULTILINE | re.DOTALL))
    assert rule in on_one_line(selection_evidence.__doc__)
    named = {name for candidate in selection_evidence.CANDIDATES for name in candidate.text.split(":")[-1].split(",")}
    assert named == set(selection_evidence.SINGLE) and all(name in rule for name in named)
    together = [text for text in selection_evidence.TOGETHER if text.count(",") == 2]
    assert len(together) == 3 and all(text in rule for text in together)
    assert "1,000 bootstrap resamples" in rule and f"within {selection_evidence.TIE} points" in rule


def test_the_default_and_every_choice_that_is_named_are_there():
    assert f"else by `{DEFAULT_SELECTION}`" in PAGE
    choices = re.findall(r"--select-by ([\w:,]+)", PAGE)
    assert len(choices) > 3 and all(Selection.parse(choice) for choice in choices)


def test_every_file_that_is_named_exists():
    named = re.findall(r"`((?:pgpc|sweeps|tests|docs)/[\w./]+)", PAGE)
    assert len(named) > 1 and all((ROOT / path).exists() for path in named)
