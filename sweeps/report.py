"""Write the report of a sweep: report.html, report.md and report.tex in its folder. See --help."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from pgpc.runtime.checks import refuse_empty
from pgpc.runtime.display import printable
from sweeps.common.commands import program, report_command, sweep_command
from sweeps.reporting import IMAGES, SECONDS


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code: 0, or 2 for a user's error."""
    parser = build_parser()
    try:
        refuse_empty(sys.argv[1:] if argv is None else argv)
    except ValueError as error:
        parser.error(str(error))
    arguments = parser.parse_args(argv)
    try:
        # Here, so that --help and mistakes are answered at once: these import what a report is made with.
        from sweeps.common.quiet import silence_optuna
        from sweeps.definition.selection import Selection
        from sweeps.findings import ensemble
        from sweeps.reporting.data import check_folder
        from sweeps.reporting.write import write_report
    except ImportError as error:
        if error.name != "fcntl":  # which Windows has not
            raise
        print(f"{program(report_command())}: error: {error}", file=sys.stderr)
        return 2
    silence_optuna()
    try:
        selection = None if arguments.select_by is None else Selection.parse(arguments.select_by)
        if selection and selection.needs_finished_trials:
            ensemble.provide(check_folder(arguments.results), _say)
        written = write_report(
            arguments.results, images=arguments.images, seconds=arguments.seconds, selection=selection
        )
    except (ValueError, OSError) as error:
        print(printable(f"{program(report_command())}: error: {error}"), file=sys.stderr)
        return 2
    print(printable("\n".join(map(str, written))))
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = argparse.ArgumentParser(
        prog=program(report_command()),
        description="Writes report.html, one page that opens without network or script, and its tables as report.md "
        "and report.tex, into the folder of a sweep, which may be running or have ended.",
    )
    parser.add_argument("results", metavar="RESULTS", type=Path, help="folder of the sweep: results/NAME")
    parser.add_argument(
        "--images",
        type=int,
        default=IMAGES,
        metavar="N",
        help="validation images to segment, as pictures (default: %(default)s; 0: none)",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=SECONDS,
        metavar="N",
        help="after so many seconds no further picture is begun (default: %(default)g)",
    )
    parser.add_argument(
        "--select-by",
        metavar="NAME",
        help=f"rank the trials by this criterion, as {program(sweep_command())} --select-by names them, in place of "
        "the sweep's own choice, which stays what it is; or by ensemble, the agreement with all finished trials "
        "together, which is computed where it is missing (default: the sweep's own)",
    )
    return parser


def _say(line: str) -> None:
    print(printable(line), file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
