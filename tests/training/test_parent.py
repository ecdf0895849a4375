"""Runs that go on from another run's checkpoint, with settings of the contrast of their own."""

import shutil

import pytest
import torch

import pgpc
from pgpc.config import adjustable_keys, flatten
from pgpc.models.checkpoint import read_checkpoint, read_metrics
from pgpc.training import Callbacks, ForkParent, Resume

CHANGES = {
    "training.iterations": 6,
    "training.log_interval": 3,
    "adaptation.confidence": 0.0537,
    "model.drop_path": 0.1,
}
OTHER = {
    "contrast.r": 2,
    "contrast.eta": 0.9,
    "contrast.weight": 2.0,
    "contrast.anchors": 8,
    "contrast.negatives": 8,
    "contrast.temperature": 0.1,
    "contrast.quota": 8,
    "contrast.pool": 16,
    "contrast.average": "all",
    "contrast.reliable_by": "confidence",
    "contrast.reliable_per": "batch",
}
"""Another value of every setting that may differ."""


def run(config, folder, **arguments):
    """Train; keep every checkpoint as ``folder/ITERATION``, and return the reports."""
    reports = []

    def on_report(metrics, checkpoint):
        reports.append(metrics)
        if checkpoint is not None:
            shutil.copytree(checkpoint, folder / str(metrics["iteration"]))

    pgpc.train(config, out=folder, callbacks=Callbacks(on_report=on_report), **arguments)
    return reports


def differing(a, b):
    """Names of the tensors that are not equal in two checkpoints."""
    a, b = (
        {f"{part} {name}": value for part in ("student", "teacher", "contrast") for name, value in state[part].items()}
        | {f"optimizer {i} {name}": v for i, s in state["optimizer"]["state"].items() for name, v in s.items()}
        for state in (read_checkpoint(a), read_checkpoint(b))
    )
    assert a.keys() == b.keys()
    return [name for name in a if not torch.equal(torch.as_tensor(a[name]), torch.as_tensor(b[name]))]


@pytest.fixture(scope="module")
def parent(tmp_path_factory, tiny):
    """A config and the folder of its run; the contrast starts at 1."""
    folder, config = tmp_path_factory.mktemp("parent"), tiny(changes=CHANGES)
    run(config, folder)
    return config, folder


@pytest.mark.slow
def test_a_child_of_equal_settings_goes_on_as_its_parent_bit_for_bit(parent, tmp_path):
    config, folder = parent
    torch.manual_seed(99)  # whatever the global generator holds, it plays no part
    reports = run(config, tmp_path, begin=ForkParent(folder / "2"))
    assert [report["iteration"] for report in reports] == [2, 4, 6]
    assert reports[0] == read_metrics(folder / "2")
    assert differing(tmp_path / "4", folder / "4") == differing(tmp_path / "6", folder / "6") == []
    assert reports[-1]["seconds"] > reports[0]["seconds"] > 0


@pytest.mark.slow
def test_a_child_may_differ_in_every_adjustable_setting_and_then_learns_otherwise(parent, tmp_path):
    config, folder = parent
    child = pgpc.override(config, OTHER)
    ours, theirs = flatten(child), flatten(config)
    assert {key for key in ours if ours[key] != theirs[key]} == set(adjustable_keys())
    run(child, tmp_path, begin=ForkParent(folder / "2"))
    assert differing(tmp_path / "4", folder / "4")
    # A child that was interrupted goes on from its own checkpoint, whatever became of the parent's.
    again = run(child, tmp_path / "again", begin=Resume(tmp_path / "4"))
    assert [report["iteration"] for report in again] == [4, 6]
    assert differing(tmp_path / "again" / "6", tmp_path / "6") == []


@pytest.mark.slow
@pytest.mark.parametrize("key", ["contrast.bank_size", "contrast.start", "optimizer.lr", "seed"])
def test_other_settings_are_refused(parent, tmp_path, key):
    config, folder = parent
    child = pgpc.override(config, {key: flatten(config)[key] * 2 + 1})
    with pytest.raises(ValueError, match=f"differs in {key}"):
        pgpc.train(child, out=tmp_path, begin=ForkParent(folder / "2"))
    with pytest.raises(ValueError, match=r"differs in contrast\.r"):
        pgpc.train(pgpc.override(config, {"contrast.r": 2}), out=tmp_path, begin=Resume(folder / "2"))


@pytest.mark.slow
def test_the_last_report_of_a_checkpoint_is_read_without_the_rest(parent, tmp_path):
    assert read_metrics(parent[1] / "4") == read_checkpoint(parent[1] / "4")["metrics"]
    with pytest.raises(FileNotFoundError):
        read_metrics(tmp_path)
    whole = (parent[1] / "4" / "checkpoint.pt").read_bytes()
    (tmp_path / "checkpoint.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="cannot be read as a checkpoint"):
        read_metrics(tmp_path)
