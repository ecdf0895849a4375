"""Writing the report of a sweep: report.html, report.md and report.tex in the sweep's folder."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from pgpc.runtime.display import printable
from pgpc.runtime.files import write_file
from sweeps.definition.selection import Selection
from sweeps.findings.confirmation import CONFIRMATION_FILE, write_confirmation
from sweeps.findings.selection_quality import SELECTION_FILE, write_quality
from sweeps.reporting import IMAGES, SECONDS, tables
from sweeps.reporting.data import SweepReport, read
from sweeps.reporting.headline import headline
from sweeps.reporting.latex import document
from sweeps.reporting.webpage.page import page
from sweeps.results.tables import Table, escaped, to_markdown

NAMES = ("report.html", "report.md", "report.tex")
"""Names of the files."""


def write_report(
    folder: Path, *, images: int = IMAGES, seconds: float = SECONDS, selection: Selection | None = None
) -> list[Path]:
    """Write the three files of a sweep's report, and as parquet what its confirmation and its criteria have come to.

    Args:
        folder: Folder of the sweep.
        images: Number of validation images that are segmented by the best, the base and the worst trial.
        seconds: Time after which no further image is begun.
        selection: What the trials are ranked by; None for what the sweep chooses by.

    Returns:
        The paths of the files.

    Raises:
        ValueError: It is not the folder of a sweep, or no trial has what is ranked by.
        OSError: A file cannot be read or written.
    """
    report = read(folder, selection)
    gallery = None
    if images > 0:
        from sweeps.reporting.pictures import gallery as draw  # loads PIL, and with it torch

        gallery = draw(report, num=images, seconds=seconds)
    found = tables.all_tables(report)
    texts = (page(report, gallery), markdown(report, found), document(_noted(found, report.changes)))
    folder = report.sweep.folder
    written = [folder / name for name in NAMES]
    for path, text in zip(written, texts, strict=True):
        write_text(path, printable(text))
    if report.confirmation:
        written.append(folder / CONFIRMATION_FILE)
        write_confirmation(report.confirmation, written[-1])
    if report.qualities:
        written.append(folder / SELECTION_FILE)
        write_quality(report.qualities, written[-1])
    return written


def attempt(folder: Path, say: Callable[[str], None], *, images: int) -> None:
    """Write the report of a sweep that runs; one that cannot be written is no reason to end the sweep.

    Args:
        folder: Folder of the sweep.
        say: Function that is given a line if the report cannot be written.
        images: Number of images, see :func:`write_report`.
    """
    try:
        write_report(folder, images=images)
    except Exception as error:  # whatever it is, the trainings are worth more
        say(f"the report could not be written: {type(error).__name__}: {error}")


def write_text(path: Path, text: str) -> None:
    """Replace a file by this text in one step, so that a reader never sees half of it."""
    data = text.encode()
    write_file(path, lambda file: file.write(data))


def markdown(report: SweepReport, found: Sequence[Table]) -> str:
    """Return tables and commands as GitHub reads them."""
    parts = [f"# {escaped(report.sweep.folder.name)}", escaped(headline(report.finding).text)]
    parts += [f"**Note.** {escaped(sentence)}" for sentence in report.changes]
    parts += [f"{escaped(table.caption)}\n\n{to_markdown(table)}\n" for table in found]
    parts.append("Commands:")
    commands = [driver["command"] for driver in report.sweep.drivers]
    commands += [f"# {label}\n{command}" for label, command in report.commands.items()]
    longest = max(map(len, re.findall("`+", "\n".join(commands))), default=0)
    fence = "`" * max(3, longest + 1)  # which no command ends
    parts.append("\n".join([f"{fence}bash", *commands, fence]))
    return "\n\n".join(parts) + "\n"


def _noted(found: Sequence[Table], changes: Sequence[str]) -> list[Table]:
    """Return tables whose captions say what has changed, since each goes into a paper by itself."""
    return [dataclasses.replace(table, caption=" ".join([table.caption, *changes])) for table in found]
