"""Runs the sweep's command as a user does: a process of its own, with a Ray cluster of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "sweeps" / "run_ablation.py"
MARK = "PGPC_TEST_DRIVER"

TINY = {
    "data.streets.num_source": 8,
    "data.streets.num_target": 8,
    "data.streets.num_val": 2,
    "data.streets.height": 64,
    "data.streets.width": 64,
    "data.source_size": "64,64",
    "data.target_size": "64,64",
    "data.crop": 64,
    "data.rare_class_sampling": "false",
    "model.head_channels": 16,
    "model.pretrained": "none",
    "contrast.start": 2,
    "contrast.fill": 2,  # from the start, so that there is no trunk to share
    "optimizer.warmup": 1,
    "training.iterations": 12,
    "training.batch_size": 2,
    "training.eval_interval": 3,
    "training.log_interval": 3,
}
"""Changes to the preset "streets" that make a training of seconds."""


TINY_FLAGS = [text for key, value in TINY.items() for text in ("--set", f"{key}={value}")]


class Driver:
    """A running `run_ablation.py`, in a session of its own, as in a terminal of its own."""

    def __init__(self, arguments: list[str], log: Path, script: Path):
        self.log = log
        self._mark = f"{MARK}={uuid.uuid4().hex}"
        name, _, value = self._mark.partition("=")
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(script), *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, name: value, "OMP_NUM_THREADS": "1"},
            )

    @property
    def output(self) -> str:
        """All that it has said so far."""
        return self.log.read_text()

    def wait_for(self, pattern: str, timeout: float = 300) -> re.Match[str]:
        """Returns when its output matches."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            match = re.search(pattern, self.output, flags=re.MULTILINE)
            if match:
                return match
            assert self.process.poll() is None, f"ended before it said {pattern!r}:\n{self.output}"
            time.sleep(0.05)
        raise AssertionError(f"did not say {pattern!r} within {timeout} s:\n{self.output}")

    def wait(self, timeout: float = 600) -> int:
        """Its exit code."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"did not end within {timeout} s:\n{self.output}") from None

    def interrupt(self) -> None:
        """Ctrl-C, which a terminal sends to all processes of the session."""
        os.killpg(self.process.pid, signal.SIGINT)

    def terminate(self) -> None:
        """SIGTERM to all processes of its group, as batch systems and `timeout` send it."""
        os.killpg(self.process.pid, signal.SIGTERM)

    def family(self, title: str = "") -> list[int]:
        """Process ids of all that it has started and that live, itself excluded, with `title` in their title."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                ours = entry.name.isdecimal() and self._mark.encode() in (entry / "environ").read_bytes()
                if ours and title.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:  # it has ended meanwhile, or is not ours
                continue
        return [pid for pid in found if pid != self.process.pid]

    def leaves_nothing(self, timeout: float = 120) -> bool:
        """Whether every process that it has started ends within the time.

        After SIGKILL of the driver the workers end in seconds, but Ray's two agents wait a minute for a new head.
        """
        deadline = time.monotonic() + timeout
        while self.family() and time.monotonic() < deadline:
            time.sleep(0.2)
        return not self.family()

    def end(self) -> None:
        """Kills it and all that it has started."""
        for pid in [self.process.pid, *self.family()]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Driver]]:
    """Starts the command with these arguments; whatever is left of it is killed when the tests end."""
    folder = tmp_path_factory.mktemp("drivers")
    drivers: list[Driver] = []

    def begin(*arguments: object, script: Path = SCRIPT) -> Driver:
        drivers.append(Driver([str(a) for a in arguments], folder / f"{len(drivers)}.log", script))
        return drivers[-1]

    yield begin
    for driver in drivers:
        driver.end()


@pytest.fixture(scope="session")
def tiny() -> list[str]:
    """Flags that make every training one of seconds."""
    return TINY_FLAGS


@pytest.fixture(scope="session")
def interrupted_sweep(
    start: Callable[..., Driver], tiny: list[str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """Three drivers, one after the other, on one sweep of the reference and two trials; and what they said.

    One is killed, one gets the signal of a batch system, and one loses a worker, then the process of its slot.
    """
    storage = tmp_path_factory.mktemp("storage")
    first = start("--storage", storage, "--name", "hardy", "--trials", 2, "--scheduler", "none", *tiny)
    first.wait_for("0000  iteration 3 of")
    os.kill(first.process.pid, signal.SIGKILL)
    first.process.wait()

    second = start("--storage", storage, "--resume", "hardy")
    second.wait_for("0000  (resumed|iteration)")
    stale = time.time()
    second.terminate()
    second_code = second.wait()

    fresh = {file.name for file in (storage / "hardy").iterdir() if file.stat().st_mtime > stale}

    third = start("--storage", storage, "--resume")
    third.wait_for("0001  iteration 3 of")
    os.kill(third.family("RayTrainWorker")[0], signal.SIGKILL)
    third.wait_for("0001  iteration 6 of")
    os.kill(third.family("ray::ResourceTrainable")[0], signal.SIGKILL)
    third_code = third.wait()
    # Here, since what a killed driver has started takes up to a minute to end, and a user does not wait for that.
    clean = [driver.leaves_nothing() for driver in (first, second, third)]
    return {
        "folder": storage / "hardy",
        "outputs": [first.output, second.output, third.output],
        "codes": [second_code, third_code],
        "clean": clean,
        "fresh": fresh,
    }


@pytest.fixture(scope="session")
def trunk_sweep(
    start: Callable[..., Driver], tiny: list[str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """A sweep whose driver is killed while it trains the trunk and which is resumed; and what both drivers said."""
    storage = tmp_path_factory.mktemp("storage")
    changes = [*tiny, "--set", "contrast.start=6"]
    arguments = ("--storage", storage, "--trials", 1, "--scheduler", "none", "--workers", 1, *changes)
    killed = start("--name", "first", *arguments)
    killed.wait_for("trunk  iteration 3 of 4")
    os.kill(killed.process.pid, signal.SIGKILL)
    killed.process.wait()
    resumed = start("--resume", "first", "--storage", storage)
    assert resumed.wait(420) == 0, resumed.output
    assert killed.leaves_nothing()
    return {"storage": storage, "outputs": [killed.output, resumed.output]}
