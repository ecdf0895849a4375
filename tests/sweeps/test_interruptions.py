"""One sweep that meets all mishaps in turn, in real processes: kill -9 of the driver, Ctrl-C, kill -9 of a worker."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import time
from collections.abc import Callable
from typing import Any

import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.timeout(420)

LAST = 12


def iterations(output: str, trial: str) -> list[int]:
    """The iterations that a driver reported of a trial, in order."""
    return [int(i) for i in re.findall(rf"{trial}  iteration (\d+)/", output)]


@pytest.fixture(scope="module")
def sweep(start: Callable[..., Any], tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """Three drivers after each other on one sweep of two trials and the reference, and what each of them said."""
    storage = tmp_path_factory.mktemp("storage")
    folder = storage / "hardy"
    first = start("--storage", storage, "--name", "hardy", "--trials", 2, "--scheduler", "none", *tiny)
    first.wait_for("0000  iteration 3/")
    os.kill(first.process.pid, signal.SIGKILL)
    first.process.wait()
    first_left_nothing = first.leaves_nothing()

    second = start("--storage", storage, "--resume", "hardy")
    second.wait_for("0000  (goes on|iteration)")
    second.interrupt()
    second_code = second.wait(60)
    second_left_nothing = second.leaves_nothing()

    third = start("--storage", storage, "--resume")
    third.wait_for("0001  iteration 3/")
    os.kill(third.family("RayTrainWorker")[0], signal.SIGKILL)
    third_code = third.wait()
    return {
        "folder": folder,
        "first": first.output,
        "first left nothing": first_left_nothing,
        "second": second.output,
        "second code": second_code,
        "second left nothing": second_left_nothing,
        "third": third.output,
        "third code": third_code,
        "third left nothing": third.leaves_nothing(),
    }


def test_x(sweep):
    for k, v in sweep.items():
        print("=====", k)
        print(v)
    assert 0
