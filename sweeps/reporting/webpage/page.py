"""The page of a report: one HTML file that needs nothing beside it, no network, and no script to be read."""

from __future__ import annotations

import base64
import hashlib
import html
import importlib.resources
import string
from datetime import datetime
from typing import TYPE_CHECKING

from sweeps.common.commands import report_command
from sweeps.reporting.data import SweepReport
from sweeps.reporting.webpage import sections
from sweeps.reporting.webpage.header import header

if TYPE_CHECKING:  # it loads PIL, which a page without pictures does without
    from sweeps.reporting.pictures import Gallery


def page(report: SweepReport, gallery: Gallery | None) -> str:
    """Return the whole page.

    Args:
        report: What is known of the sweep.
        gallery: Pictures; None where none were to be drawn.
    """
    shown = [section for section in sections.all_sections(report, gallery) if section.content]
    script = _file("script.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return string.Template(_file("page.html")).substitute(
        policy=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'",
        name=html.escape(report.sweep.folder.name),
        style=_file("style.css"),
        header=header(report),
        links="".join(f'<a href="#{section.anchor}">{section.title}</a>' for section in shown),
        sections="\n".join(
            f'<section id="{section.anchor}"><h2>{section.title}</h2>\n{section.content}</section>' for section in shown
        ),
        command=html.escape(report_command()),
        time=f"{datetime.now():%Y-%m-%d %H:%M}",
        script=script,
    )


def _file(name: str) -> str:
    """Return the text of a file that lies beside this module, in the package."""
    return importlib.resources.files("sweeps.reporting.webpage").joinpath(name).read_text(encoding="utf-8")
