"""How long the report of a sweep of five trials takes, and its help, against Python and against importing Optuna.

    python -m tests.benchmarks.report_time [--repetitions 5]

All are processes of their own, started in turns; the sweep is made by hand, and no pictures are drawn. Expected from
what the imports take one by one: the help takes 0.1 s beyond Python, since what a report is made with is imported after
the arguments are read; the report takes 2.5 s, and must not take more than 4 s, most of it for importing Optuna and
SQLAlchemy. Before, it loaded Ray, torch, pandas and scikit-learn, too.

Measured on 2 shared CPU cores with others at work, 2026-11-29, processor time: the help 0.04 s beyond Python; the
report 2.7 s, 4.4 times what importing Optuna takes (0.6 s). With all that it loaded before: the help 7.9 s, the report
13.3 s.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import sweeps
from tests.benchmarks.startup import seconds
from tests.helpers.reports import TYPICAL, make_sweep

SCRIPT = Path(sweeps.__file__).parent / "report.py"


def main() -> None:
    """Print a row for each command: its seconds, and the ratios to the first two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5, help="turns (default: %(default)s)")
    repetitions = parser.parse_args().repetitions
    with tempfile.TemporaryDirectory() as storage:
        folder = make_sweep(Path(storage), TYPICAL, {0: [10, 20, 29, 30.0]})
        commands = {
            "Python": ["-c", "pass"],
            "import optuna": ["-c", "import optuna"],
            "report.py --help": [str(SCRIPT), "--help"],
            "report.py RESULTS --images 0": [str(SCRIPT), str(folder), "--images", "0"],
        }
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _ in range(repetitions):
            for name, command in commands.items():
                times[name].append(seconds(command))
    medians = {name: [statistics.median(column) for column in zip(*rows)] for name, rows in times.items()}
    print("| command | seconds, medians | of processor time | as many times Python | as many times import optuna |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, (wall, used) in medians.items():
        ratios = (used / medians[base][1] for base in ("Python", "import optuna"))
        print(f"| {name} | {wall:.2f} | {used:.2f} | {' | '.join(f'{ratio:.1f}' for ratio in ratios)} |")


if __name__ == "__main__":
    main()
