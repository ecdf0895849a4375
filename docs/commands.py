"""The page of all commands and flags, from their parsers; ``python docs/commands.py > docs/commands.md`` writes it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from pgpc import cli
from sweeps import command_line, report

INTRODUCTION = """# Commands

*This page is generated: `python docs/commands.py > docs/commands.md`.*

Every command answers `--help` with what is said here. In a checkout, `python sweeps/run_ablation.py` and
`python sweeps/report.py` are the same as `pgpc-sweep` and `pgpc-report`.
"""


def page() -> str:
    """Return the page in Markdown."""
    parser = cli.build_parser()
    parts = [INTRODUCTION, *_command("pgpc", parser, level=2)]
    parts += _command("pgpc-sweep", command_line.build_parser(), level=2)
    parts += _command("pgpc-report", report.build_parser(), level=2)
    return "\n".join(parts)


def _command(name: str, parser: argparse.ArgumentParser, *, level: int) -> Iterator[str]:
    """Yield the section of a command, and those of its sub-commands."""
    yield f"{'#' * level} `{name}`\n"
    yield f"{' '.join((parser.description or '').split())}\n"
    # argparse has no public list of a parser's groups and options.
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if not isinstance(action, argparse._HelpAction)]
        if any(isinstance(action, argparse._SubParsersAction) for action in actions):
            continue
        if actions:
            yield f"| {_title(group.title)} | |\n| --- | --- |"
            yield "\n".join(f"| {_names(action)} | {_meaning(action, name)} |" for action in actions) + "\n"
    if parser.epilog:
        yield f"```text\n{parser.epilog.strip()}\n```\n" if "\n" in parser.epilog.strip() else f"{parser.epilog}\n"
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub_command, sub_parser in action.choices.items():
                yield from _command(f"{name} {sub_command}", sub_parser, level=level + 1)


def _title(title: str | None) -> str:
    """Return a group's title; argparse's own are called differently by versions of Python."""
    return "argument" if title == "positional arguments" else "flag" if title in ("options", None) else str(title)


def _names(action: argparse.Action) -> str:
    """Return an option as it is typed."""
    metavar = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    if action.choices is not None and action.metavar is None:
        metavar = f"{{{','.join(map(str, action.choices))}}}"
    if not action.option_strings:
        return f"`{_cell(metavar)}`"
    value = "" if action.nargs == 0 else f" [{metavar}]" if action.nargs == "?" else f" {metavar}"
    more = " .." if action.nargs == "+" else ""
    required = "" if not action.required else " (required)"
    return f"`{_cell(', '.join(action.option_strings) + value + more)}`{required}"


def _meaning(action: argparse.Action, prog: str) -> str:
    """Return what an option does, its default filled in."""
    text = (action.help or "") % {**vars(action), "prog": prog}
    return _cell(text).replace("*", "\\*")


def _cell(text: str) -> str:
    """Return text as a cell of a table."""
    return text.replace("|", " or ")  # which no way of writing it keeps whole in the code of a cell


if __name__ == "__main__":
    print(page(), end="")
