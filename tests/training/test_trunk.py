"""Runs that go on from a shared trunk against the same runs alone, bit for bit; and what may share one."""

import dataclasses
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import pgpc
from pgpc.bases import TrainingState, make_base
from pgpc.config import flatten, to_dict
from pgpc.data.domains import open_shards
from pgpc.models.checkpoint import read_checkpoint
from pgpc.training import Callbacks, ForkTrunk, Resume, trunk
from tests.helpers.data_sets import write_two_classes

CHANGES = {
    "contrast.start": 4,
    "contrast.fill": 1,
    "training.iterations": 6,
    "training.log_interval": 2,
    "adaptation.confidence": 0.0537,
    "model.drop_path": 0.1,
}
"""The trunk ends at 3, between two evaluations (2, 4, 6) and two points of the curves; dropout is on."""

OTHER = {
    "contrast.r": 2,
    "contrast.eta": 0.9,
    "contrast.weight": 2.0,
    "contrast.anchors": 8,
    "contrast.negatives": 8,
    "contrast.temperature": 0.1,
    "contrast.bank_size": 32,
    "contrast.quota": 8,
    "contrast.pool": 16,
    "contrast.family": "pixel_to_prototype",
    "contrast.positive": "target_prototype",
    "contrast.negative": ("source",),
    "contrast.average": "all",
    "contrast.head_warmup": 3,
    "contrast.reliable_by": "confidence",
    "contrast.reliable_per": "batch",
    "contrast.negatives_per": "class",
    "contrast.dim": 4,
    "contrast.hidden": 16,
    "contrast.start": 5,
    "contrast.fill": 2,
    "contrast.anchor_view": "mixed",
    "name": "other",
    "data.loader_workers": 1,
    "contrast.source_from": "student",
    "contrast.maps": "last",
    "contrast.source_negatives": "pixel",
    "contrast.fill_trains_head": True,
    "contrast.clear_at_start": True,
    "contrast.clean_statistics": "frozen",
}
"""Another value of every setting that a trunk does not depend on."""


def run(config, folder, **arguments):
    """Train; reports, and what was learned, as the last checkpoint has it."""
    reports, last = [], {}

    def on_report(metrics, checkpoint):
        reports.append(metrics)
        if checkpoint is not None:
            last.update(torch.load(checkpoint / "checkpoint.pt", weights_only=True))
            if "until" in arguments:
                shutil.copy(checkpoint / "checkpoint.pt", folder)

    pgpc.train(config, out=folder, callbacks=Callbacks(on_report=on_report), **arguments)
    return reports, last


def learned(state):
    """All tensors, by name."""
    found = {}

    def visit(node, name):
        if isinstance(node, torch.Tensor):
            found[name] = node
        elif isinstance(node, dict):
            for key, value in node.items():
                visit(value, f"{name} {key}")

    for part in ("student", "teacher", "contrast", "optimizer"):
        visit(state[part], part)
    return found


def address(config, **changes):
    return trunk.address(config, **{"processes": 1, "device": "cpu", "threads": 1, **changes})


def assert_same(a, b):
    a, b = learned(a), learned(b)
    assert a.keys() == b.keys()
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def assert_same_reports(ours, theirs):
    times = ("seconds", "images_per_second", "gpu_memory")
    assert [r["iteration"] for r in ours] == [r["iteration"] for r in theirs]
    for a, b in zip(ours, theirs):
        assert a.keys() == b.keys()
        assert {k: v for k, v in a.items() if k not in times} == pytest.approx(
            {k: v for k, v in b.items() if k not in times}, rel=1e-6, nan_ok=True
        )


def curves(folder):
    events = EventAccumulator(str(folder)).Reload()
    tags = [t for t in events.Tags()["scalars"] if "second" not in t and "bank_fill" not in t]
    return {tag: [(e.step, pytest.approx(e.value, rel=1e-5)) for e in events.Scalars(tag)] for tag in tags}


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny):
    """A config and its trunk."""
    folder = tmp_path_factory.mktemp("trunk")
    config = tiny(changes=CHANGES)
    reports, _ = run(config, folder, until=3)
    assert [r["iteration"] for r in reports] == [2, 3]
    assert set(reports[1]) == {"iteration", "seconds"}
    return config, folder


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, marks=pytest.mark.long),
        OTHER,
        pytest.param({"contrast.enabled": False}, marks=pytest.mark.long),
    ],
    ids=["its own", "every other setting", "the reference"],
)
def test_forked_equals_alone_bit_for_bit(trained, tmp_path, changes):
    config, folder = pgpc.override(trained[0], changes), trained[1]
    alone, state = run(config, tmp_path / "alone")
    for seed in (torch.manual_seed, np.random.seed):
        seed(99)  # whatever the global generators hold, it plays no part
    forked, forked_state = run(config, tmp_path / "forked", begin=ForkTrunk(folder))
    assert_same(state, forked_state)
    assert_same_reports(forked, alone)
    assert curves(tmp_path / "forked") == curves(tmp_path / "alone")
    if changes:
        return
    assert forked[-1]["seconds"] > trunk.read_record(folder).seconds > 0
    assert forked[-1]["loss/contrast"] > 0


TWO_PROCESSES = """
import json, sys
from pathlib import Path
import torch, pgpc
from pgpc.training import ForkTrunk
from pgpc.runtime import distributed
from pgpc.config import from_dict

torch.set_num_threads(1)
out, configs = Path(sys.argv[1]), json.loads(sys.argv[2])
with distributed.process_group(torch.device("cpu")):
    pgpc.train(from_dict(configs["other"]), out=out / "trunk", until=3)
    torch.distributed.barrier()
    for name, config in configs.items():
        pgpc.train(from_dict(config), out=out / name / "alone")
        pgpc.train(from_dict(config), out=out / name / "forked", begin=ForkTrunk(out / "trunk"))
"""


@pytest.mark.long
def test_two_processes_forked_equal_two_alone(trained, tmp_path):
    configs = {
        "other": to_dict(pgpc.override(trained[0], {"contrast.dim": 4})),
        "reference": to_dict(pgpc.override(trained[0], {"contrast.enabled": False})),
    }
    (tmp_path / "script.py").write_text(TWO_PROCESSES)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, tmp_path / "script.py", tmp_path, json.dumps(configs)], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for name in configs:
        alone, forked = (read_checkpoint(tmp_path / name / folder) for folder in ("alone", "forked"))
        assert alone["step"] == 6
        assert_same(alone, forked)
        assert_same_reports([forked["metrics"]], [alone["metrics"]])
    with pytest.raises(ValueError, match="differs in processes: 2 there, 1 here"):
        pgpc.train(trained[0], out=tmp_path, begin=ForkTrunk(tmp_path / "trunk"))


@pytest.mark.slow
def test_an_interrupted_trunk_goes_on(trained, tmp_path):
    config, folder = trained
    for name in ("config.json", trunk.FILE):
        shutil.copy(folder / name, tmp_path)
    record = trunk.read_record(tmp_path)
    first = pgpc.train(config, out=tmp_path / "again", until=2)  # a shorter one: where this one was at its report
    assert first.metrics["iteration"] == 2
    shutil.copy(tmp_path / "again" / "checkpoint.pt", tmp_path)
    resumed, state = run(config, tmp_path, begin=Resume(tmp_path), until=3)
    assert [r["iteration"] for r in resumed] == [2, 3]
    assert_same(state, torch.load(folder / "checkpoint.pt", weights_only=True))
    again = trunk.read_record(tmp_path)
    assert again.iterations == 3 and [r["iteration"] for r in again.reports] == [2]
    for name in ("curve", "since_report"):
        assert again.progress[name]["sums"] == record.progress[name]["sums"]

    resumed, _ = run(config, tmp_path, begin=Resume(tmp_path), until=3)  # at its very end
    assert [r["iteration"] for r in resumed] == [2, 3]
    assert trunk.read_record(tmp_path) == again


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["streets/proca+pgpc", "streets/source-only+pgpc"])
def test_other_bases(preset, tmp_path, tiny):
    """Where the contrast changes the step before it starts, the reference has another address."""
    stages = (
        {
            "proca.source_iterations": 1,
            "proca.self_training_iterations": 1,
            "model.encoder": "test_efficientnet",
            "data.crop": None,
            "data.source_size": (128, 64),
        }
        if "proca" in preset
        else {}
    )
    config = tiny(preset, {**CHANGES, "training.iterations": 5, "contrast.start": 3, **stages})
    run(config, tmp_path / "trunk", until=2)
    reference = pgpc.override(config, {"contrast.enabled": False})
    assert (address(reference) == address(config)) == ("proca" not in preset)
    config = pgpc.override(config, {"contrast.weight": 3.0, "contrast.r": 2})
    assert_same(
        run(config, tmp_path / "alone")[1], run(config, tmp_path / "fork", begin=ForkTrunk(tmp_path / "trunk"))[1]
    )


@pytest.mark.slow
def test_another_beginning_is_refused(trained, tmp_path):
    config, folder = trained
    for changes, message in (
        ({"adaptation.target_weight": 0.5}, r"differs in adaptation.target_weight: 1.0 there, 0.5 here"),
        ({"seed": 1}, r"differs in seed: 0 there, 1 here"),
        ({"contrast.fill": 2}, r"must end before the memory bank begins to fill, at iteration 2 .* got 3"),
    ):
        with pytest.raises(ValueError, match=message):
            pgpc.train(pgpc.override(config, changes), out=tmp_path, begin=ForkTrunk(folder))
    with pytest.raises(ValueError, match="has none"):
        pgpc.train(config, out=tmp_path, begin=ForkTrunk(tmp_path))
    with pytest.raises(ValueError, match=r"until must lie in \[1, 3\].*got 4"):
        pgpc.train(config, out=tmp_path, until=4)


def test_an_incomplete_trunk_is_refused(trained, tmp_path):
    config, folder = trained
    record = dataclasses.replace(trunk.read_record(folder), iterations=0, progress=None)
    record.write(tmp_path)
    with pytest.raises(ValueError, match="must be complete, but got 0"):
        pgpc.train(config, out=tmp_path / "run", begin=ForkTrunk(tmp_path))


def test_the_address_depends_on_every_setting_but_those_without_influence(tiny):
    config = tiny(changes=CHANGES)
    found = trunk.influences(config, processes=1, device="cpu", threads=1)
    unused = {"data.target_labels", "adaptation.distillation_pretrained"}
    neutral = set(OTHER) | unused | {"contrast.enabled", "training.keep_best"}
    assert set(flatten(config)) - set(found) == neutral
    assert address(config) == address(pgpc.override(config, {**OTHER, "contrast.start": 4, "contrast.fill": 1}))
    others = [
        address(pgpc.override(config, changes))
        for changes in (
            {"seed": 1},
            {"optimizer.lr": 1e-3},
            {"training.iterations": 7},
            {"training.eval_interval": 3},
            {"adaptation.target_weight": 0.5},
            {"contrast.start": 5},
            {"data.streets.seed": 1},
            {"training.batch_size": 4},
            {"model.encoder": "mit_b1"},
        )
    ]
    others += [
        address(config),
        address(config, processes=2),
        address(config, device="cuda"),
        address(config, threads=2),
    ]
    assert len(set(others)) == len(others)


def test_what_influences_the_beginning_depends_on_the_base(tiny):
    keys = ["contrast.eta", "contrast.anchor_view", "contrast.fill", "adaptation.target_weight", "contrast.enabled"]
    assert trunk.influential(tiny(), keys) == ["contrast.fill", "adaptation.target_weight"]
    alone = tiny(changes={"adaptation.target_weight": 0.0})
    assert trunk.influential(alone, keys) == ["contrast.anchor_view", "contrast.fill", "adaptation.target_weight"]
    proca = pgpc.preset("streets/proca+pgpc")
    assert trunk.influential(proca, keys) == ["contrast.fill", "adaptation.target_weight", "contrast.enabled"]


def test_contents_count_and_places_do_not(tmp_path, tiny):
    """Data and pretrained weights under another path are the same; others under the same path are not."""

    def packed(changes):
        return open_shards("streets:source", tiny(changes=changes).data, "train").folder

    here, there = tmp_path / "here", tmp_path / "größer there"
    weights = tmp_path / "weights.pt"
    weights.write_bytes(b"one")
    for folder in (here, there):
        shutil.copytree(packed({}), folder)
    config = tiny(changes={"data.source": str(here), "model.pretrained": str(weights)})
    before = address(config)
    assert address(pgpc.override(config, {"data.source": str(there)})) == before
    weights.write_bytes(b"two")
    assert address(config) != before
    before = address(config)
    shutil.rmtree(here)
    shutil.copytree(packed({"data.streets.seed": 7}), here)
    assert address(config) != before


def test_the_record_is_readable(trained):
    _, folder = trained
    record = json.loads((folder / trunk.FILE).read_text())
    assert record["influences"]["seed"] == 0 and "torch" in record["influences"]["versions"]


@pytest.mark.parametrize("text", ["{", "[]", "[1]", '{"reports": []}', '{"influences": {}, "reports": [], "of": 1}'])
def test_a_damaged_record_is_a_sentence(tmp_path, text):
    (tmp_path / trunk.FILE).write_text(text)
    with pytest.raises(ValueError, match=r"warm_up.json is damaged: .*Train the trunk again"):
        trunk.read_record(tmp_path)


@pytest.mark.parametrize(("begin", "fill", "expected"), [(4, 1, 3), (2, 5, 0), (99, 1, 6), (7, 1, 6)])
def test_a_trunk_ends_where_the_bank_begins_to_fill_or_the_run_ends(tiny, begin, fill, expected):
    changes = {"contrast.start": begin, "contrast.fill": fill, "training.iterations": 6}
    assert trunk.length(tiny("streets/daformer", changes)) == expected  # the reference, which may never come to it


def test_a_trunk_that_is_resumed_has_the_reports_up_to_there(tiny, tmp_path):
    config = tiny(changes=CHANGES)
    base = make_base(config)
    state = TrainingState(config, torch.device("cpu"))
    reports = [{"iteration": step} for step in (1, 2, 3)]
    trunk.TrunkRecord({}, reports, iterations=3, progress={"seconds": 1.0}).write(tmp_path)
    for step, expected in ((3, 3), (2, 2), (0, 0)):
        state.step = step
        record = trunk.begin_record(tmp_path, state, base)
        assert record.reports == reports[:expected]
        assert (record.iterations, record.progress) == ((3, {"seconds": 1.0}) if step == 3 else (0, None))


def test_what_is_scored_on_counts_though_nothing_is_learned_from_it(tmp_path, tiny):
    """A trunk has reports, too."""
    found = []
    for number in (1, 2):
        shards = open_shards("streets:target", tiny(changes={"data.streets.num_val": number}).data, "val")
        shutil.rmtree(tmp_path / "target", ignore_errors=True)
        shutil.copytree(shards.folder, tmp_path / "target")
        config = tiny(changes={"data.target": str(tmp_path / "target")})
        found.append(trunk.influences(config, processes=1, device="cpu", threads=1))
    assert {key for key, value in found[0].items() if value != found[1][key]} == {"scored"}


@pytest.mark.parametrize(("images", "counts"), [(2, True), (0, False)])
def test_what_is_measured_on_counts_though_nothing_is_learned_from_it(tmp_path, tiny, images, counts):
    """The source alone is trained on, and its reports have criteria on the train split of the target."""
    places = {f"data.{side}": str(tmp_path / side) for side in ("source", "target")}
    alone = {"adaptation.enabled": False, "contrast.enabled": False, "evaluation.criteria_images": images}
    found = []
    write_two_classes(tmp_path / "raw", tmp_path / "source")
    for seed in (1, 2):
        write_two_classes(tmp_path / "raw", tmp_path / "target", seed=seed)
        config = tiny(changes={**places, **alone, "data.eval_split": None, "model.num_classes": 2})
        found.append(trunk.influences(config, processes=1, device="cpu", threads=1))
    assert (found[0] != found[1]) == counts


def test_labels_of_the_target_count_of_whatever_split_they_are(tmp_path, tiny):
    """Neither the train split nor one that is scored has them, of which the contents count anyhow."""
    found = []
    for seed in (1, 2):
        write_two_classes(tmp_path / "raw", tmp_path / "target", seed=seed)
        write_two_classes(tmp_path / "raw", tmp_path / "source")
        places = {f"data.{side}": str(tmp_path / side) for side in ("source", "target")}
        labels = {"data.target_labels": "split:val", "data.eval_split": None, "evaluation.criteria_images": 0}
        config = tiny(changes={**places, **labels, "model.num_classes": 2, "contrast.r": 1})
        found.append(trunk.influences(config, processes=1, device="cpu", threads=1))
    assert found[0]["labels of the target"] != found[1]["labels of the target"]
