"""Writing the three files of a report, of whatever sweep."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from sweeps.reporting.write import attempt
from sweeps.results.tables import escaped
from tests.helpers.reports import COMPLETE, FAIL, TYPICAL, Make, Write


@pytest.mark.parametrize(
    ("trials", "base"),
    [
        ([], None),
        ([], {0: [10, 20, 29, 30]}),
        (TYPICAL[:1], None),
        (TYPICAL[2:3], None),
        (TYPICAL[3:], None),
        ([(TrialState.RUNNING, {0: [float(9)]}, "")], None),
        ([(FAIL, {0: [float("nan")]}, "mIoU is not a number")], None),
        ([(COMPLETE, {0: [1, 2, 3, 5.0]}, "")] * 2, {0: [1, 2, 3, 5.0]}),
    ],
    ids=["empty", "base alone", "one", "pruned", "all failed", "running", "nan", "all alike"],
)
def test_sweeps_with_little_in_them(make: Make, write: Write, trials: list[Any], base: Any) -> None:
    page, source, markdown, latex = write(make(trials, base))
    assert len(page.tables.get("table-ranking", [[]])) == 1 + len(trials) + bool(base) or not trials
    assert not re.search(r"\bnan\b", source.partition("<script>")[0] + markdown + latex, flags=re.IGNORECASE)
    assert "Written" in page.words and markdown and latex


def test_a_moved_sweep_has_the_same_report(make: Make, write: Write) -> None:
    folder = make(TYPICAL, {0: [10, 20, 29, 30.111]})
    before = write(folder).page.tables
    moved = folder.rename(folder.with_name("moved"))
    assert write(moved).page.tables == before


@pytest.mark.slow
def test_a_report_that_fails_says_so_and_the_last_one_is_kept(make: Make) -> None:
    folder, said = make(TYPICAL), list[str]()
    attempt(folder, said.append, images=0)
    first = (folder / "report.html").read_bytes()
    (folder / "results.parquet").write_bytes(b"damaged")
    attempt(folder, said.append, images=0)
    assert len(said) == 1 and said[0].startswith("the report could not be written: ") and "\n" not in said[0]
    assert (folder / "report.html").read_bytes() == first


def test_markdown_has_headline_tables_and_commands(typical: Path, write: Write) -> None:
    markdown = write(typical).markdown
    assert markdown.startswith(f"# {escaped(typical.name)}\n\n3 trials, 1 of them stopped early, 1 seed: 0001 has")
    assert markdown.count("| rank | trial | status |") == 1 and markdown.rstrip().endswith("```")
    assert "# 0001\ntorchrun" in markdown


def test_what_a_folder_of_somebody_else_says_stays_text(make: Make, write: Write) -> None:
    folder = make([*TYPICAL[:1], (FAIL, {0: [9]}, "\x1b[2J\u202e www.example.org [x](https://example.org)")])
    stored = json.loads((folder / "sweep.json").read_text())
    stored["runs"][0]["command"] = "python x\n````\n# [a](b) \x1b[31m"
    (folder / "sweep.json").write_text(json.dumps(stored))
    _, source, markdown, latex = write(folder)
    for text in (source, markdown, latex):
        assert not {"\x1b", "\u202e"} & set(text) and "\\u" in text.replace("textbackslash{}u", "\\u")
    assert markdown.splitlines().count("`````") == 1 and "`````bash" in markdown, "no command ends the block"
    assert "https://" not in markdown and r"www\.example.org" in markdown
