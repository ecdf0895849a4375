"""Kills the driver of a sweep at random instants, resumes it each time, and counts what is lost: nothing may be.

    python -m tests.benchmarks.kill_sweep --kills 10 [--stub] [--cluster]

A sweep without interruption is run for comparison. Then one like it is killed (SIGKILL) so many times, every third
time while it starts and else in the first seconds of its trials, and run to its end. Prints a line per kill and the
counts, and ends with 1 if a trial was lost or doubled, an iteration left out or counted twice, or a score changed.
With --stub nothing is trained, and what is right is known beforehand (see tests/sweeps/stub_sweep.py); with --cluster
all drivers join one cluster, which outlives them. Both save time: a minute instead of ten.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import runpy
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import uuid
from pathlib import Path

import optuna
import pyarrow.parquet as pq

import pgpc
from sweeps import preparation, run_ablation
from sweeps.common.names import METRIC, REFERENCE_LABEL
from sweeps.definition.folder import RESULTS_FILE
from sweeps.execution import tune_run
from tests.sweeps.conftest import TINY

FIXED = {"contrast.r": 4, "contrast.weight": 0.1, "contrast.anchors": 64, "contrast.negatives": 64}
CLUSTER = """
import sys, ray
ray.init(address="local", include_dashboard=True, logging_level="CRITICAL", log_to_driver=False)
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
"""
SCRIPT = Path(__file__).parents[1] / "sweeps" / "stub_sweep.py"
STUB = {"training.iterations": 18, "contrast.start": 1, "contrast.fill": 1}


class Driver:
    """A driver in a process of its own, forked after the imports, which take longer than all else that it does."""

    def __init__(self, arguments: list[str]):
        self.output = ""
        read, write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            os.dup2(write, 1)
            os.dup2(write, 2)
            os.close(read)
            sys.argv = ["run_ablation.py", *arguments]
            code = 1
            try:
                code = run_ablation.main(arguments)
            except BaseException:  # or this process would go on as a second one of its parent
                traceback.print_exc()
            sys.stdout.flush()
            os._exit(code)
        os.close(write)
        self._pipe = read

    def read(self, seconds: float) -> bool:
        """Take in what it says within so many seconds, and return whether it is still there."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self._pipe], [], [], left)[0]:
                if not (text := os.read(self._pipe, 1 << 16)):
                    return False
                self.output += text.decode(errors="replace")
        return True

    def wait_for(self, text: str) -> bool:
        """Return whether it says that; False if it ends without."""
        while text not in self.output:
            if not self.read(0.05):
                return text in self.output
        return True

    def kill(self) -> None:
        """End it with SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._pipe)

    def wait(self) -> int:
        """Return its exit code, once it has ended."""
        ended, status = 0, 0
        while not ended:
            self.read(0.1)
            ended, status = os.waitpid(self.pid, os.WNOHANG)
        self.read(0.1)
        os.close(self._pipe)
        return os.waitstatus_to_exitcode(status)


def main() -> int:
    """Run both sweeps; the exit code says whether they agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10, help="(default: %(default)s)")
    parser.add_argument(
        "--trials", type=int, default=4, choices=range(2, 6), metavar="N", help="2 to 5 (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the instants (default: %(default)s)")
    parser.add_argument("--storage", type=Path, help="folder of the sweeps (default: a temporary one)")
    parser.add_argument("--stub", action="store_true", help="imitate the trainings")
    parser.add_argument("--cluster", action="store_true", help="one cluster for all drivers, instead of one for each")
    arguments = parser.parse_args()
    if arguments.cluster and "RAY_AUTH_TOKEN" not in os.environ:
        # Ray reads it when it is imported; a cluster of one machine asks for it whoever joins.
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid.uuid4().hex}
        again = [sys.executable, "-m", "tests.benchmarks.kill_sweep", *sys.argv[1:]]
        os.execve(sys.executable, again, {**os.environ, **token})
    settings = STUB if arguments.stub else {**TINY, "training.iterations": 24}
    stub = runpy.run_path(str(SCRIPT))
    if arguments.stub:
        tune_run.Slot = stub["Stub"]
        preparation.check_model = lambda *checked, **others: None
        preparation.check_data = lambda *checked: []
        preparation.checkpoint_bytes = lambda config: 1000
        preparation.ForkServer = stub["NoServer"]
    flags = [text for key, value in {**settings, **FIXED}.items() for text in ("--set", f"{key}={value}")]
    # A grid, so that a driver that resumes the sweep tries what the first one would have tried.
    grid = f"contrast.eta=0.2:{0.2 * arguments.trials:.1f}:0.2"
    flags += ["--workers", "1", "--search", "grid", "--range", grid, "--scheduler", "none"]
    flags += ["--trials", str(arguments.trials), "--no-warm-up"]
    with contextlib.ExitStack() as stack:
        storage = arguments.storage or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        place = ["--storage", str(storage)]
        if arguments.cluster:
            cluster = subprocess.Popen(
                [sys.executable, "-c", CLUSTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            stack.callback(cluster.communicate)  # closes its input, which ends it
            place += ["--address", cluster.stdout.readline().strip()]
        iterations = settings["training.iterations"]
        if not arguments.stub:
            whole = Driver([*flags, *place, "--name", "whole"])
            assert whole.wait() == 0, whole.output
        kill_and_resume(flags, place, storage, arguments.kills, random.Random(arguments.seed))
        killed = rows(storage / "killed")
        if arguments.stub:
            right = [{**row, "iterations": iterations, "seconds": iterations} for row in killed]
            for row in right:
                eta = row["contrast.eta"] or pgpc.preset("streets").contrast.eta
                row[METRIC] = stub["score"]({"eta": eta, "weight": FIXED["contrast.weight"]}, iterations)
        else:
            right = [{**row, "seconds": None} for row in rows(storage / "whole")]
        return report(storage, killed, right, iterations, arguments.trials)


def kill_and_resume(flags: list[str], place: list[str], storage: Path, kills: int, draw: random.Random) -> None:
    """Run a sweep named "killed" to its end, through so many kills."""
    resume, durations = [*place, "--resume", "killed"], [3.0]
    for i in range(kills):
        begun = (storage / "killed" / "sweep.json").exists()  # until then there is nothing to resume
        driver = Driver(resume if begun else [*flags, *place, "--name", "killed"])
        began = time.monotonic()
        if i % 3 == 2:
            there = driver.read(draw.uniform(0, max(durations)))
        else:
            there = driver.wait_for("started ")
            durations.append(time.monotonic() - began)
            there = there and driver.read(draw.uniform(0, 5))
        driver.kill()
        last = driver.output.rstrip().rpartition("\n")[2]
        print(f"kill {i}: {time.monotonic() - began:4.1f} s after its start; it had said last: {last}", flush=True)
        assert "Traceback" not in driver.output, driver.output
        if not there:
            print(f"kill {i} came after the end")
    finished = Driver(resume)
    assert finished.wait() == 0 and "Traceback" not in finished.output, finished.output


def report(storage: Path, killed_rows: list[dict], right: list[dict], iterations: int, num_trials: int) -> int:
    """Print what is wrong with a sweep's rows and its study; `right` are the rows of one without interruption.

    Returns:
        The exit code: 1 where something is wrong.
    """
    killed, whole = ({row["trial"]: row for row in found} for found in (killed_rows, right))
    study = optuna.load_study(study_name="killed", storage=f"sqlite:///{storage / 'killed' / 'study.db'}")
    states = [trial.state.name for trial in study.trials]
    problems = []
    if states != ["COMPLETE"] * num_trials:
        problems.append(f"the study has {states}")
    names = [REFERENCE_LABEL, *(f"{i:04d}" for i in range(num_trials))]
    if [row["trial"] for row in killed_rows] != names:
        problems.append(f"the rows are {[row['trial'] for row in killed_rows]} instead of {names}")
    for name in killed.keys() & whole.keys():
        for key in ("status", "iterations", METRIC, "seconds"):  # of the stub as many as iterations; else they differ
            if whole[name][key] is not None and killed[name][key] != whole[name][key]:
                problems.append(f"{name}: {key} is {killed[name][key]} instead of {whole[name][key]}")
    for trial in study.trials:
        row = killed.get(f"{trial.number:04d}", {})
        if trial.value != row.get(METRIC) or trial.intermediate_values.get(iterations) != trial.value:
            problems.append(f"{trial.number:04d}: the study has {trial.value}, the rows have {row.get(METRIC)}")
    for problem in problems:
        print("WRONG", problem)
    total = sum(row["iterations"] for row in killed.values())
    print(f"{len(killed)} trials, {total} iterations: {len(problems)} wrong")
    return 1 if problems else 0


def rows(folder: Path) -> list[dict]:
    """Return the rows of results.parquet."""
    return pq.read_table(folder / RESULTS_FILE).to_pylist()


if __name__ == "__main__":
    sys.exit(main())
