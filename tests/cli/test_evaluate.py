"""``pgpc evaluate`` on a checkpoint of an untrained network and real shards: 3 images in "val", 2 in "train"."""

import csv
import json
import re

import numpy as np
import pytest
import torch

from pgpc.bases.state import TrainingState
from pgpc.classes import CITYSCAPES, IGNORE_INDEX
from pgpc.cli import main
from pgpc.config import override
from pgpc.data.domains import open_domains, open_shards
from pgpc.data.samples import read_label
from pgpc.data.shards.manifest import MANIFEST
from pgpc.evaluation.segmentation import predict
from pgpc.training.metrics import score
from tests.helpers.cli import fails
from tests.helpers.processes import pgpc_on
from tests.helpers.runs import untrained_run


@pytest.fixture(scope="module")
def config(tiny):
    """Images are segmented at another size than their labels have."""
    return tiny(
        changes={
            "data.streets.num_target": 2,
            "data.streets.num_val": 3,
            "data.target_size": (96, 48),
            "data.loader_workers": 0,
            "adaptation.ignore_bottom": 0,
        }
    )


@pytest.fixture(scope="module")
def run(config, tmp_path_factory):
    """A run's folder, in whose name is a space; student and teacher tell several classes apart."""

    def change(network, name):
        network.segmenter.decode_head.conv_seg.weight.normal_()

    return untrained_run(tmp_path_factory.mktemp("a run"), config, change=change)


@pytest.fixture(scope="module")
def shards(config):
    """The folder of the target's shards."""
    return open_shards(config.data.target, config.data, "val").folder


def figures(capsys, *arguments):
    main(["evaluate", "--json", *map(str, arguments)])
    return json.loads(capsys.readouterr().out)


def plain_iou(labels, predictions):
    label, predicted = (np.concatenate([ids.ravel() for ids in images]) for images in (labels, predictions))
    label, predicted = label[label != IGNORE_INDEX], predicted[label != IGNORE_INDEX]
    for k in range(19):
        both = np.count_nonzero((label == k) & (predicted == k))
        either = np.count_nonzero((label == k) | (predicted == k))
        yield 100 * both / either if either else None


@pytest.mark.slow
@pytest.mark.parametrize("network", ["student", "teacher"])
@pytest.mark.parametrize("window", [None, 32])
def test_scores_are_those_of_a_plain_loop_over_the_images(network, window, run, config, capsys):
    from pgpc.data.loader import evaluation_samples
    from pgpc.evaluation.loaded_model import load_model

    changes = {} if window is None else {"evaluation.window": window, "evaluation.window_stride": 24}
    settings = [text for key, value in changes.items() for text in ("--set", f"{key}={value}")]
    got = figures(capsys, "--checkpoint", run, "--network", network, *settings)

    model, config = load_model(run, network).student.segmenter, override(config, changes)
    val = open_shards(config.data.target, config.data, "val")
    labels = [read_label(val, row) for row in range(3)]
    images = [sample.image for sample in evaluation_samples(val, config.data)]
    assert labels[0].shape == (64, 128) and images[0].shape == (1, 3, 48, 96)
    predictions = [predict(model, image, (64, 128), evaluation=config.evaluation).numpy() for image in images]
    assert len(np.unique(predictions)) > 2
    iou = list(plain_iou(labels, predictions))
    assert list(got["IoU"].values()) == pytest.approx(iou)
    assert got["mIoU"] == pytest.approx(np.mean([v for v in iou if v is not None]))
    sixteen = [v for k, v in enumerate(iou) if v is not None and k not in (9, 14, 16)]
    thirteen = [v for k, v in enumerate(iou) if v is not None and k not in (9, 14, 16, 3, 4, 5)]
    assert (got["mIoU16"], got["mIoU13"]) == pytest.approx((np.mean(sixteen), np.mean(thirteen)))
    assert np.sum(got["confusion"]) == sum((label != IGNORE_INDEX).sum() for label in labels)
    assert got["pixel_accuracy"] == pytest.approx(100 * np.trace(got["confusion"]) / np.sum(got["confusion"]))
    assert {key: got[key] for key in ("checkpoint", "network", "iteration", "data", "split", "images")} == {
        "checkpoint": str(run / "checkpoint.pt"),
        "network": network,
        "iteration": 0,
        "data": "streets:target",
        "split": "val",
        "images": 3,
    }
    expected = {"target_size": [96, 48], "fit": "inside", "interpolation": "bilinear", "window": window}
    assert got["protocol"] == expected | ({} if window is None else {"window_stride": 24})


def test_files_hold_what_is_printed(run, shards, tmp_path, capsys):
    names = ("größe 1.json", "new/b.csv")
    (tmp_path / names[0]).write_text("of an earlier call")
    outs = [text for name in names for text in ("--out", tmp_path / name)]
    got = figures(capsys, "--checkpoint", run, "--data", shards, "--split", "train", *outs)
    assert (got["data"], got["split"], got["images"]) == (str(shards), "train", 2)
    assert json.loads((tmp_path / names[0]).read_text(encoding="utf-8")) == got
    with (tmp_path / names[1]).open(newline="", encoding="utf-8") as file:
        rows = {row["class"]: row for row in csv.DictReader(file)}
    assert list(rows) == [*CITYSCAPES.names, "mIoU", "mIoU16", "mIoU13"]
    for name in CITYSCAPES.names:
        assert float(rows[name]["IoU"] or "nan") == pytest.approx(got["IoU"][name] or np.nan, nan_ok=True) or (
            got["IoU"][name] == 0 == float(rows[name]["IoU"])
        )
        assert int(rows[name]["pixels"]) == got["pixels"][name]
        assert float(rows[name]["F1"] or "nan") == pytest.approx(
            np.nan if got["F1"][name] is None else got["F1"][name], nan_ok=True
        )
    assert float(rows["mIoU16"]["IoU"]) == got["mIoU16"]
    assert sorted(p.name for p in tmp_path.rglob("*")) == sorted(["b.csv", "größe 1.json", "new"])


def test_the_table_has_a_line_per_class_and_mean(run, capsys):
    got = figures(capsys, "--checkpoint", run)
    main(["evaluate", "--checkpoint", str(run)])
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert lines[0] == f"student of {run / 'checkpoint.pt'}, iteration 0"
    assert lines[1] == "streets:target, val: 3 images, resized to fit 96 x 48, whole"
    assert printed.err == ""  # progress is for terminals
    cells = {name: figures for name, *figures in (re.split(r" {2,}", line) for line in lines[4:])}

    def percent(value):
        return "-" if value is None else f"{value:.2f}"

    for name in CITYSCAPES.names:
        share = 100 * got["pixels"][name] / sum(got["pixels"].values())
        scores = [got[score][name] for score in ("IoU", "precision", "recall", "F1")]
        assert cells[name] == [percent(v) for v in (*scores, share)]
        assert got["recall"][name] == got["accuracy"][name], "its name until now"
    scored = sum(iou is not None for iou in got["IoU"].values())
    over = "mIoU (19)" if scored == 19 else f"mIoU ({scored}/19)"
    means = [cells[name] for name in (over, "mIoU16", "mIoU13")]
    of_all = [percent(got[f"mean_{score}"]) for score in ("precision", "recall", "F1")]
    assert means == [[percent(got["mIoU"]), *of_all], *([percent(got[name])] for name in ("mIoU16", "mIoU13"))]
    assert cells["pixel accuracy"] == [percent(got["pixel_accuracy"])]
    assert len({len(line) for line in lines[4:23]}) == 1


@pytest.mark.slow
def test_calibration_is_measured_and_drawn(run, tmp_path, capsys):
    got = figures(capsys, "--checkpoint", run, "--calibration", tmp_path / "cal.png")
    assert (tmp_path / "cal.png").read_bytes().startswith(b"\x89PNG")
    found = got["calibration"]
    assert sum(bin_["pixels"] for bin_ in found["bins"]) == np.sum(got["confusion"])
    assert found["accuracy"] == pytest.approx(got["pixel_accuracy"])
    main(["evaluate", "--checkpoint", str(run), "--calibration", str(tmp_path / "cal.pdf")])
    assert re.search(rf"calibration error +{found['ECE']:.2f}\n", capsys.readouterr().out)


def test_augmentation_is_said_and_changes_the_scores(run, capsys):
    given = ["--set", "evaluation.scales=0.75,1", "--set", "evaluation.flip=true"]
    plain, got = figures(capsys, "--checkpoint", run), figures(capsys, "--checkpoint", run, *given)
    assert (got["protocol"]["scales"], got["protocol"]["flip"]) == ([0.75, 1.0], True)
    assert "scales" not in plain["protocol"] and got["confusion"] != plain["confusion"]
    main(["evaluate", "--checkpoint", str(run), *given])
    assert capsys.readouterr().out.splitlines()[1].endswith("whole, at scales 0.75, 1, also mirrored")


def other_classes(shards, folder):
    """The shards with another order of classes."""
    for path in shards.iterdir():
        (folder / path.name).symlink_to(path)
    manifest = json.loads((shards / MANIFEST).read_text())
    manifest["classes"].reverse()
    (folder / MANIFEST).unlink()
    (folder / MANIFEST).write_text(json.dumps(manifest))
    return folder


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "{tmp}/a.png"], "--out must be a file that ends in .json or .csv, but got"),
        (["--calibration", "{tmp}/a.txt"], "--calibration must end in one of ."),
        (["--set", "evaluation.scales=1,1"], "evaluation.scales must be one number or several different ones"),
        (["--out", "{tmp}/folder.json"], "--out must be a file that ends in .json or .csv, but got"),
        (["--set", "contrast.eta=0.4"], "--set must change how images are segmented (evaluation.*, data.target_size,"),
        (["--set", "evaluation.windows=64"], "Unknown config key 'evaluation.windows'. Did you mean"),
        (["--set", "evaluation.window=100"], "evaluation.window must be a positive multiple of 32"),
        (["--split", "test"], "has the splits train, val, but 'test' was asked for"),
        (["--data", "{tmp}"], "A folder of shards has a manifest.json"),
        (["--data", "{other}"], "The network and the data must have the same classes in the same order, but"),
    ],
)
def test_refuses_before_anything_is_segmented(arguments, message, run, shards, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("pgpc.evaluation.scoring.logits", None)
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "other").mkdir()
    other = other_classes(shards, tmp_path / "other")
    given = [text.format(tmp=tmp_path, other=other) for text in arguments]
    error = fails(capsys, "evaluate", "--checkpoint", run, *given)
    assert message in error
    if "{other}" in arguments:
        assert f"19 ({', '.join(CITYSCAPES.names)})" in error
        assert f"19 ({', '.join(reversed(CITYSCAPES.names))})" in error


def test_rules_of_training_do_not_limit_the_size(tiny, tmp_path, capsys):
    """A network trained on whole images, whose source and target then have one size."""
    changes = {
        "model.encoder": "test_resnet",
        "data.crop": None,
        "data.source_size": (128, 64),
        "training.iterations": 3,
        "proca.source_iterations": 1,
        "proca.self_training_iterations": 1,
    }
    untrained_run(tmp_path, tiny("streets/proca", changes))
    got = figures(capsys, "--checkpoint", tmp_path, "--set", "data.target_size=64,64", "--set", "data.fit=inside")
    assert got["protocol"]["target_size"] == [64, 64]


@pytest.fixture(scope="module")
def parted_run(config, tmp_path_factory):
    """The folder of a run that keeps one of the three scored images out of choices."""
    return untrained_run(tmp_path_factory.mktemp("parted"), override(config, {"evaluation.report_share": 0.3}))


@pytest.mark.slow
def test_images_that_a_run_keeps_out_of_choices_are_scored_apart(parted_run, config, capsys):
    got = figures(capsys, "--checkpoint", parted_run)
    assert (got["report_share"], got["images"], got["report_images"]) == (0.3, 2, 1)
    state = TrainingState(override(config, {"evaluation.report_share": 0.3}), torch.device("cpu"), CITYSCAPES)
    state.student.load_state_dict(torch.load(parted_run / "checkpoint.pt", weights_only=True)["student"])
    reported = score(state, open_domains(config.data, adapts=False, report_share=0.3))
    for name in ("mIoU", "mIoU13", "report/mIoU", "report/mIoU13"):
        assert got[name] == pytest.approx(reported[name]), "as the run itself says"
    assert got["mIoU"] != got["report/mIoU"]
    whole = figures(capsys, "--checkpoint", parted_run, "--set", "evaluation.report_share=0")
    assert (whole["images"], whole["report_share"]) == (3, 0) and "report/mIoU" not in whole
    assert whole["mIoU"] not in (got["mIoU"], got["report/mIoU"])

    main(["evaluate", "--checkpoint", str(parted_run)])
    text = capsys.readouterr().out
    assert "streets:target, val: 2 of 3 images (evaluation.report_share=0.3), resized to fit" in text
    assert re.search(rf"\nreport/mIoU +{got['report/mIoU']:.2f}\n", text)
    assert "What begins with report/ is over the other images (1), which the run keeps out of choices" in text


def test_of_other_data_than_the_runs_all_images_are_scored(parted_run, shards, capsys):
    for other in (["--data", str(shards)], ["--split", "train"]):
        main(["evaluate", "--checkpoint", str(parted_run), "--json", *other])
        printed = capsys.readouterr()
        got = json.loads(printed.out)
        assert got["report_share"] == 0 and got["images"] == (3 if "--data" in other else 2)
        assert "All images are scored as one: the evaluation.report_share=0.3 of the run is of" in printed.err
    asked = figures(capsys, "--checkpoint", parted_run, "--data", shards, "--set", "evaluation.report_share=0.3")
    assert (asked["images"], asked["report_images"]) == (2, 1)


def test_images_that_were_learned_by_heart_are_said_and_not_measured(config, tmp_path, capsys):
    names = open_shards(config.data.target, config.data, "train").names
    (tmp_path / "list.txt").write_text(names[0])
    changes = {"data.target_labels": str(tmp_path / "list.txt"), "evaluation.criteria_images": 9}
    run = untrained_run(tmp_path / "run", override(config, changes))
    call = ["evaluate", "--checkpoint", str(run), "--json"]
    main([*call, "--split", "train", "--criteria"])
    out, err = capsys.readouterr()
    assert f"trained on the labels of 1 of these 2 images (data.target_labels), {names[0]!r} first" in err
    assert json.loads(out)["criteria_images"] == 1
    main(call)  # the scored split has none of them
    assert "labels" not in capsys.readouterr().err
    (tmp_path / "list.txt").unlink()
    main(call)
    assert "has learned labels of" in capsys.readouterr().err
    run = untrained_run(tmp_path / "all", override(config, {"data.target_labels": "split:train"}))
    assert "data.target_labels has those of all images of" in fails(
        capsys, "evaluate", "--checkpoint", run, "--criteria"
    )


@pytest.mark.slow
def test_several_processes_score_as_one(run, shards, tmp_path, capsys):
    """2 images for three, of which the last has none. Process 0 alone prints."""
    call = ["evaluate", "--checkpoint", str(run), "--data", str(shards), "--split", "train", "--json"]
    call += ["--calibration", str(tmp_path / "c.pdf")]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # sums in the network depend on it in their last bits
    try:
        main(call)
    finally:
        torch.set_num_threads(threads)
    alone = capsys.readouterr().out
    together, alone = json.loads(pgpc_on(3, call)), json.loads(alone)
    assert alone["images"] == 2
    # Sums of confidences are of numbers with a fraction.
    for found, expected in zip(together["calibration"].pop("bins"), alone["calibration"].pop("bins"), strict=True):
        assert found == pytest.approx(expected)
    assert together.pop("calibration") == pytest.approx(alone.pop("calibration"))
    assert together == alone
