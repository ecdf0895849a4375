"""The diagnosis of a tiny run, whose figures are those of a plain loop and which leaves the run as it is."""

import itertools

import pytest
import torch

from pgpc.cli.diagnosis_text import as_text
from pgpc.data.shards.reader import Shards
from pgpc.diagnosis.diagnose import diagnose, load_run
from pgpc.figures.canvas import save
from pgpc.figures.diagnosis import diagnosis_figure
from tests.helpers.states import equal
from tests.helpers.training import new_state, train_step, training_batches


def trained(folder, config, steps=3):
    """The folder of a run after some steps."""
    state = new_state(config)
    for batch in itertools.islice(training_batches(config), steps):
        train_step(state, batch)
    state.save(folder)
    return folder


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    return trained(tmp_path_factory.mktemp("run"), tiny(changes={"data.loader_workers": 0}))


def found_in(folder, **options):
    state, left_out = load_run(folder, {})
    before = {name: value.clone() for name, value in state.contrast.state_dict().items()} if state.contrast else {}
    parameters = [p.clone() for p in itertools.chain(state.student.parameters(), state.teacher.parameters())]
    found = diagnose(
        state, left_out=left_out, on_progress=lambda *_: None, **{"num_steps": 2, "least_share": 0.05, **options}
    )
    assert state.contrast is None or equal(dict(state.contrast.state_dict()), before)
    after = itertools.chain(state.student.parameters(), state.teacher.parameters())
    assert all(map(torch.equal, parameters, after)), "a diagnosis trains nothing"
    return found


def test_the_figures_of_a_run(run, tmp_path):
    found = found_in(run)
    assert (found.iteration, found.steps, found.images) == (3, (2, 3), 4)
    assert sum(f.predicted for f in found.classes) == pytest.approx(100)
    assert sum(f.labeled for f in found.classes) == pytest.approx(100)
    assert found.predicted == [f.name for f in found.classes if f.predicted >= 0.05] != []
    assert set(found.gradients.norms) == {"source", "target", "contrast"}
    assert all(0 < share < 100 for share in found.gradients.share)
    assert all(-1 <= value <= 1 for value in found.gradients.cosine)
    road = found.classes[0]
    assert set(road.rows) == {"source", "target_negatives"} and road.rows["source"] > 0
    assert found.left_out == []
    assert found == found_in(run), "nothing is drawn otherwise the second time"
    text = as_text("run", found)
    assert f"{len(found.predicted)} of 19: {', '.join(found.predicted)}" in text
    assert "cosine of the contrast's gradient with that of the true labels" in text and "nan" not in text
    save(diagnosis_figure(found), tmp_path / "d.png")
    assert (tmp_path / "d.png").read_bytes().startswith(b"\x89PNG")


def test_without_labels_what_needs_them_is_left_out_and_said(run, monkeypatch):
    labeled = found_in(run)
    label_bytes = Shards.label_bytes
    monkeypatch.setattr(
        Shards, "label_bytes", lambda self, row: None if "target" in str(self.folder) else label_bytes(self, row)
    )
    found = found_in(run)
    assert found.q == labeled.q and found.gradients.share == labeled.gradients.share
    assert found.gradients.cosine is None
    assert all(f.labeled is f.right is f.purity is f.false_negatives is None for f in found.classes)
    assert [f.predicted for f in found.classes] == [f.predicted for f in labeled.classes]
    assert "have no labels" in found.left_out[0]
    diagnosis_figure(found)
    assert "have no labels" in as_text("run", found)


def test_a_run_without_contrast_has_classes_and_q_only(tiny, tmp_path):
    found = found_in(trained(tmp_path, tiny("streets/daformer", {"data.loader_workers": 0}), 1))
    assert found.gradients is None and found.bank_size is None and found.predicted
    assert found.classes[0].anchors is None and found.classes[0].rows == {}
    assert "has no contrast" in found.left_out[0]
    diagnosis_figure(found)
    assert "memory bank, at most" not in as_text("run", found)


def test_before_the_start_gradients_are_left_out(tiny, tmp_path):
    changes = {"data.loader_workers": 0, "contrast.start": 3, "contrast.fill": 3}
    found = found_in(trained(tmp_path, tiny(changes=changes), 1), num_steps=1)
    assert found.gradients is None and sum(f.anchors for f in found.classes) > 0
    assert found.left_out == ["The contrast starts at iteration 3: gradients are left out."]


def test_a_run_without_a_teacher_is_refused(tiny, tmp_path):
    with pytest.raises(ValueError, match="must be of a run with a teacher"):
        load_run(trained(tmp_path, tiny("streets/source-only", {"data.loader_workers": 0}), 1), {})
