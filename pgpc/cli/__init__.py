"""The command ``pgpc``: one module per sub-command, each with ``add`` (its arguments) and ``run``."""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
from collections.abc import Sequence

from pgpc.cli import draw, evaluate, export, pack, predict, show, submit, train
from pgpc.runtime.checks import refuse_empty
from pgpc.runtime.display import PrintableStream, printable

_COMMANDS = (pack, train, evaluate, predict, submit, draw, export, show)


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command; errors that a user can mend end with status 2 and one line."""
    parser = argparse.ArgumentParser(
        prog="pgpc", description="Pseudo-label guided pixel contrast for domain adaptive segmentation."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add(commands)
    try:
        refuse_empty(sys.argv[1:] if argv is None else argv)
    except ValueError as error:
        parser.error(str(error))
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=PrintableStream.of(sys.stderr))
    try:
        with contextlib.redirect_stdout(PrintableStream.of(sys.stdout)):
            arguments.run(arguments)
    except (ValueError, OSError, RuntimeError) as error:
        # A RuntimeError that torch raises is a defect of ours and keeps its traceback.
        if type(error) is RuntimeError:
            raise
        print(printable(f"pgpc {arguments.command}: error: {error}"), file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"\npgpc {arguments.command}: interrupted{arguments.on_interrupt}", file=sys.stderr)
        sys.exit(130)
