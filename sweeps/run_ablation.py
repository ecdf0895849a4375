"""The sweep: Ray Tune and Optuna over trials that are distributed trainings of PGPC. See --help."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from sweeps.common.commands import program, sweep_command


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    It is 0, 1 if every trial failed, 2 for a user's error, 3 if the results could not be written, 4 if runs fail alike,
    and 128 plus the signal that has ended the sweep: 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP.

    Args:
        argv: The arguments; None for those of this process.
    """
    try:
        from sweeps.command_line import parse  # here, as Windows lacks the locks that it needs

        given = parse(argv)
        from sweeps import driver  # here, as it imports Ray: --help and mistakes are answered at once
    except ImportError as error:
        if error.name not in ("ray", "fcntl"):
            raise
        print(f"{program(sweep_command())}: error: {error}", file=sys.stderr)
        return 2
    try:
        return driver.command(given, is_own_process=argv is None)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
