"""Criteria and parted data in a run: what a report has, and that the training does not notice."""

from __future__ import annotations

import json
import logging
import shutil

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import pgpc
from pgpc.classes import CITYSCAPES
from pgpc.data.choices import hold_out, split_report
from pgpc.data.domains import open_shards
from pgpc.data.loader import evaluation_samples
from pgpc.data.shards.pack import pack
from pgpc.evaluation.names import CRITERIA_PREFIX, ONLINE_CRITERIA
from pgpc.evaluation.scoring import evaluate
from pgpc.models.checkpoint import read_checkpoint
from pgpc.training import Callbacks, ForkTrunk
from pgpc.training.curves import tag_of
from pgpc.training.trunk import FILE
from tests.helpers.states import equal

PROCA = {
    "model.encoder": "test_efficientnet",
    "data.crop": None,
    "training.iterations": 3,
    "proca.source_iterations": 1,
    "proca.self_training_iterations": 1,
}
"""A network with running statistics, and a step of each stage."""

RUNS = pytest.mark.parametrize(
    ("preset", "changes"), [("streets", {}), ("streets/proca+pgpc", {**PROCA, "contrast.fill": 0})]
)


def learned(folder):
    saved = read_checkpoint(folder)
    return {name: saved[name] for name in ("step", "student", "teacher", "contrast", "base", "optimizer")}


def criteria(metrics):
    return {name for name in metrics if name.startswith(CRITERIA_PREFIX)}


@pytest.mark.slow
@RUNS
def test_a_run_learns_the_same_with_criteria_and_without(tiny, tmp_path, preset, changes):
    results = []
    for images in (5, 0):
        config = tiny(preset, {**changes, "evaluation.criteria_images": images})
        results.append(pgpc.train(config, out=tmp_path / str(images)).metrics)
    assert equal(learned(tmp_path / "5"), learned(tmp_path / "0"))
    measured, plain = results
    assert {name.removeprefix(CRITERIA_PREFIX) for name in criteria(measured)} == set(ONLINE_CRITERIA) - {"source_mIoU"}
    assert all(np.isfinite(measured[name]) for name in criteria(measured))
    assert measured.keys() - plain.keys() == criteria(measured)
    changing = {"seconds", "images_per_second", "gpu_memory"}
    assert all(measured[name] == plain[name] for name in plain.keys() - changing)


@pytest.mark.slow
def test_a_target_without_labels_is_measured_at_every_evaluation(tiny, tmp_path, caplog):
    """Also by a run that does not train on it: which has no teacher."""
    config = tiny("streets/source-only", {"data.eval_split": "none", "data.holdout": 2})
    reports = []
    with caplog.at_level(logging.INFO):
        pgpc.train(config, out=tmp_path, callbacks=Callbacks(on_report=lambda metrics, folder: reports.append(metrics)))
    assert [report["iteration"] for report in reports] == [2, 4]
    expected = {f"{CRITERIA_PREFIX}{name}" for name in ONLINE_CRITERIA if name != "teacher_agreement"}
    for report in reports:
        assert criteria(report) == expected
        assert "mIoU" not in report
    events = EventAccumulator(str(tmp_path)).Reload()
    for name in expected:
        points = [(event.step, event.value) for event in events.Scalars(tag_of(name))]
        assert points == [(report["iteration"], pytest.approx(report[name], rel=1e-6)) for report in reports]
    lines = [record.getMessage() for record in caplog.records if "entropy" in record.getMessage()]
    assert len(lines) == 2 and lines[0].startswith("iteration 2/4  source_mIoU ")


@pytest.mark.slow
def test_a_share_of_the_scored_images_is_only_reported(tiny, tmp_path):
    config = tiny(changes={"evaluation.report_share": 0.5, "training.iterations": 2})
    metrics = pgpc.train(config, out=tmp_path).metrics
    network = pgpc.load_model(tmp_path).student.segmenter
    scored = open_shards(config.data.target, config.data, "val")
    chosen, reported = (
        evaluate(network, evaluation_samples(part, config.data), CITYSCAPES) for part in split_report(scored, 0.5)
    )
    assert {name: metrics[name] for name in chosen.as_dict()} == pytest.approx(chosen.as_dict(), abs=1e-3)
    named = {f"report/{name}": value for name, value in reported.means.items()}
    assert {name: value for name, value in metrics.items() if name.startswith("report/")} == pytest.approx(
        named, abs=1e-3
    )
    assert not set(metrics) & {f"report/{name}" for name in reported.as_dict() if name.startswith("IoU")}
    whole = evaluate(network, evaluation_samples(scored, config.data), CITYSCAPES)
    assert (chosen.confusion + reported.confusion == whole.confusion).all()
    assert chosen.miou != whole.miou


def test_a_report_share_needs_scores():
    with pytest.raises(ValueError, match="evaluation.report_share must be 0 where no split is scored .* got 0.5"):
        pgpc.override(pgpc.preset("streets"), {"data.eval_split": "none", "evaluation.report_share": 0.5})


@pytest.fixture(scope="module")
def sources(tiny, tmp_path_factory):
    """The source as it is, and with noise in place of the labels of the images that are held out, 3 of 8."""
    config = tiny()
    shards = open_shards(config.data.source, config.data, "train")
    _, held_out = hold_out(shards, 3)
    root = tmp_path_factory.mktemp("sources")
    rng = np.random.default_rng(0)
    for name in ("clean", "poisoned"):
        shutil.copytree(shards.folder.parent / "raw" / "source", root / "raw" / name)
        for image in held_out.names if name == "poisoned" else ():
            (file,) = (root / "raw" / name).rglob(f"labels/**/{image}.png")
            size = Image.open(file).size
            Image.fromarray(rng.choice([0, 7, 11, 24, 26], size[::-1]).astype(np.uint8)).save(file)
        pack("gta5", root / "raw" / name, root / name)
    return {name: str(root / name) for name in ("clean", "poisoned")}


@pytest.mark.slow
@RUNS
def test_labels_that_are_held_out_take_no_part_in_training(tiny, tmp_path, sources, preset, changes):
    """Neither in sampling, rare classes, banks nor prototypes: noise in their place changes nothing but the score."""

    def trained(name, holdout):
        config = tiny(preset, {**changes, "data.source": sources[name], "data.holdout": holdout})
        folder = tmp_path / f"{name}{holdout}"
        return pgpc.train(config, out=folder).metrics, learned(folder)

    (clean, learned_clean), (poisoned, learned_poisoned) = trained("clean", 3), trained("poisoned", 3)
    assert equal(learned_clean, learned_poisoned)
    assert clean["criteria/source_mIoU"] != poisoned["criteria/source_mIoU"]
    assert not equal(trained("clean", 0)[1], trained("poisoned", 0)[1]), "the noise acts where it is not held out"


def test_a_holdout_of_all_images_is_refused_before_anything_is_trained(tiny, tmp_path):
    with pytest.raises(ValueError, match=r"data.holdout must be smaller than the number of source images \(8\)"):
        pgpc.train(tiny(changes={"data.holdout": 8}), out=tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_trunk_from_before_there_were_criteria_is_still_forked(tiny, tmp_path):
    """Its reports have none, those after the fork do; a key that acts on the training is taken for its default."""
    changes = {"contrast.start": 3, "training.eval_interval": 1}
    config = tiny(changes=changes)
    pgpc.train(config, out=tmp_path / "trunk", until=2)
    record = json.loads((tmp_path / "trunk" / FILE).read_text())
    for key in ("evaluation.criteria_images", "evaluation.report_share", "data.holdout"):
        record["influences"].pop(key)
    record["reports"] = [
        {name: value for name, value in report.items() if name not in criteria(report)} for report in record["reports"]
    ]
    (tmp_path / "trunk" / FILE).write_text(json.dumps(record))
    reports = []
    callbacks = Callbacks(on_report=lambda metrics, folder: reports.append(metrics))
    pgpc.train(config, out=tmp_path / "run", begin=ForkTrunk(tmp_path / "trunk"), callbacks=callbacks)
    assert [len(criteria(report)) for report in reports] == [0, 0, 8, 8]
    for other in ({"data.holdout": 2}, {"evaluation.report_share": 0.5}):
        with pytest.raises(ValueError, match="differs in " + next(iter(other))):
            pgpc.train(tiny(changes={**changes, **other}), out=tmp_path / "b", begin=ForkTrunk(tmp_path / "trunk"))


@pytest.mark.slow
def test_a_forked_runs_curves_have_the_trunks_criteria(tiny, tmp_path):
    config = tiny(changes={"contrast.start": 3, "training.eval_interval": 1})
    pgpc.train(config, out=tmp_path / "trunk", until=2)
    pgpc.train(config, out=tmp_path / "run", begin=ForkTrunk(tmp_path / "trunk"))
    events = EventAccumulator(str(tmp_path / "run")).Reload()
    assert [event.step for event in events.Scalars("selection/snd")] == [1, 2, 3, 4]
