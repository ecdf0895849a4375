"""What goes wrong with a sweep, what its user sees, and what is kept. Every fault is a real one, in real processes.

"kept" is the same everywhere: trials that have ended stay in the study, in results.parquet and in their directories;
one that was running stays RUNNING in the study and goes on from its last checkpoint at ``--resume``.

=============================  ===============================================  =======================================
what happens                   what the user sees                               test
=============================  ===============================================  =======================================
driver killed (SIGKILL)        nothing; ``--resume`` goes on                    test_kills_at_random_instants and,
                                                                                with trainings, test_interruptions.py
Train worker killed            "resumed from its checkpoint"; twice at most     test_killed_worker_costs_no_trial in
                               without a new checkpoint, then it is FAILED;     test_interruptions.py, test_recovery.py
                               where Train's list of checkpoints was cut off,
                               it starts afresh
nodes lost, or the head        "resumed from its checkpoint"; ``--resume``      test_lost_nodes.py
trial's own process killed     "it is started again", twice at most             test_killed_trial_process_costs_no_trial
Ctrl-C, SIGTERM or SIGHUP,     "Stopping", the table, report, the resume        test_interruptions.py,
once, to the whole group       command; 130, 143, 129                           watch/test_stop_signals.py
terminal closed, pipe closed   nothing; the sweep ends as after Ctrl-C, or      test_a_terminal_that_is_closed_..,
                               goes on where only its output is gone            progress/test_outlet.py
.. twice                       the same, without waiting for Tune; 130          test_ctrl_c_twice_leaves_at_once
folder becomes read-only       which folder, why, the resume command; exit      test_disk_read_only_then_full
                               code 3, no traceback; nothing is told to the
                               study, so no trial fails for it
study locked by a dashboard    nothing for a minute; then which file, what to   test_storage_faults.py
                               do, the resume command; exit code 3
disk of another machine full   the run is FAILED, with which machine; the       test_storage_faults.py
                               sweep goes on
run hangs                      "has reported nothing for 10:00", where to look  watch/test_silence.py
disk full                      the same; results.parquet alone: one warning,    test_disk_read_only_then_full
                               and it is written at the next event
.. and still so at --resume    which folder, why; exit code 2, nothing started  test_disk_read_only_then_full
loss becomes NaN               FAILED with the loss and the iteration, at once  test_nan_and_no_memory_cost_one_trial
memory of a worker runs out    FAILED with what to lower, at once; a worker     test_nan_and_no_memory_cost_one_trial,
                               that the system killed is replaced twice first   test_trial.py
two drivers on one sweep       the second: "Another process is running", or     test_second_driver_is_refused
                               "exists", and exit code 2; the first goes on
sweep.json or study.db         which file, what to do; exit code 2              test_damaged_sweeps_are_named_.. in
damaged or missing                                                              test_run_ablation.py
two sweeps on one machine      nothing: each frees its own trials' workers      test_pruned_trials_free_.. in
                                                                                test_run_ablation.py
=============================  ===============================================  =======================================
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import re
import shutil
import signal
import subprocess
import sys
import termios
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pyarrow.parquet as pq
import pytest
from optuna.trial import TrialState

import sweeps
from sweeps import run_ablation
from sweeps.definition.sweep import Sweep
from sweeps.search.study import check_study

pytestmark = pytest.mark.timeout(420)
ROOT = Path(__file__).parents[3]
STUB = Path(__file__).parents[1] / "stub_sweep.py"
SHORT = [
    "--workers",
    "1",
    "--scheduler",
    "none",
    "--no-warm-up",
    "--set",
    "contrast.start=1",
    "--set",
    "contrast.fill=1",
]


def study(folder: Path) -> optuna.Study:
    return optuna.load_study(study_name=folder.name, storage=f"sqlite:///{folder / 'study.db'}")


@pytest.mark.long
def test_kills_at_random_instants() -> None:
    command = [sys.executable, "-m", "tests.benchmarks.kill_sweep", "--stub", "--cluster"]
    environment = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": uuid.uuid4().hex}
    command += ["--kills", "5", "--trials", "2"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 trials, 54 iterations: 0 wrong" in done.stdout


@pytest.fixture(scope="module")
def busy(start: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A sweep that loses a trial's process, that others would like to run too, and whose user is in a hurry."""
    storage = tmp_path_factory.mktemp("storage")
    flags = ["--storage", storage, "--name", "busy", "--trials", 200, *SHORT, "--set", "training.iterations=24"]
    driver = start(*flags, script=STUB)
    driver.wait_for("0000  iteration 2 of")
    os.kill(driver.family("ray::ResourceTrainable")[0], signal.SIGKILL)
    driver.wait_for("(base|0000)  resumed from its checkpoint")
    driver.wait_for("0000  complete")
    driver.wait_for("0001  iteration 2 of")  # by now results.parquet has been written, and 0001 is far from its end
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        refused = [run_ablation.main(["--storage", str(storage), flag, "busy"]) for flag in ("--resume", "--name")]
    alive = {row.status for row in sweeps.read(storage / "busy").rows}
    driver.interrupt()
    driver.wait_for("Stopping; what runs can be resumed later")
    driver.interrupt()
    return {
        "folder": storage / "busy",
        "refused": refused,
        "said": said.getvalue(),
        "alive": alive,
        "code": driver.wait(),
        "clean": driver.leaves_nothing(),
        "output": driver.output,
    }


def test_killed_trial_process_costs_no_trial(busy: dict[str, Any]) -> None:
    trial = re.search(r"(base|0000)  its process was lost; it is started again", busy["output"])[1]
    again = busy["output"].partition("it is started again")[2]
    steps = [int(i) for i in re.findall(rf"{trial}  (?:resumed from its checkpoint at )?iteration (\d+) of 24", again)]
    assert steps and steps == list(range(steps[0], steps[0] + len(steps))), busy["output"]


def test_second_driver_is_refused(busy: dict[str, Any]) -> None:
    assert busy["refused"] == [2, 2]
    assert "Another process is running the sweep" in busy["said"] and "exists in" in busy["said"]


def test_ctrl_c_twice_leaves_at_once(busy: dict[str, Any]) -> None:
    assert busy["code"] == 130 and busy["clean"]
    assert "Traceback" not in busy["output"] and "--resume busy" in busy["output"], busy["output"]
    check_study(busy["folder"], Sweep.load(busy["folder"]).origin)
    states = [trial.state for trial in study(busy["folder"]).trials]
    assert states[0] == TrialState.COMPLETE and TrialState.RUNNING in states


def test_a_terminal_that_is_closed_leaves_results_that_are_up_to_date(busy: dict[str, Any]) -> None:
    arguments = ["--storage", str(busy["folder"].parent), "--resume", "busy"]
    master, slave = os.openpty()

    def own_terminal() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup, which a sweep heeds
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    driver = subprocess.Popen(
        [sys.executable, str(STUB), *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env={**os.environ, "TERM": "dumb"},
        start_new_session=True,
        preexec_fn=own_terminal,
    )
    os.close(slave)
    said = b""
    while not re.search(rb"000\d  iteration \d+ of", said):
        said += os.read(master, 1 << 16)
    before = time.time()
    os.close(master)
    try:
        assert driver.wait(300) == 128 + signal.SIGHUP
    finally:
        driver.kill()
    assert all((busy["folder"] / name).stat().st_mtime > before for name in ("report.html", "results.parquet"))
    assert "interrupted" in {row.status for row in sweeps.read(busy["folder"]).rows}


def test_trials_are_running_while_their_driver_lives(busy: dict[str, Any]) -> None:
    assert "running" in busy["alive"] and "interrupted" not in busy["alive"]
    found = {row.label: row.status for row in sweeps.read(busy["folder"]).rows}
    assert found["0000"] == "complete" and "interrupted" in found.values() and "running" not in found.values()


class Disk:
    """A small disk with an ext4 of its own, which can be made to fail."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._image = folder.with_suffix(".img")
        folder.mkdir()
        with self._image.open("wb") as image:
            image.truncate(32 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", self._image], check=True, capture_output=True)
        self.mount()

    def mount(self) -> None:
        """Also after `fail`."""
        command = ["mount", "-o", "loop,errors=remount-ro", self._image, self.folder]
        subprocess.run(command, check=True, capture_output=True)

    def unmount(self) -> None:
        """At once for whoever opens a file, and for good when the last one is closed."""
        subprocess.run(["umount", "--lazy", self.folder], capture_output=True)

    def fail(self) -> None:
        """What the system does at an error of the hardware: it lets nobody write any more."""
        subprocess.run(["sync", "-f", self.folder], check=True)
        source = subprocess.run(["findmnt", "-no", "SOURCE", self.folder], check=True, capture_output=True, text=True)
        (Path("/sys/fs/ext4") / Path(source.stdout.strip()).name / "trigger_fs_error").write_text("1")

    def fill(self) -> None:
        """To the last byte."""
        with (self.folder / "filler").open("wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    while file.write(bytes(size)) == size:
                        pass
                except OSError:
                    continue

    def empty(self) -> None:
        """Takes that back."""
        (self.folder / "filler").unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    if os.geteuid() != 0 or not shutil.which("mkfs.ext4") or not Path("/sys/fs/ext4").is_dir():
        pytest.skip("only root can mount a disk to break, and ext4 it must be")
    try:
        disk = Disk(tmp_path / "disk")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no disk can be mounted here: {error.stderr}")
    yield disk
    disk.unmount()


@pytest.mark.long
def test_disk_read_only_then_full(start: Callable[..., Any], disk: Disk, capsys: pytest.CaptureFixture[str]) -> None:
    storage, folder = disk.folder, disk.folder / "full"
    flags = ["--storage", storage, "--name", "full", "--trials", 4, *SHORT, "--set", "training.iterations=10"]

    def stops(driver: Any, why: str) -> None:
        assert driver.wait(60) == 3, driver.output
        assert f"its results folder {folder} cannot be written" in driver.output and why in driver.output, driver.output
        assert f"--resume full --storage {storage}" in driver.output and "Traceback" not in driver.output, driver.output
        assert "FAILED" not in driver.output
        assert driver.leaves_nothing()

    first = start(*flags, script=STUB)
    first.wait_for("0001  iteration 2 of")
    first.wait_for(r"000\d  complete")  # the reference, which has a study of its own, may have ended before them
    disk.fail()
    stops(first, "ead-only file system")
    disk.unmount()
    disk.mount()
    complete = [trial.state for trial in study(folder).trials].count(TrialState.COMPLETE)
    assert complete >= 1 and TrialState.FAIL not in [trial.state for trial in study(folder).trials]

    second = start("--storage", storage, "--resume", "full", script=STUB)
    second.wait_for(r"iteration \d+ of 10")
    disk.fill()
    stops(second, "No space left on device")
    assert run_ablation.main(["--storage", str(storage), "--resume", "full"]) == 2
    assert f"{folder} is not (No space left on device)" in capsys.readouterr().err
    disk.empty()

    third = start("--storage", storage, "--resume", "full", script=STUB)
    assert third.wait() == 0, third.output
    assert "base  started" not in second.output + third.output, "what is complete is not run again"
    trials = study(folder).trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 4
    rows = pq.read_table(folder / "results.parquet").to_pylist()
    assert [row["mIoU"] for row in rows[1:]] == [trial.value for trial in trials]
    assert all(row["seconds"] == row["iterations"] == 10 for row in rows), "every iteration counts once"


@pytest.mark.long
def test_nan_and_no_memory_cost_one_trial_each(start: Callable[..., Any], tiny: list[str], tmp_path: Path) -> None:
    # 19 x 256 x 1e11 indices are more than any address space holds.
    ranges = ["--range", "optimizer.lr=6e-5,1e30", "--range", "contrast.negatives=64,100000000000"]
    points = ["optimizer.lr=1e30,contrast.negatives=64", "optimizer.lr=6e-5,contrast.negatives=100000000000"]
    flags = ["--storage", tmp_path, "--name", "bad", "--trials", 2, "--workers", 1, "--scheduler", "none", *ranges]
    driver = start(*flags, *(text for point in points for text in ("--enqueue", point)), *tiny)
    assert driver.wait() == 1, driver.output
    assert "base  complete" in driver.output
    assert re.search(r"0000  FAILED: NonFiniteLoss: \S+ became infinite or NaN", driver.output), driver.output
    assert re.search(r"0001  FAILED: .*can't allocate memory.* lower training.batch_size", driver.output), driver.output
    for trial, words in (("0000", "became infinite or NaN"), ("0001", "lower training.batch_size")):
        assert driver.output.count(f"{trial}  started") == 1, "it would only fail again"
        assert "again" not in driver.output
        assert words in study(tmp_path / "bad").trials[int(trial)].user_attrs["error"]
        assert (tmp_path / "bad" / "trials" / trial / "error.txt").stat().st_size > 0
    assert [trial.state for trial in study(tmp_path / "bad").trials] == [TrialState.FAIL] * 2
