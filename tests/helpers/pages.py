"""The pages for people, as text."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
GENERATED = ("configuration.md", "commands.md")


def page(name: str) -> str:
    """A page of docs/."""
    return (DOCS / name).read_text()


def written() -> str:
    """The README and all pages that people have written."""
    pages = [ROOT / "README.md", *sorted(path for path in DOCS.glob("*.md") if path.name not in GENERATED)]
    return "\n".join(path.read_text() for path in pages)
