"""Writes the report of a sweep: report.html, report.md and report.tex in its folder. See --help."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pgpc.runtime.files import write_file
from sweeps.progress.plain import silence
from sweeps.reporting import tables
from sweeps.reporting.data import Findings, read
from sweeps.reporting.formats import Table, to_latex, to_markdown
from sweeps.reporting.page import headline, page
from sweeps.reporting.pictures import gallery

NAMES = ("report.html", "report.md", "report.tex")
IMAGES, SECONDS = 3, 120.0


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0, or 2 for a user's error."""
    parser = argparse.ArgumentParser(
        prog="report.py",
        description="Writes report.html, one page that opens without network or script, and its tables as report.md "
        "and report.tex, into the folder of a sweep, which may be running or have ended.",
    )
    parser.add_argument("results", metavar="RESULTS", type=Path, help="folder of the sweep: results/NAME")
    parser.add_argument(
        "--images", type=int, default=IMAGES, metavar="N", help="pictures to segment (default: %(default)s; 0: none)"
    )
    parser.add_argument(
        "--seconds", type=float, default=SECONDS, metavar="N", help="time for the pictures (default: %(default)g)"
    )
    arguments = parser.parse_args(argv)
    silence()
    try:
        written = write(arguments.results, images=arguments.images, seconds=arguments.seconds)
    except (ValueError, OSError) as error:
        print(f"report.py: error: {error}", file=sys.stderr)
        return 2
    print("\n".join(map(str, written)))
    return 0


def write(folder: Path, *, images: int = IMAGES, seconds: float = SECONDS) -> list[Path]:
    """Write the three files of a sweep's report.

    Args:
        folder: of the sweep.
        images: number of validation images that are segmented by the best, the base and the worst trial.
        seconds: after which no further image is begun.

    Returns:
        The files.

    Raises:
        ValueError: it is not the folder of a sweep.
    """
    findings = read(folder)
    paper = tables.paper(findings)
    drawn = gallery(findings, num=images, seconds=seconds) if images > 0 else None
    texts = (page(findings, paper, drawn), markdown(findings, paper), latex(findings, paper))
    written = [findings.sweep.folder / name for name in NAMES]
    for path, text in zip(written, texts, strict=True):
        data = text.encode()
        write_file(path, lambda file, data=data: file.write(data))
    return written


def attempt(folder: Path, say: Callable[[str], None], *, images: int) -> None:
    """Write the report of a sweep that runs; one that cannot be written is no reason to end the sweep.

    Args:
        folder: of the sweep.
        say: is given a line if it fails.
        images: as for :func:`write`.
    """
    try:
        write(folder, images=images)
    except Exception as error:  # whatever it is, the trainings are worth more
        say(f"the report could not be written: {type(error).__name__}: {error}")


def markdown(findings: Findings, paper: Sequence[Table]) -> str:
    """The tables and the commands, as GitHub reads them."""
    parts = [f"# {findings.sweep.folder.name}", headline(findings)]
    parts += [to_markdown(table) for table in _tables(findings, paper)]
    parts.append("Commands:")
    commands = [run["command"] for run in findings.sweep.runs]
    commands += [f"# {label}\n{command}" for label, command in findings.commands.items()]
    parts.append("\n".join(["```bash", *commands, "```"]))
    return "\n\n".join(parts) + "\n"


def latex(findings: Findings, paper: Sequence[Table]) -> str:
    r"""The tables, to be given to ``\input`` by a paper."""
    head = "% Needs \\usepackage{booktabs}.\n\n"
    return head + "\n".join(to_latex(table) for table in _tables(findings, paper))


def _tables(findings: Findings, paper: Sequence[Table]) -> list[Table]:
    found = [
        tables.ranking(findings),
        tables.pareto(findings),
        *paper,
        tables.per_class(findings),
        tables.importance(findings),
        tables.failures(findings),
        tables.cost(findings),
    ]
    return [table for table in found if table is not None]


if __name__ == "__main__":
    sys.exit(main())
