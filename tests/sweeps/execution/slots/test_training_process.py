"""Trainings in processes that are forked, one after the other, from one that stays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import pgpc
from pgpc.config import parse_settings
from pgpc.training.provenance import places_of
from sweeps.execution.slots.fork_server import ADDRESS, ForkServer
from sweeps.execution.slots.training_process import LostTraining, Servers
from sweeps.search.trial_spec import TrialSpec, Workers
from tests.helpers.forked import begin, trained

pytestmark = pytest.mark.slow
TESTS = Path(__file__).parents[4]
CLIENT = """
import sys, time
from pathlib import Path
from sweeps.execution.slots.training_process import Servers
from sweeps.search.trial_spec import TrialSpec
from tests.helpers.forked import begin
import json
begin(Servers(), TrialSpec.from_plain(json.loads(sys.argv[1]))).receive()
print("reported", flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    """The server of all tests; it takes seconds to import everything."""
    found = ForkServer()
    yield found
    found.close()


@pytest.fixture
def servers(server: ForkServer, monkeypatch: pytest.MonkeyPatch) -> Servers:
    """What a worker has that finds it."""
    monkeypatch.setenv(ADDRESS, server.address)
    return Servers()


@pytest.fixture
def spec(tiny: list[str], tmp_path: Path) -> Callable[..., TrialSpec]:
    """Makes what a training of seconds is told."""
    settings = {**parse_settings(tiny[1::2]), "training.iterations": 3, "training.eval_interval": 1}
    config = pgpc.override(pgpc.preset("streets"), settings)

    def make(label: str, **others: object) -> TrialSpec:
        workers = Workers(count=1, cpus=1, gpus=0)
        return TrialSpec(label=label, config=config, directory=tmp_path / label, workers=workers, **others)

    return make


def threads(pid: int) -> set[str]:
    return {(task / "comm").read_text().strip() for task in Path(f"/proc/{pid}/task").iterdir()}


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def end_of(pids: list[int]) -> bool:
    """Whether all of these end."""
    deadline = time.monotonic() + 60
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not any(map(is_alive, pids))


def test_the_second_training_is_the_first_and_that_of_a_process_of_its_own(
    servers: Servers, server: ForkServer, spec: Callable[..., TrialSpec], tmp_path: Path
) -> None:
    first, second = (trained(servers, spec(label)) for label in ("0000", "0001"))
    torch.set_num_threads(1)
    alone = dict(pgpc.train(spec("alone").config, out=tmp_path / "alone").metrics)
    learned = [key for key in alone if "loss/" in key or key == "mIoU"]
    assert len(learned) > 1
    assert [[report.get(key) for key in learned] for report in first] == [
        [report.get(key) for key in learned] for report in second
    ]
    assert {key: first[-1][key] for key in learned} == {key: alone[key] for key in learned}
    assert (tmp_path / "0001" / "worker-0.log").read_text()
    # jemalloc's thread is pyarrow's, and made to be forked.
    assert threads(server.pid) <= {"python", "jemalloc_bg_thd", Path(sys.executable).name}
    assert not any("nvidia" in os.readlink(file) for file in Path(f"/proc/{server.pid}/fd").iterdir())


def test_a_training_that_is_killed_is_missed_and_the_next_one_begins(
    servers: Servers, server: ForkServer, spec: Callable[..., TrialSpec]
) -> None:
    killed = begin(servers, spec("0000"))
    assert killed.receive() is not None
    os.kill(children(server.pid)[0], signal.SIGKILL)
    with pytest.raises(LostTraining, match="exit code -9"):
        killed.receive()
    stopped = begin(servers, spec("0001"))
    assert stopped.receive() is not None and stopped.is_waiting
    stopped.kill()
    assert not children(server.pid), "what it held is free"
    assert len(trained(servers, spec("0001"))) == 3, "it goes on from its checkpoint, which it reports once more"


def test_a_training_ends_with_its_worker_and_with_its_server(
    servers: Servers, server: ForkServer, spec: Callable[..., TrialSpec]
) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    worker = subprocess.Popen(
        [sys.executable, "-c", CLIENT, json.dumps(spec("0000").to_plain())],
        env=environment,
        cwd=TESTS,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None and worker.stdout.readline() == "reported\n"
    trainings = children(server.pid)
    worker.kill()
    worker.wait()
    assert len(trainings) == 1 and end_of(trainings)

    own = ForkServer()
    os.environ[ADDRESS] = own.address
    lost = begin(Servers(), spec("0001"))
    assert lost.receive() is not None
    trainings = children(own.pid)
    os.kill(own.pid, signal.SIGKILL)
    assert len(trainings) == 1 and end_of(trainings)
    with pytest.raises(LostTraining, match="with the process that had started it"):
        lost.receive()
    own.close()


def test_nothing_grows_over_fifty_trainings(
    servers: Servers, server: ForkServer, spec: Callable[..., TrialSpec]
) -> None:
    """Each of them fails at once, since other data were there when the sweep was begun."""

    def sizes() -> tuple[int, int, int]:
        resident = int(Path(f"/proc/{server.pid}/statm").read_text().split()[1])
        return resident, len(os.listdir(f"/proc/{server.pid}/fd")), len(os.listdir("/proc/self/fd"))

    refused = spec("0000", data={str(place): "of before" for place in places_of(spec("0000").config).values()})
    before = None
    for i in range(50):
        with pytest.raises(ValueError, match="trained on the same data"):
            trained(servers, refused)
        before = sizes() if i == 4 else before
    assert before is not None
    resident, *files = sizes()
    assert files == list(before[1:])
    assert resident <= 1.01 * before[0]
