"""W&B without its servers: offline, as it keeps runs for `wandb sync`."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweeps.common.names import Event
from sweeps.streams.stream import Stream, make_tracker
from tests.sweeps.streams.conftest import Told, report

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

_BLOCK, _FILE_HEADER, _HEADER = 32768, 7, 7


def records(file: Path) -> Iterator[Any]:
    """What W&B has written down for its servers: protocol buffers, in the log format of LevelDB."""
    from wandb.proto import wandb_internal_pb2 as messages

    content, at, parts = file.read_bytes(), _FILE_HEADER, b""
    while at + _HEADER <= len(content):
        if _BLOCK - at % _BLOCK < _HEADER:  # no header begins where it would not fit
            at += _BLOCK - at % _BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", content, at)
        parts += content[at + _HEADER : at + _HEADER + length]
        at += _HEADER + length
        if kind in (1, 4):  # whole, or the last part
            record = messages.Record()
            record.ParseFromString(parts)
            parts = b""
            yield record


def offline(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Label of a run -> what each driver has left of it, in the order of time."""
    found: dict[str, list[dict[str, Any]]] = {}
    for file in sorted((folder / "wandb").glob("offline-run-*/run-*.wandb")):
        mine: dict[str, Any] = {"history": [], "summary": {}}
        for record in records(file):
            if record.HasField("run") and "run" not in mine:
                mine["run"] = record.run
                mine["config"] = {
                    item.key or ".".join(item.nested_key): json.loads(item.value_json)
                    for item in record.run.config.update
                }
            elif record.HasField("history"):
                mine["history"].append(
                    {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
                )
            elif record.HasField("summary"):
                mine["summary"] |= {
                    item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.summary.update
                }
            elif record.HasField("exit"):
                mine["exit"] = record.exit.exit_code
        found.setdefault(mine["run"].display_name, []).append(mine)
    return found


@pytest.fixture(autouse=True)
def wandb_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("WANDB_API_KEY", "WANDB_PROJECT", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    yield
    import wandb

    wandb.teardown()  # it reads the environment once


def test_runs_are_kept_for_later_and_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    told = Told(tmp_path, log_to="wandb")
    tracker = make_tracker(told.sweep)
    assert tracker is not None and tracker.place == f"project pgpc, offline in {told.sweep.folder / 'wandb'}"
    said: list[str] = []
    complete, failed, left = (told.run(eta) for eta in (0.25, 0.5, 0.75))
    with Stream(tracker, told.sweep, said.append) as stream:
        for run in (complete, failed, left):
            stream.event(Event.STARTED, run)
        report(stream, complete, 50, 9.0)
        report(stream, left, 50, 8.0)
        report(stream, complete, 100, 9.5)
        stream.event(Event.COMPLETE, complete)
        failed.error = "loss/source became NaN"
        stream.event(Event.FAILED, failed)
    with Stream(make_tracker(told.sweep), told.resumed(), said.append) as stream:
        stream.event(Event.STARTED, left)
        report(stream, left, 100, 8.5)
        stream.event(Event.COMPLETE, left)
    assert said == []
    found = offline(told.sweep.folder)
    assert {label: len(drivers) for label, drivers in found.items()} == {"0000": 1, "0001": 1, "0002": 2}
    (mine,) = found["0000"]
    assert (mine["run"].project, mine["run"].run_group, mine["run"].job_type) == ("pgpc", "first", "search")
    assert set(mine["run"].tags) >= {"sweep first", "trial 0000", "seed 0"}
    assert mine["config"]["contrast.eta"] == 0.25 and mine["config"]["sweep"] == "first"
    assert [(point["iteration"], point["mIoU"]) for point in mine["history"]] == [(50, 9.0), (100, 9.5)]
    assert (mine["summary"]["status"], mine["exit"]) == ("complete", 0)
    (broken,) = found["0001"]
    assert (broken["summary"]["status"], broken["exit"]) == ("failed", 1)
    assert broken["summary"]["error"] == "loss/source became NaN"
    before, after = found["0002"]
    assert before["run"].run_id == after["run"].run_id != mine["run"].run_id
    assert (before["summary"]["status"], after["summary"]["status"]) == ("interrupted", "complete")
    assert [point["iteration"] for point in before["history"] + after["history"]] == [50, 100]


def test_nobody_is_logged_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    with pytest.raises(ValueError, match="needs a W&B account, but nobody is logged in. Run `wandb login`"):
        make_tracker(Told(tmp_path, log_to="wandb").sweep)
