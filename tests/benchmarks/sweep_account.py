"""Where the time of a sweep goes: training, evaluation, the driver's start, its final report, and everything else.

    python -m tests.benchmarks.sweep_account [FLAG OF THE SWEEP ...]

Runs the sweep's command, by itself the default sweep, with runs one after the other, in a new folder, and prints each
part's seconds and share of the whole, measured in that one run. The useful part is the steps, as the runs report them,
and the evaluations, of which the workers' logs tell when they begin and end. The driver's start ends with the line that
says that the first run has started; the final report begins with that of the last end of a run.

Expected with workers that outlive their trials and a fork server: a useful share of 85 % on 2 quiet CPU cores, 8 s for
the driver's start when the embedded data are in the cache, and 3 s for the final report. Before, 66 %, 12 s and 12 s.
Found on 2026-11-30, once, on 2 CPU cores with little else to do: 88 % (of longer trials than before), 11.9 s and 6.5 s;
with Ray's dashboard, and timm imported by every driver, 87 %, 22 s and 10 s.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import sweeps
from sweeps.results.rows import Row

SCRIPT = Path(sweeps.__file__).parent / "run_ablation.py"
STARTED, ENDED = re.compile(r"\S+  started"), re.compile(r"\S+  (complete|pruned|FAILED)")
LINE = re.compile(r"^(\S+ \S+) INFO pgpc\.training\.loop: iteration (\d+)/\d+  (.*)$")


def run(flags: list[str], storage: Path) -> tuple[float, float, float]:
    """Run a sweep; return the seconds until its first run starts, until its last run has ended, and until its end."""
    began = time.perf_counter()
    command = [sys.executable, str(SCRIPT), "--storage", str(storage), "--name", "sweep", "--concurrency", "1", *flags]
    first = last = 0.0
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as driver:
        assert driver.stdout is not None, "it is a pipe"
        for line in driver.stdout:
            print(line, end="", flush=True)
            now = time.perf_counter() - began
            if not first and STARTED.search(line):
                first = now
            if ENDED.search(line):
                last = now
    assert driver.returncode == 0, f"the sweep has ended with exit code {driver.returncode}"
    return first, last, time.perf_counter() - began


def steps(rows: list[Row]) -> float:
    """Return the seconds of all training steps; those of a shared trunk once."""
    shared = [row.trunk.seconds if row.trunk else 0.0 for row in rows]
    return sum(row.seconds or 0.0 for row in rows) - sum(shared) + max(shared)


def evaluations(log: str) -> float:
    """Return the seconds of a run's evaluations, each from the line of its last step to the line of its result."""
    total, step = 0.0, None
    for line in log.splitlines():
        if match := LINE.match(line):
            at = datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S,%f")
            if match[3].endswith("images/s"):
                step = match[2], at
            elif step is not None and step[0] == match[2]:
                total += (at - step[1]).total_seconds()
    return total


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    _, flags = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="pgpc-account-") as folder:
        first, last, end = run(flags, Path(folder))
        rows = sweeps.read(Path(folder) / "sweep").rows
        logs = (Path(folder) / "sweep").glob("trials/*/worker-0.log")
        evaluated = sum(evaluations(log.read_text()) for log in logs)
    parts = {
        "training steps": steps(rows),
        "evaluations": evaluated,
        "driver, until the first run starts": first,
        "final report, from the last run's end": end - last,
    }
    parts["starts, reports and ends of runs"] = end - sum(parts.values())
    print(f"{'part':<40} {'seconds':>8} {'share':>7}")
    for name, seconds in {**parts, "all": end}.items():
        print(f"{name:<40} {seconds:8.1f} {seconds / end:7.1%}")
    useful = parts["training steps"] + parts["evaluations"]
    print(f"{'useful: steps and evaluations':<40} {useful:8.1f} {useful / end:7.1%}")


if __name__ == "__main__":
    main()
