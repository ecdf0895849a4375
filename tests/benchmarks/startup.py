"""Seconds until a command or an import is ready, beyond what Python and torch take by themselves, in turns in one run.

    python -m tests.benchmarks.startup [--repetitions 7]

Expected before measuring: ``import pgpc`` and the help load no torch and take under 0.1 s each; ``pgpc.training`` takes
1.4 s beyond torch, nearly all of it torchvision (which loads torch's compiler) for ProCA's colors, hence the import
there is now where it is used: 0.2 s remain.

Measured on 2 shared CPU cores, 2026-11-23, processor time: import pgpc 0.01 s, and 0.00 beyond torch; pgpc.training
0.17 s and timm 1.95 s beyond torch; the help 0.15 s beyond Python.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time

ROWS = {
    "import pgpc": (["-c", "import pgpc"], "Python"),
    "import torch": (["-c", "import torch"], "Python"),
    "import torch, pgpc": (["-c", "import torch, pgpc"], "import torch"),
    "import pgpc.training": (["-c", "import torch, pgpc.training"], "import torch"),
    "import timm": (["-c", "import torch, timm"], "import torch"),
    "pgpc --help": (["-m", "pgpc", "--help"], "Python"),
    "pgpc train --help": (["-m", "pgpc", "train", "--help"], "Python"),
}
"""What is started: its arguments, and what its time is compared with."""


def seconds(arguments: list[str]) -> tuple[float, float]:
    """Return the seconds of one Python process: wall-clock and processor time, on which others weigh less."""
    before, start = os.times(), time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, used


def main() -> None:
    """Print a row for each start."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=7, help="turns (default: %(default)s)")
    starts = {"Python": ["-c", "pass"], **{name: command for name, (command, _) in ROWS.items()}}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in starts}
    for _ in range(parser.parse_args().repetitions):
        for name, command in starts.items():
            times[name].append(seconds(command))
    medians = {name: [statistics.median(column) for column in zip(*rows)] for name, rows in times.items()}
    print("| start | beyond | seconds beyond it, medians | of processor time |\n| --- | --- | --- | --- |")
    for name, (_, base) in ROWS.items():
        wall, used = (a - b for a, b in zip(medians[name], medians[base]))
        print(f"| {name} | {base} | {wall:.2f} | {used:.2f} |")


if __name__ == "__main__":
    main()
