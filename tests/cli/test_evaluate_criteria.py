"""``pgpc evaluate --criteria``: on a labeled target, on one without labels, by several processes."""

import json
import re

import pytest
import torch

from pgpc.cli import main
from pgpc.data.choices import hold_out
from pgpc.data.domains import open_shards
from pgpc.evaluation.criteria.measure import measure
from pgpc.evaluation.criteria.target import Networks
from pgpc.evaluation.loaded_model import load_model
from pgpc.evaluation.names import ONLINE_CRITERIA
from tests.helpers.bare_target import pack_bare_target
from tests.helpers.cli import fails
from tests.helpers.processes import pgpc_on
from tests.helpers.runs import untrained_run, vary_scores


@pytest.fixture(scope="module")
def config(tiny):
    return tiny("streets/daformer", {"data.streets.num_target": 5, "data.loader_workers": 0, "data.holdout": 3})


def change(network, name):
    vary_scores(network, name)
    if name == "teacher":
        network.segmenter.decode_head.conv_seg.bias.normal_(generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def run(config, tmp_path_factory):
    return untrained_run(tmp_path_factory.mktemp("run"), config, change=change)


@pytest.fixture(scope="module")
def bare(config, tmp_path_factory):
    """The target's pictures of the train split as shards of a user's own data set, without any label."""
    return pack_bare_target(config, tmp_path_factory.mktemp("bare"))


def figures(capsys, *arguments):
    main(["evaluate", "--json", "--criteria", *map(str, arguments)])
    return json.loads(capsys.readouterr().out)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["student", "teacher"])
def test_values_are_those_of_the_networks(run, config, capsys, network):
    got = figures(capsys, "--checkpoint", run, "--network", network)
    one, other = (load_model(run, name).student.segmenter for name in ("student", "teacher"))
    networks = Networks(one, other) if network == "student" else Networks(other, one)
    _, held_out = hold_out(open_shards(config.data.source, config.data, "train"), 3)
    expected = measure(
        networks,
        target=open_shards(config.data.target, config.data, "train"),
        held_out=held_out,
        data=config.data,
        classes=load_model(run).classes,
        evaluation=config.evaluation,
    )
    assert got["criteria"] == pytest.approx(expected, rel=1e-6)
    assert tuple(got["criteria"]) == ONLINE_CRITERIA
    assert got["criteria_images"] == 5
    assert got["split"] == "val" and got["mIoU"] is not None
    assert 0 < got["criteria"]["teacher_agreement"] < 100


def test_without_the_flag_there_are_none(run, capsys):
    main(["evaluate", "--json", "--checkpoint", str(run)])
    assert not {"criteria", "criteria_images"} & set(json.loads(capsys.readouterr().out))


@pytest.mark.slow
def test_a_target_without_labels_has_criteria_alone(run, bare, tmp_path, capsys):
    """Other names of the same pictures in the same order; the config's split is not there, and that is said."""
    labeled = figures(capsys, "--checkpoint", run)
    main(["evaluate", "--criteria", "--json", "--checkpoint", str(run), "--data", str(bare)])
    printed = capsys.readouterr()
    got = json.loads(printed.out)
    assert got["criteria"] == pytest.approx(labeled["criteria"])
    assert "There are criteria only, no scores" in printed.err and "'val' was asked for" in printed.err
    assert not {"mIoU", "IoU", "split", "images", "confusion"} & set(got)

    for split in ((), ("--split", "train")):
        error = fails(capsys, "evaluate", "--checkpoint", run, "--data", bare, *split)
        assert "'val' was asked for" in error or "have none" in error
    error = fails(capsys, "evaluate", "--criteria", "--checkpoint", run, "--data", bare, "--out", tmp_path / "a.csv")
    assert "--out must be a .json file where no split is scored" in error


@pytest.mark.slow
def test_the_text_has_a_line_per_criterion(run, bare, capsys):
    got = figures(capsys, "--checkpoint", run, "--set", "evaluation.criteria_images=2")
    main(["evaluate", "--criteria", "--checkpoint", str(run), "--set", "evaluation.criteria_images=2"])
    lines = capsys.readouterr().out.splitlines()
    first = lines.index("streets:target, train: 2 images without labels, resized to fit 128 x 64, whole")
    rows = [line.split() for line in lines[first + 3 :]]
    assert rows == [[name, f"{value:.4f}"] for name, value in got["criteria"].items()]
    assert any(re.match(r"mIoU \((\d+/)?19\) ", line) for line in lines[:first])

    main(["evaluate", "--criteria", "--checkpoint", str(run), "--data", str(bare)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == f"{bare}, train: 5 images without labels, resized to fit 128 x 64, whole"
    assert len(lines) == 4 + len(ONLINE_CRITERIA)


def test_a_run_without_a_teacher_or_held_out_labels(tiny, tmp_path, capsys):
    config = tiny("streets/source-only", {"data.streets.num_target": 5, "data.eval_split": "none"})
    folder = untrained_run(tmp_path, config)
    got = figures(capsys, "--checkpoint", folder)
    assert set(got["criteria"]) == set(ONLINE_CRITERIA) - {"source_mIoU", "teacher_agreement"}
    assert "mIoU" not in got
    error = fails(capsys, "evaluate", "--checkpoint", folder)
    assert "or measure the network without labels with --criteria" in error
    error = fails(capsys, "evaluate", "--criteria", "--checkpoint", folder, "--set", "evaluation.criteria_images=0")
    assert "--criteria needs evaluation.criteria_images to be at least 1, but got 0" in error


@pytest.mark.long
def test_several_processes_measure_as_one(run, capsys):
    """5 images, three pairs, for two processes; 3 held-out ones."""
    call = ["evaluate", "--checkpoint", str(run), "--criteria", "--json"]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums in the network depend on it in their last bits
    try:
        main(call)
    finally:
        torch.set_num_threads(threads)
    alone = json.loads(capsys.readouterr().out)
    out = pgpc_on(2, call)
    together = json.loads(out)
    exact = {"source_mIoU", "teacher_agreement", "augmentation_agreement", "mixval"}  # counts
    for name in ONLINE_CRITERIA:
        tolerance = 0 if name in exact else 1e-12
        assert together["criteria"][name] == pytest.approx(alone["criteria"][name], rel=tolerance, abs=0), name
    assert {**together, "criteria": None} == {**alone, "criteria": None}
