"""What a user finds in TensorBoard of a sweep: a real server's answers over HTTP.

Of two sweeps of test_interruptions and test_trunk, whose trials were interrupted, resumed, and forked from a trunk.
"""

from __future__ import annotations

import html
import io
import json
import re
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import pgpc
from sweeps.common.names import Event
from sweeps.definition.selection import Selection
from sweeps.progress.tensorboard import note_outcome
from sweeps.search.searcher import Run

pytestmark = pytest.mark.timeout(900)
STEPS = [3, 6, 9, 12]
NAMES = ["r", "eta", "weight", "anchors", "negatives"]
Get = Callable[..., Any]


@pytest.fixture(scope="module")
def logdir(
    interrupted_sweep: dict[str, Any], trunk_sweep: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The runs of both sweeps, in a folder each."""
    folder = tmp_path_factory.mktemp("logdir")
    (folder / "hardy").symlink_to(interrupted_sweep["folder"] / "trials", target_is_directory=True)
    (folder / "first").symlink_to(trunk_sweep["storage"] / "first" / "trials", target_is_directory=True)
    return folder


@pytest.fixture(scope="module")
def served(logdir: Path) -> Iterator[Get]:
    """Asks a TensorBoard of its own for an address below /data and its parameters."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logdir), "--port", str(port)]
    command += ["--reload_interval", "1"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def get(address: str, *, post: dict[str, Any] | None = None, raw: bool = False, **query: Any) -> Any:
        url = f"http://127.0.0.1:{port}/data/{address}?{urllib.parse.urlencode(query)}"
        request = urllib.request.Request(url, data=None if post is None else json.dumps(post).encode())
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=20) as answer:
            content = answer.read()
        return content if raw else json.loads(content)

    try:
        wait_until(lambda: len(get("runs")) >= 5 and "hardy/0001" in get("plugin/projector/runs"))
        yield get
    finally:
        server.kill()
        server.wait()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            if condition():
                return
        except OSError:  # it is starting
            pass
        assert time.monotonic() < deadline
        time.sleep(0.2)


def rows(folder: Path) -> dict[str, dict[str, Any]]:
    """Of a sweep, by the runs' names in TensorBoard."""
    found = pq.read_table((folder / "base").resolve().parents[1] / "results.parquet").to_pylist()
    return {f"{folder.name}/{row['trial']}": row for row in found}


def hyperparameters(get: Get) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    statuses = [f"STATUS_{name}" for name in ("UNKNOWN", "SUCCESS", "FAILURE", "RUNNING")]
    experiment = get("plugin/hparams/experiment", post={"experimentName": ""})
    request = {"experimentName": "", "allowedStatuses": statuses, "startIndex": 0, "sliceSize": 100, "colParams": []}
    return experiment, get("plugin/hparams/session_groups", post=request)["sessionGroups"]


def test_a_run_per_trial_called_after_it(served: Get) -> None:
    # Embeddings are not runs of their own.
    assert sorted(served("runs")) == ["first/0000", "first/base", "hardy/0000", "hardy/0001", "hardy/base"]


def test_one_curve_without_gaps_or_repetitions(served: Get, logdir: Path) -> None:
    """Also where the trial was killed, resumed, or was forked from a trunk."""
    tags = served("plugin/scalars/tags")
    for run, row in {**rows(logdir / "hardy"), **rows(logdir / "first")}.items():
        for tag in ("eval/mIoU", "loss/source", "train/images_per_second"):
            points = served("plugin/scalars/scalars", run=run, tag=tag)
            assert [step for _, step, _ in points] == STEPS, (run, tag, points)
        for tag, name in {"eval/mIoU": "mIoU", "per_class/IoU/road": "IoU/road", "train/seconds": "seconds"}.items():
            [*_, (_, _, value)] = served("plugin/scalars/scalars", run=run, tag=tag)
            assert value == pytest.approx(row[name], rel=1e-5)
        assert {tag.partition("/")[0] for tag in tags[run]} == {"train", "eval", "loss", "per_class", "selection"}


def test_trials_can_be_compared_by_what_is_searched(served: Get, logdir: Path) -> None:
    experiment, groups = hyperparameters(served)
    assert [info["name"] for info in experiment["hparamInfos"]] == sorted(NAMES)
    compared = [info["name"]["tag"] for info in experiment["metricInfos"]]
    assert compared[0] == "eval/mIoU" and compared[-1] == "train/seconds"
    assert {tag.partition("/")[0] for tag in compared[1:-1]} == {"selection"}
    known = {**rows(logdir / "hardy"), **rows(logdir / "first")}
    assert sorted(group["name"] for group in groups) == sorted(known), "namesakes of two sweeps stay apart"
    for group in groups:
        run, row = group["name"], known[group["name"]]
        expected = {} if run.endswith("base") else {name: row[f"contrast.{name}"] for name in NAMES}
        assert group["hparams"] == pytest.approx(expected)
        [session] = group["sessions"]
        found = {metric["name"]["tag"]: metric for metric in session["metricValues"]}
        for tag, name in {"eval/mIoU": "mIoU", "selection/snd": "criteria/snd", "train/seconds": "seconds"}.items():
            assert found[tag]["value"] == pytest.approx(row[name], rel=1e-5) and found[tag]["trainingStep"] == 12
        assert session["status"] == "STATUS_SUCCESS"


def test_pictures(served: Get) -> None:
    for run, tags in served("plugin/images/tags").items():
        kinds = {tag.removeprefix("pictures/") for tag in tags}
        assert any(kind.startswith("input") for kind in kinds) and any(kind.startswith("selected") for kind in kinds)
        tag = min(tag for tag in tags if tag.startswith("pictures/input"))
        shown = served("plugin/images/images", run=run, tag=tag, sample=0)
        assert shown[-1]["step"] == 12
        assert len({picture["step"] for picture in shown}) == len(shown)
        query = dict(urllib.parse.parse_qsl(shown[-1]["query"]))
        data = served("plugin/images/individualImage", raw=True, **query)
        picture = Image.open(io.BytesIO(data))
        assert picture.format == "PNG" and picture.size == (64, 3 * 64)
        assert len(np.unique(np.array(picture).reshape(-1, 3), axis=0)) > 5


def test_features_in_the_projector(served: Get, logdir: Path) -> None:
    runs = served("plugin/projector/runs")
    assert sorted(runs) == sorted(served("runs"))
    for run in runs:
        [embedding] = served("plugin/projector/info", run=run)["embeddings"]
        name, shape = embedding["tensorName"], embedding["tensorShape"]
        vectors = np.frombuffer(served("plugin/projector/tensor", run=run, name=name, raw=True), dtype=np.float32)
        labels = served("plugin/projector/metadata", run=run, name=name, raw=True).decode().splitlines()
        assert vectors.size == shape[0] * shape[1] and len(labels) == shape[0] > 50
        assert set(labels) <= set(pgpc.classes.CITYSCAPES.names)


def test_config_and_outcome_as_text(served: Get, logdir: Path) -> None:
    for run, tags in served("plugin/text/tags").items():
        assert {tag.partition("/")[0] for tag in tags} == {"config", "outcome"}
        config = html.unescape(served("plugin/text/text", run=run, tag="config/text_summary")[-1]["text"])
        pasted = re.search(r"<pre><code>(.*)</code></pre>", config, flags=re.DOTALL)
        assert pasted and json.loads(pasted[1]) == json.loads((logdir / run / "config.json").read_text())
        [*_, outcome] = served("plugin/text/text", run=run, tag="outcome/text_summary")
        assert outcome["step"] == 12 and re.search(r"complete, mIoU \d+\.\d\d", outcome["text"])


def test_a_pruned_run_says_so_to_a_server_that_is_running(served: Get, logdir: Path) -> None:
    none: Any = None
    choice = Selection.parse("mIoU")
    run = Run(label="0002", trial_label="0002", seed=0, iterations=24, study=none, trial=none, selection=choice)
    run.metrics = {"iteration": 12, "mIoU": 5.0}
    note_outcome(logdir / "later" / "0002", Event.PRUNED, run)

    def shown() -> str:
        return str([text["text"] for text in served("plugin/text/text", run="later/0002", tag="outcome/text_summary")])

    wait_until(lambda: "<p>pruned at iteration 12 of 24, mIoU 5.00</p>" in shown())
