"""How the commands are called here: by their files in a checkout, by their names where the package is installed."""

from __future__ import annotations

import sys
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def sweep_command() -> str:
    """Return what to type for a sweep."""
    return "pgpc-sweep" if called_by_name(sys.argv[0], _ROOT) else "python sweeps/run_ablation.py"


def report_command() -> str:
    """Return what to type for a report."""
    return "pgpc-report" if called_by_name(sys.argv[0], _ROOT) else "python sweeps/report.py"


def program(command: str) -> str:
    """Return what a command calls itself in its help and its errors: the last part of what is typed."""
    return command.rpartition("/")[2]


def called_by_name(program: str, root: Path) -> bool:
    """Tell whether commands are called by their names: one was, or there is no checkout whose files could be run.

    Args:
        program: What this process was started as.
        root: The folder that the packages lie in.
    """
    return Path(program).name in ("pgpc-sweep", "pgpc-report") or not (root / "setup.py").is_file()
