"""Whole runs: interrupted against uninterrupted, reports, checkpoints, what is left on disk."""

import json
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import pgpc
from pgpc.classes import CLASS_NAMES
from pgpc.cli import main
from pgpc.config import flatten, from_dict
from pgpc.models.checkpoint import read_checkpoint
from pgpc.runtime import distributed
from pgpc.training import Callbacks, Resume
from tests.helpers.cli import fails
from tests.helpers.states import equal


class Stop(Exception):
    pass


def keep_checkpoints(folder, *, stop_at=None):
    """A callback that keeps every checkpoint under its iteration, and may end the run there."""
    reports = []

    def on_report(metrics, checkpoint):
        reports.append((metrics, checkpoint))
        if checkpoint is not None:
            (checkpoint / "checkpoint.pt").rename(folder / f"{metrics['iteration']}.pt")
        if metrics["iteration"] == stop_at:
            raise Stop

    return on_report, reports


def learned(path):
    state = torch.load(path, weights_only=True)
    return {k: state[k] for k in ("step", "student", "teacher", "contrast", "optimizer")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory, tiny):
    """An uninterrupted tiny run: its config, folder, reports and result."""
    folder = tmp_path_factory.mktemp("whole")
    config = tiny()
    on_report, reports = keep_checkpoints(folder)
    return config, folder, reports, pgpc.train(config, out=folder, callbacks=Callbacks(on_report=on_report))


@pytest.mark.slow
def test_reports_come_at_every_evaluation_with_all_metrics(whole):
    config, folder, reports, result = whole
    assert [m["iteration"] for m, _ in reports] == [2, 4]
    final, _ = reports[-1]
    assert result.metrics == final
    assert 0 <= final["mIoU"] <= 100
    scores = [final[f"IoU/{name}"] for name in CLASS_NAMES if f"IoU/{name}" in final]
    assert final["mIoU"] == pytest.approx(sum(scores) / len(scores))
    for name in (
        "loss/source",
        "loss/target",
        "loss/contrast",
        "anchors/road",
        "bank_fill/source",
        "bank_fill/target_negatives",
        "pseudo_label_weight",
        "learning_rate",
        "images_per_second",
        "seconds",
    ):
        assert isinstance(final[name], float), name
    assert ("gpu_memory" in final) == (distributed.local_device().type == "cuda")
    assert from_dict(json.loads((folder / "config.json").read_text())) == config


@pytest.mark.slow
def test_interrupted_and_resumed_equals_uninterrupted_bit_for_bit(whole, tmp_path):
    config, folder, reports, _ = whole
    on_report, _ = keep_checkpoints(tmp_path, stop_at=2)
    with pytest.raises(Stop):
        pgpc.train(config, out=tmp_path, callbacks=Callbacks(on_report=on_report))
    (tmp_path / "2.pt").rename(tmp_path / "checkpoint.pt")
    for seed in (torch.manual_seed, np.random.seed, random.seed):
        seed(99)  # whatever the global generators hold, it plays no part
    on_report, resumed = keep_checkpoints(tmp_path)
    pgpc.train(config, out=tmp_path, begin=Resume(tmp_path), callbacks=Callbacks(on_report=on_report))
    assert equal(learned(folder / "4.pt"), learned(tmp_path / "4.pt"))
    assert [m["iteration"] for m, _ in resumed] == [2, 4]
    assert resumed[0][1] is None  # the old report once more, for a driver that never got it
    assert resumed[1][0]["mIoU"] == reports[1][0]["mIoU"]


@pytest.mark.slow
def test_saved_between_two_reports_and_resumed_equals_uninterrupted_bit_for_bit(tmp_path, tiny):
    config = tiny(changes={"training.iterations": 6, "training.eval_interval": 3, "contrast.start": 2})
    (tmp_path / "whole").mkdir()
    on_report, whole = keep_checkpoints(tmp_path / "whole")
    pgpc.train(config, out=tmp_path / "whole", callbacks=Callbacks(on_report=on_report))

    on_report, first = keep_checkpoints(tmp_path, stop_at=5)
    with pytest.raises(Stop):
        pgpc.train(config, out=tmp_path, callbacks=Callbacks(on_report=on_report, should_checkpoint=lambda: True))
    assert [m["iteration"] for m, _ in first] == [1, 2, 3, 4, 5]
    assert [m.keys() for m, _ in first if m["iteration"] in (1, 2, 4, 5)] == [{"iteration", "seconds"}] * 4
    (tmp_path / "5.pt").rename(tmp_path / "checkpoint.pt")
    on_report, resumed = keep_checkpoints(tmp_path)
    pgpc.train(config, out=tmp_path, begin=Resume(tmp_path), callbacks=Callbacks(on_report=on_report))
    assert equal(learned(tmp_path / "whole" / "6.pt"), learned(tmp_path / "6.pt"))
    assert [m["iteration"] for m, _ in resumed] == [3, 6]
    timed = {"seconds": 0, "images_per_second": 0}
    assert [{**m, **timed} for m, _ in resumed] == [{**m, **timed} for m, _ in whole]


@pytest.mark.slow
def test_a_finished_run_resumed_does_nothing_but_report_again(whole, tmp_path):
    config, folder, reports, _ = whole
    (tmp_path / "checkpoint.pt").write_bytes((folder / "4.pt").read_bytes())
    on_report, again = keep_checkpoints(tmp_path)
    result = pgpc.train(config, out=tmp_path, begin=Resume(tmp_path), callbacks=Callbacks(on_report=on_report))
    assert again == [(reports[-1][0], None)]
    assert result.metrics == reports[-1][0]


@pytest.mark.slow
def test_tensorboard_has_curves_pictures_and_hyperparameters(whole):
    _, folder, reports, _ = whole
    events = EventAccumulator(str(folder), size_guidance={"images": 0}).Reload()
    tags = events.Tags()
    assert {
        "loss/contrast",
        "per_class/anchors/road",
        "train/bank_fill/source",
        "train/learning_rate",
        "train/images_per_second",
        "eval/mIoU",
        "train/seconds",
        "per_class/IoU/road",
    } <= set(tags["scalars"])
    assert [e.step for e in events.Scalars("loss/source")] == [1, 2, 3, 4]
    assert [e.value for e in events.Scalars("eval/mIoU")] == pytest.approx([m["mIoU"] for m, _ in reports])
    text = events.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    assert '"eta": 0.5' in text
    assert len(tags["images"]) == 2 * 3  # predictions, and what is selected
    assert "_hparams_/session_start_info" in events.summary_metadata


def test_another_config_is_refused_on_resuming(whole, tmp_path):
    config, folder, _, _ = whole
    (tmp_path / "checkpoint.pt").write_bytes((folder / "4.pt").read_bytes())
    other = pgpc.override(config, {"contrast.eta": 0.4})
    with pytest.raises(ValueError, match=r"contrast.eta: 0.5 there, 0.4 here"):
        pgpc.train(other, out=tmp_path, begin=Resume(tmp_path))


def test_a_non_finite_loss_ends_the_run_by_name_and_saves_nothing(tmp_path, tiny):
    config = tiny("streets/daformer", {"optimizer.lr": 1e30, "optimizer.warmup": 0})
    with pytest.raises(pgpc.NonFiniteLoss, match=r"loss/\w+ became infinite or NaN in iterations? \d.* Lower"):
        pgpc.train(config, out=tmp_path)
    assert not (tmp_path / "checkpoint.pt").exists()


@pytest.mark.parametrize("iterations", [1, 4], ids=["at a report", "between two"])
def test_weights_that_the_last_step_has_ruined_are_not_saved(tmp_path, tiny, iterations):
    """The losses of that step are finite, since they are of the weights before it."""
    changes = {"optimizer.weight_decay": 1e300, "optimizer.warmup": 0, "training.iterations": iterations}
    config = tiny("streets/daformer", changes)
    with pytest.raises(pgpc.NonFiniteLoss, match=r"weights became infinite or NaN before iteration 1\. Lower"):
        pgpc.train(config, out=tmp_path, callbacks=Callbacks(should_checkpoint=lambda: True))
    assert not (tmp_path / "checkpoint.pt").exists()


@pytest.mark.slow
def test_labels_of_the_targets_train_split_play_no_part(tmp_path, tiny, monkeypatch):
    """Reading one is made an error; a run with it ends as ever."""
    from pgpc.data.shards.reader import Shards

    read = Shards.label_bytes
    domains = []

    def label_bytes(self, index):
        domains.append((self.folder.name, self.split))
        return read(self, index)

    monkeypatch.setattr(Shards, "label_bytes", label_bytes)
    pgpc.train(tiny(changes={"training.iterations": 1, "contrast.start": 0}), out=tmp_path)
    assert set(domains) == {("source", "train"), ("target", "val")}


@pytest.mark.slow
def test_the_command_trains_and_scores_the_same(tmp_path, tiny, capsys):
    values = {k: ",".join(map(str, v)) if isinstance(v, tuple) else v for k, v in flatten(tiny()).items()}
    settings = [text for key, value in values.items() for text in ("--set", f"{key}={value}")]
    out = str(tmp_path / "run")
    command = [sys.executable, "-m", "pgpc", "train", *settings, "--out", out]
    first = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert first.returncode == 0, first.stderr
    assert "mIoU" in first.stderr
    assert "Add --resume" in fails(capsys, "train", *settings, "--out", out)
    main(["evaluate", "--checkpoint", out, "--json"])
    reported = read_checkpoint(tmp_path / "run")["metrics"]["mIoU"]
    assert json.loads(capsys.readouterr().out)["mIoU"] == pytest.approx(reported, abs=1e-3)


@pytest.mark.slow
def test_who_asks_gets_every_point_of_the_curves(tiny, tmp_path):
    points = []
    pgpc.train(tiny(changes={"training.log_interval": 2}), out=tmp_path, callbacks=Callbacks(on_point=points.append))
    assert [point["iteration"] for point in points] == [2, 4]
    events = EventAccumulator(str(tmp_path)).Reload()
    for name in ("loss/source", "loss/contrast"):
        assert [e.value for e in events.Scalars(name)] == pytest.approx([point[name] for point in points])
    assert all(point["images_per_second"] > 0 for point in points)


@pytest.mark.slow
def test_a_target_without_labels_is_trained_on_and_not_scored(tiny, tmp_path):
    result = pgpc.train(tiny(changes={"data.eval_split": "none"}), out=tmp_path)
    assert result.metrics["iteration"] == 4
    assert not [name for name in result.metrics if "IoU" in name]
    assert read_checkpoint(tmp_path)["step"] == 4
    tags = EventAccumulator(str(tmp_path)).Reload().Tags()
    assert "loss/contrast" in tags["scalars"] and not tags["images"]
