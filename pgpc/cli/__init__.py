"""The command ``pgpc``: one module per sub-command, each with ``SUMMARY``, ``add`` (its arguments) and ``run``."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import select
import signal
import sys
from collections.abc import Sequence
from types import ModuleType

from pgpc import __version__
from pgpc.runtime.checks import PartlyFailed, refuse_empty
from pgpc.runtime.display import PrintableStream, printable


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command; errors that a user can mend end with one message and status 2, or 1 where part was done."""
    try:
        try:
            _run(argv)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # here, since nobody could catch the error of a closed pipe at Python's end
    except BrokenPipeError:
        if not _is_closed_pipe():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more
        sys.exit(128 + signal.SIGPIPE)  # what a shell shows of any other program that writes to a closed pipe
    except ImportError as error:
        if error.name != "fcntl":
            raise
        print(f"pgpc: error: {error}", file=sys.stderr)
        sys.exit(2)


def _run(argv: Sequence[str] | None) -> None:
    arguments = _parse(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=PrintableStream.of(sys.stderr))
    try:
        with contextlib.redirect_stdout(PrintableStream.of(sys.stdout)):
            arguments.run(arguments)
    except (ValueError, OSError, RuntimeError) as error:
        # A RuntimeError that torch raises is a defect of ours and keeps its traceback.
        if type(error) is RuntimeError or (isinstance(error, BrokenPipeError) and _is_closed_pipe()):
            raise
        print(printable(f"pgpc {arguments.command}: error: {error}"), file=sys.stderr)
        sys.exit(1 if isinstance(error, PartlyFailed) else 2)
    except KeyboardInterrupt:
        print(f"\npgpc {arguments.command}: interrupted{arguments.on_interrupt}", file=sys.stderr)
        sys.exit(130)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command, with one for each sub-command."""
    # Here, since they import what Windows has not, which `main` answers with one line.
    from pgpc.cli import diagnose, draw, evaluate, export, init, pack, predict, show, submit, train

    groups = {
        "before training": (pack, init, show),
        "training": (train,),
        "a trained network": (evaluate, predict, submit, draw, diagnose, export),
    }
    parser = argparse.ArgumentParser(
        prog="pgpc",
        usage="%(prog)s [-h] [--version] COMMAND ...",
        description="Pseudo-label guided pixel contrast for domain adaptive segmentation.",
        epilog="`pgpc COMMAND --help` says more of each. Many trainings and their report: `pgpc-sweep --help`.",
        formatter_class=argparse.RawDescriptionHelpFormatter,  # keeps the lines of the groups
    )
    parser.add_argument("--version", action="version", version=f"pgpc {__version__}")
    parser.set_defaults(run=lambda arguments: parser.print_help())
    # argparse lists sub-commands in one piece only, so the groups are descriptions.
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", help=argparse.SUPPRESS)
    width = max(len(_name(module)) for modules in groups.values() for module in modules)
    for title, modules in groups.items():
        parser.add_argument_group(title, "\n".join(f"{_name(m):{width}}  {m.SUMMARY}" for m in modules))
        for module in modules:
            module.add(commands)
    return parser


def _name(module: ModuleType) -> str:
    """Return the name of the sub-command that a module has."""
    return module.__name__.rpartition(".")[2]


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the arguments; without any the command is to print its help."""
    parser = build_parser()
    try:
        refuse_empty(sys.argv[1:] if argv is None else argv)
    except ValueError as error:
        parser.error(str(error))
    return parser.parse_args(argv)


def _is_closed_pipe() -> bool:
    """Return whether nobody reads standard output any more, as after ``| head -3``."""
    poll = select.poll()
    poll.register(sys.stdout, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))
