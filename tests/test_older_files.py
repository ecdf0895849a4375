"""Results folders and checkpoints of the version before the house was redesigned are still read.

``golden/older`` was written by it, with tiny networks: two sweeps without their checkpoints, and a run that was stopped
at iteration 9 of 12, with the metrics that it came to when it was not.
"""

import json
import shutil
from pathlib import Path

import pytest
import torch

import pgpc
import sweeps
from pgpc.config import from_dict
from pgpc.models.checkpoint import read_checkpoint, read_metrics
from pgpc.training import Resume
from sweeps.reporting.write import write_report
from tests.helpers.training import new_state

OLDER = Path(__file__).parent / "golden" / "older"


@pytest.fixture
def folder(request, tmp_path):
    """A copy, which a report is written into."""
    return Path(shutil.copytree(OLDER / request.param, tmp_path / request.param))


@pytest.mark.parametrize("folder", ["search"], indirect=True)
def test_a_search_is_read_and_reported(folder):
    found = sweeps.read(folder)
    ranked = [(trial.label, round(trial.score, 2)) for trial in found.trials if trial.label != "base"]
    assert ranked == [("0001", 2.91), ("0000", 2.91), ("0002", 2.9)]
    assert found.best.trial == "0001"
    assert len(found.rows) == 8
    assert {row.trunk.iterations for row in found.rows} == {4}
    page = {file.name: file.read_text() for file in write_report(folder, images=0)}
    assert "0001 has the highest mean mIoU, 2.91 %" in page["report.md"]
    assert "saved by the trunk" in page["report.html"]


@pytest.mark.parametrize("folder", ["table"], indirect=True)
def test_a_table_is_read_and_reported(folder):
    found = sweeps.read(folder)
    assert [row.paper.row for row in found.rows] == ["without contrast", "3", "4", "5", "6"]
    page = {file.name: file.read_text() for file in write_report(folder, images=0)}
    assert "Rank r from which on a target pixel is a negative" in page["report.md"]
    assert "68.70" in page["report.tex"]


@pytest.mark.parametrize("folder", ["search"], indirect=True)
def test_a_search_over_a_key_that_is_gone_is_refused_in_a_sentence(folder):
    file = folder / "sweep.json"
    stored = json.loads(file.read_text())
    stored["space"]["proca.enabled"] = {"name": "CategoricalDistribution", "attributes": {"choices": [True, False]}}
    file.write_text(json.dumps(stored))
    with pytest.raises(ValueError, match=r"searches proca.enabled, which this version does not have. Resume it"):
        sweeps.read(folder)


@pytest.mark.slow
def test_a_run_is_resumed_and_comes_to_what_it_came_to(tmp_path):
    shutil.copytree(OLDER / "run", tmp_path / "run")
    config = from_dict(json.loads((tmp_path / "run" / "config.json").read_text()))
    assert config.base == "self_training"
    result = pgpc.train(config, out=tmp_path / "run", begin=Resume(tmp_path / "run"))
    expected = json.loads((OLDER / "run" / "metrics.json").read_text())
    assert result.metrics["iteration"] == expected["iteration"] == 12
    assert not [name for name in result.metrics if name.startswith("memory/")]
    assert "bank_fill/source" in read_metrics(OLDER / "run")  # reported as memory/source then
    for name in ("loss/source", "loss/target", "loss/contrast", "mIoU"):
        assert result.metrics[name] == pytest.approx(expected[name], rel=1e-2), name


def test_its_network_is_loaded_and_scored(tmp_path):
    loaded = pgpc.load_model(OLDER / "run")
    assert (loaded.iteration, loaded.config.model.encoder) == (9, "test_efficientnet")


def test_a_checkpoint_of_proca_from_before_bases_had_a_key(tiny, tmp_path, caplog):
    """Its config says proca.enabled, its part of the state is called by its name, and its images were drawn otherwise.

    The encoder is one that shifts features when it is dilated: none is trained with it anew.
    """
    stages = {
        "proca.source_iterations": 1,
        "proca.self_training_iterations": 1,
        "model.encoder": "test_resnet",
        "data.crop": None,
        "data.source_size": (128, 64),
    }
    state = new_state(tiny("streets/proca", stages))
    state.base.thresholds.fill_(0.25)
    state.step = 2
    state.save(tmp_path)
    saved = read_checkpoint(tmp_path)
    config = json.loads(saved["config"])
    config["proca"]["enabled"] = config.pop("base") == "proca"
    saved["config"], saved["proca"] = json.dumps(config), saved.pop("base")
    saved["proca"]._metadata[""]["version"] = 1  # which every module has that says nothing else
    torch.save(saved, tmp_path / "checkpoint.pt")

    again = new_state(state.config)
    again.load(tmp_path)
    assert "This run of ProCA was begun when source images were drawn uniformly" in caplog.text
    caplog.clear()
    again.save(tmp_path / "now")
    new_state(state.config).load(tmp_path / "now")
    assert not caplog.text
    assert again.step == 2
    assert (again.base.thresholds == 0.25).all()
