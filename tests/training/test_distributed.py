"""Two real processes under torchrun against one, and against each other."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import pgpc
from pgpc.config import to_dict
from pgpc.models.checkpoint import read_checkpoint
from pgpc.training import Resume

SCRIPT = Path(__file__).with_name("two_processes.py")


def torchrun(*arguments):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *arguments]
    process = subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        _, errors = process.communicate(timeout=240)
    except subprocess.TimeoutExpired:  # the processes wait for one another for ever
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == 0, errors[-3000:]


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("two_processes", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What each of two processes has of the pieces of a step, and what it was told."""
    out = tmp_path_factory.mktemp("pieces")
    torchrun(SCRIPT, "pieces", out)
    return [torch.load(out / f"{r}.pt") for r in range(2)]


@pytest.mark.slow
def test_processes_that_are_not_told_the_same_are_refused_all_of_them(ranks):
    """By each of them, so that none waits for the others."""
    for rank in ranks:
        told = rank["refusals"]
        assert told["same data"] == told["same run"] == ""
        assert "processes 1 find other contents than process 0 at source, streets:source" in told["other data"]
        for name in ("other config", "other folder"):
            assert "the same config and --out, but processes 1 have others than process 0" in told[name]


@pytest.mark.slow
def test_two_processes_with_half_the_batch_compute_what_one_does(ranks, script):
    """Pseudo-label weight, class choice, feature distance, reliable pixels, memory, contrast: values and gradients."""
    alone = script.pieces()
    for name, expected in alone.items():
        parts = torch.cat([rank[name] for rank in ranks])
        if name.endswith(("distance", "loss")):  # each process computes its part of the sum
            parts = parts.sum(0, keepdim=True)
        elif len(parts) != len(expected):  # the same on every process
            assert torch.equal(parts[0], parts[1]), name
            parts = parts[:1]
        torch.testing.assert_close(parts, expected, atol=1e-6, rtol=1e-5, msg=lambda text, name=name: f"{name}: {text}")
    assert all(alone[f"{family} loss"] > 0 for family in ("hybrid", "pixel_to_pixel", "pixel_to_prototype"))
    taken = alone["reliable"].sum((1, 2))
    assert taken.sum() == round(0.3 * alone["reliable"].numel())
    assert len(set(taken.tolist())) > 1
    assert alone["distance"] > 0


@pytest.fixture(scope="module")
def configs(tiny):
    """Of what the two processes do. In those named after a base nothing is left to chance that is each process's own
    (dropout), and the network stays as it is, since AdamW makes a full step of the smallest difference."""
    still = {
        "model.dropout": 0.0,
        "model.drop_path": 0.0,
        "optimizer.lr": 1e-12,
        "optimizer.warmup": 0,
        "adaptation.confidence": 0.0537,
        "adaptation.masked_weight": 1.0,
        "contrast.start": 0,
    }
    stages = {
        "training.iterations": 3,
        "proca.source_iterations": 1,
        "proca.self_training_iterations": 1,
        "contrast.start": 1,
        "contrast.fill": 0,
        "proca.adapt_lr": 1e-12,
        "adaptation.masked_weight": 0.0,
        "model.encoder": "test_resnet",
        "data.crop": None,
        "data.source_size": (128, 64),
    }
    return {
        "daformer": tiny(changes={**still, "contrast.eta": 0.3}),
        "merged": tiny(
            changes={**still, "contrast.eta": 0.3, "training.merge_passes": True, "contrast.source_from": "student"}
        ),
        "parts": tiny(
            changes={
                **still,
                "model.architecture": "deeplabv2",
                "model.encoder": "test_convnext",
                "data.crop": 32,
                "data.target_labels": "split:train",
                "contrast.eta": 0.3,
                "contrast.anchor_view": "mixed",
                "training.batch_size": 4,
                "training.accumulate": 2,
                "training.merge_passes": True,
            }
        ),
        "hrda": tiny("streets/mic-hrda+pgpc", {**still, "model.detail_crop": 32}),
        "proca": tiny("streets/proca+pgpc", {**still, **stages}),
        "many": tiny(changes={"contrast.start": 2, "data.crop": 32, "training.iterations": 20}),
        "interrupted": tiny(),
    }


@pytest.fixture(scope="module")
def launched(tmp_path_factory, configs):
    """The folder of two processes, and what each of them came to."""
    out = tmp_path_factory.mktemp("two")
    torchrun(SCRIPT, "steps", out, json.dumps({name: to_dict(config) for name, config in configs.items()}))
    return out, [torch.load(out / f"{rank}.pt") for rank in range(2)]


LOSSES = {
    "daformer": {"loss/source", "loss/target", "loss/masked", "loss/contrast"},
    "merged": {"loss/source", "loss/target", "loss/masked", "loss/contrast"},
    "parts": {"loss/source", "loss/labeled_target", "loss/target", "loss/masked", "loss/contrast"},
    "hrda": {"loss/source", "loss/target", "loss/masked", "loss/contrast"},
    "proca": {
        "loss/source",
        "loss/lovasz",
        "loss/target",
        "loss/contrast",
        "loss/feature_prototypes",
        "loss/output_prototypes",
    },
}


@pytest.mark.parametrize("base", LOSSES)
def test_whole_steps_of_two_processes_are_those_of_one(launched, configs, script, base):
    """Losses, gradients, memory and running statistics: batch norm, pseudo-label weight and draws are all global."""
    at_once = pgpc.override(configs[base], {"training.accumulate": 1})
    alone, ranks = script.whole_steps(at_once, 3), [rank[base] for rank in launched[1]]
    assert set().union(*alone["logs"]) >= LOSSES[base]
    if base == "daformer":
        assert all(0.1 < log["pseudo_label_weight"] < 0.9 for log in alone["logs"])
    for expected, *parts in zip(alone["logs"], *(rank["logs"] for rank in ranks), strict=True):
        for name, value in expected.items():
            mean = sum(part[name].double() for part in parts) / 2
            torch.testing.assert_close(mean, value.double(), rtol=1e-9, atol=1e-12, msg=f"{name}: {mean}, not {value}")
    gradients = {name: g for name, g in alone["gradients"].items() if g is not None}
    total = torch.stack([g.norm() for g in gradients.values()]).norm()
    for rank in ranks:
        for name, expected in gradients.items():
            # Some of HRDA's are zero up to rounding, as are some of the parts' without batch norm.
            limit = 1e-9 * expected.norm() + (1e-13 * total if base in ("hrda", "parts") else 0)
            assert (rank["gradients"][name] - expected).norm() <= limit, name
        for part in ("memory", "statistics"):
            torch.testing.assert_close(rank[part], alone[part], rtol=1e-9, atol=1e-12)
            assert alone[part].keys() == rank[part].keys()


@pytest.mark.parametrize("task", ["many", "uneven"])
def test_after_some_steps_all_processes_agree(launched, task):
    """Also where one has no labels at all, or no class that the other has."""
    first, second = (rank[task] for rank in launched[1])
    for part in ("contrast", "student", "teacher"):
        for name, value in first[part].items():
            assert torch.equal(value, second[part][name]), f"{part} {name}"
    assert first["contrast"]["source.filled"].sum() > 0


def test_gradients_met_once_per_step(launched):
    assert [rank["many"]["averaged"] for rank in launched[1]] == [20, 20]


def test_two_processes_resumed_equal_two_uninterrupted_bit_for_bit(launched):
    whole, resumed = (read_checkpoint(launched[0] / name) for name in ("whole", "resumed"))
    assert whole.pop("metrics")["mIoU"] == resumed.pop("metrics")["mIoU"]  # some of the others are times
    for text in ("config", "classes"):
        assert whole.pop(text) == resumed.pop(text)
    assert [len(state.pop("starts")) for state in (whole, resumed)] == [1, 2]
    for state in (whole, resumed):
        for group in state["optimizer"]["param_groups"]:
            group.pop("name")  # text cannot be compared by the next line
    torch.testing.assert_close(whole, resumed, rtol=0, atol=0)


def test_another_number_of_processes_goes_on_with_a_warning(launched, configs, tmp_path, caplog):
    shutil.copy(launched[0] / "whole" / "previous.pt", tmp_path / "checkpoint.pt")
    result = pgpc.train(configs["interrupted"], out=tmp_path, begin=Resume(tmp_path))
    assert result.metrics["iteration"] == 4
    warnings = [record.message for record in caplog.records if record.name == "pgpc.bases.state"]
    assert len(warnings) == 1
    assert warnings[0].startswith("The run was interrupted with 2 processes and is resumed with 1")
