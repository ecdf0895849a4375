"""The command ``pgpc``: one module per sub-command, each with ``add`` (its arguments) and ``run``."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from pgpc.cli import draw, evaluate, export, pack, predict, show, submit, train

_COMMANDS = (pack, train, evaluate, predict, submit, draw, export, show)


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command; errors that a user can mend end with status 2 and one line."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        arguments.run(arguments)
    except (ValueError, OSError, RuntimeError) as error:
        # A RuntimeError that torch raises is a defect of ours and keeps its traceback.
        if type(error) is RuntimeError:
            raise
        print(f"pgpc {arguments.command}: error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"\npgpc {arguments.command}: interrupted{arguments.on_interrupt}", file=sys.stderr)
        sys.exit(130)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command, with one for each sub-command."""
    parser = argparse.ArgumentParser(
        prog="pgpc", description="Pseudo-label guided pixel contrast for domain adaptive segmentation."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add(commands)
    return parser
