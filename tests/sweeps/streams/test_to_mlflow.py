"""Against MLflow's own server, on this machine, with a database in a file."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sweeps.common.names import Event
from sweeps.streams.stream import Stream, make_tracker
from tests.sweeps import stub_sweep
from tests.sweeps.streams.conftest import Told, report

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


class Server:
    """`mlflow server`; it can be stopped and started again at its place."""

    def __init__(self, folder: Path):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.folder, self.url = folder, f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        places = ["--backend-store-uri", f"sqlite:///{self.folder}/m.db", "--default-artifact-root", f"{self.folder}/a"]
        command = ["-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        log = self.folder / "server.log"
        with log.open("a") as output:
            self.process = subprocess.Popen(
                [sys.executable, *command, *places],
                stdout=output,
                stderr=output,
                env={**os.environ, **quiet},
                cwd=self.folder,
                start_new_session=True,
            )
        deadline = time.monotonic() + 180
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/health", timeout=5)
                return
            except OSError:
                assert self.process.poll() is None and time.monotonic() < deadline, log.read_text()
                time.sleep(0.2)

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("mlflow"))
    yield server
    server.stop()


@pytest.fixture
def runs_of(server: Server, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """Gives what the server knows of the test's experiment: runs by label, each with its history of mIoU."""
    from mlflow import MlflowClient

    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.url)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", request.node.name)

    def runs() -> dict[str, Any]:
        client = MlflowClient(server.url)
        experiment = client.get_experiment_by_name(request.node.name)
        assert experiment is not None
        found = client.search_runs([experiment.experiment_id])
        assert len({run.info.run_name for run in found}) == len(found), "one run each"
        for run in found:
            history = client.get_metric_history(run.info.run_id, "mIoU")
            run.history = [(point.step, point.value) for point in sorted(history, key=lambda point: point.step)]
        return {run.info.run_name: run for run in found}

    return runs


def test_runs_are_there_with_all_that_is_known_and_are_gone_on_with(
    tmp_path: Path, runs_of: Callable[[], Any], server: Server
) -> None:
    told = Told(tmp_path, log_to="mlflow")
    tracker = make_tracker(told.sweep)
    assert tracker is not None
    assert tracker.place == f"experiment {os.environ['MLFLOW_EXPERIMENT_NAME']} of {server.url}"
    said: list[str] = []
    complete, pruned, failed, left = (told.run(eta) for eta in (0.25, 0.5, 0.75, 1.0))
    with Stream(tracker, told.sweep, said.append) as stream:
        for run in (complete, pruned, failed, left):
            stream.event(Event.STARTED, run)
            report(stream, run, 50, 9.0)
        report(stream, complete, 100, float("nan"))
        stream.event(Event.COMPLETE, complete)
        stream.event(Event.PRUNED, pruned)
        failed.error = "loss/source became NaN"
        stream.event(Event.FAILED, failed)
    runs = runs_of()
    states = {label: (run.info.status, run.data.tags["status"]) for label, run in runs.items()}
    assert states == {
        "0000": ("FINISHED", "complete"),
        "0001": ("KILLED", "pruned"),
        "0002": ("FAILED", "failed"),
        "0003": ("KILLED", "interrupted"),
    }
    assert runs["0000"].data.params == {"contrast.eta": "0.25"}
    assert {name: runs["0000"].data.tags[name] for name in ("sweep", "trial", "seed")} == {
        "sweep": "first",
        "trial": "0000",
        "seed": "0",
    }
    assert runs["0001"].data.metrics == {"mIoU": 9.0, "seconds": 100.0, "IoU/traffic light": 7.5}
    assert runs["0002"].data.tags["error"] == "loss/source became NaN"

    with Stream(make_tracker(told.sweep), told.resumed(), said.append) as stream:
        stream.event(Event.STARTED, left)
        report(stream, left, 100, 9.5)
        stream.event(Event.COMPLETE, left)
    run = runs_of()["0003"]
    assert (run.info.status, run.data.tags["status"], run.history) == ("FINISHED", "complete", [(50, 9.0), (100, 9.5)])
    assert said == []


@pytest.mark.long
def test_a_server_that_is_away_for_a_while_gets_it_all_later(
    tmp_path: Path, runs_of: Callable[[], Any], server: Server
) -> None:
    told = Told(tmp_path, log_to="mlflow")
    said: list[str] = []
    run = told.run(0.25)
    with Stream(make_tracker(told.sweep), told.sweep, said.append) as stream:
        stream.event(Event.STARTED, run)
        server.stop()
        began = time.monotonic()
        for iteration in range(10, 100, 10):
            report(stream, run, iteration, 9.0)
        assert time.monotonic() - began < 1, "nobody waits"
        while not said:
            assert time.monotonic() - began < 60
            time.sleep(0.05)
        server.start()
        stream.event(Event.COMPLETE, run)
    assert [text.partition(":")[0] for text in said] == ["MLflow cannot be reached; the sweep goes on, and tries again"]
    assert runs_of()["0000"].history == [(iteration, 9.0) for iteration in range(10, 100, 10)]
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ


def test_an_address_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "gopher://somewhere")
    with pytest.raises(ValueError, match="address of the server from MLFLOW_TRACKING_URI, .*, but got 'gopher://some"):
        make_tracker(Told(tmp_path, log_to="mlflow").sweep)


@pytest.mark.long
def test_a_whole_sweep_that_is_interrupted_and_resumed(
    start: Callable[..., Any], tmp_path: Path, runs_of: Callable[[], Any], server: Server
) -> None:
    """The command, with its drivers; the server is the same one."""
    script = Path(stub_sweep.__file__)
    common = ["--storage", tmp_path, "--scheduler", "none", "--workers", 1, "--no-warm-up", "--concurrency", 1]
    changes = [
        text
        for setting in ("contrast.start=1", "contrast.fill=1", "training.iterations=12")
        for text in ("--set", setting)
    ]
    first = start(*common, *changes, "--name", "logged", "--trials", 1, "--log-to", "mlflow", script=script)
    first.wait_for(f"Logged to MLflow: experiment .* of {server.url}")
    first.wait_for("0000  iteration 3 of 12")
    first.interrupt()
    assert first.wait() == 130, first.output
    left = runs_of()
    assert left["base"].data.tags["status"] == "complete" and left["0000"].data.tags["status"] == "interrupted"
    second = start("--storage", tmp_path, "--resume", "logged", script=script)
    assert second.wait() == 0, second.output
    runs = runs_of()
    assert [runs[label].data.tags["status"] for label in ("base", "0000")] == ["complete", "complete"]
    for label in ("base", "0000"):
        steps = [step for step, _ in runs[label].history]
        assert steps == sorted(set(steps)) and {1, 2, 3, 12} <= set(steps), "none twice, and to the end"
    assert "did not reach" not in first.output + second.output
