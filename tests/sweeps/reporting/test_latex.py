"""Tables as LaTeX, which a real LaTeX compiles where there is one."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from sweeps.reporting.latex import document, latex, to_latex
from sweeps.results import tables
from sweeps.results.tables import Cell, Column, Table
from tests.helpers.reports import Write

COLUMNS = [
    Column[Cell]("name", lambda cell: tables.word("a_b"), left=True),
    Column[Cell]("- base", lambda cell: cell),
]
TEX = next((name for name in ("pdflatex", "tectonic") if shutil.which(name)), None)
NASTY = (
    "no such file: /data/"
    + "very_long_folder.name/" * 9
    + "x" * 200
    + " \\ {a} 50 % $x_1^2$ #1 ~ <b> | 'q' ä 中 \u03bb \u2264 \x1b"
)


def compiled(text: str, folder: Path) -> str:
    """What LaTeX says of a file, which it compiles without errors."""
    folder.mkdir(exist_ok=True)
    (folder / "report.tex").write_text(text)
    options = ["--keep-logs"] if TEX == "tectonic" else ["-interaction=nonstopmode", "-halt-on-error"]
    done = subprocess.run(
        [str(TEX), *options, "report.tex"], cwd=folder, check=False, capture_output=True, text=True, errors="replace"
    )
    assert done.returncode == 0 and (folder / "report.pdf").stat().st_size > 1000, done.stdout[-2000:]
    return (folder / "report.log").read_text(errors="replace")


def many(name: str, num_columns: int, num_rows: int, head: str = "column") -> Table:
    columns = [Column[int]("trial", lambda i: tables.word(f"{i:04d}"), left=True)]
    columns += [Column(f"{head} {k}", lambda i: tables.number(i / 7)) for k in range(num_columns)]
    return Table.of(name, "All of them. " * 40, columns, range(num_rows))


def test_what_means_something_to_latex_is_escaped() -> None:
    assert latex("50 % of a_b\n{x} \u2212 y\u2013z ± ~") == r"50 \% of a\_b \{x\} $-$ y--z $\pm$ \textasciitilde{}"
    assert latex("--no-warm-up \u4e2d \ufb01 \u2264") == "-{}-no-warm-up [U+4E2D] fi [U+2264]"
    text = to_latex(Table.of("x", "A & B", COLUMNS, [tables.number(-1.5, strong=True)]))
    assert r"\begin{tabular}{lr}" in text and r"\caption{A \& B}" in text and r"a\_b & \textbf{$-$1.50} \\" in text


def test_a_table_of_many_rows_goes_on_under_the_same_number() -> None:
    text = to_latex(many("all", 3, 60))
    assert text.count(r"\begin{table}") == text.count(r"\midrule") == 3
    assert text.count(r"\label{tab:all}") == 1 and text.count(r"\addtocounter{table}{-1}") == 2
    assert re.findall(r"^ +(\d{4}) &", text, re.MULTILINE) == [f"{i:04d}" for i in range(60)]


def test_names_of_numbers_are_turned_in_wide_tables_only() -> None:
    assert r"\rotatebox" not in to_latex(many("narrow", 5, 3))
    assert to_latex(many("wide", 19, 3)).count(r"\rotatebox{90}{column") == 19


def test_reports_are_balanced_and_escaped(typical: Path, write: Write) -> None:
    found = write(typical).latex
    body = found[found.index(r"\makeatother") :]
    bare = re.sub(r"\\[\\{}$&#%_]", "", body)
    assert bare.count("{") == bare.count("}") and bare.count("$") % 2 == 0
    assert not re.search(r"[_#^~<>|\u2013\u2212]", re.sub(r"\\label\{[^}]*\}", "", bare))
    assert "%" not in bare
    for name in ("table", "tabular"):
        assert body.count(rf"\begin{{{name}}}") == body.count(rf"\end{{{name}}}") == 4
    for columns, lines in re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", body, flags=re.DOTALL):
        cells = re.sub(r"\\&", "", lines).split(r"\\")[:-1]
        assert {line.count("&") for line in cells} == {len(columns) - 1}


@pytest.mark.slow
@pytest.mark.skipif(TEX is None, reason="no LaTeX on this machine")
def test_reports_compile_and_fit_their_pages(typical: Path, write: Write, tmp_path: Path) -> None:
    errors = [Column[str]("trial", lambda text: tables.word("0003"), left=True)]
    errors += [Column("error", lambda text: tables.word(text), left=True)]
    nasty = Table.of("errors", NASTY, errors, [NASTY, "short"])
    large = document([many("long", 6, 500), many("wide", 40, 30, "traffic light"), nasty])
    for name, text in {"typical": write(typical).latex, "large": large}.items():
        log = compiled(text, tmp_path / name)
        assert not re.findall(r"Overfull \\[hv]box.*|Float too large.*|.*undefined.*", log), name
    paper = r"\documentclass[twocolumn]{article}\usepackage{booktabs,adjustbox}"
    paper += r"\begin{document}Text \input{part} text.\end{document}"
    (tmp_path / "paper").mkdir()
    (tmp_path / "paper" / "part.tex").write_text(write(typical).latex)
    assert "Overfull" not in compiled(paper, tmp_path / "paper")


def test_every_part_has_lines() -> None:
    empty: Sequence[int] = ()
    assert to_latex(Table.of("none", "Nothing.", [Column[int]("n", tables.number)], empty)).count("tabular") == 2
