"""The best network of a run: which one is kept, and what becomes of it when the run is resumed."""

import json
import logging
from types import SimpleNamespace
from typing import get_args

import pytest
import torch

import pgpc
from pgpc.config import KeepBest
from pgpc.data.domains import Domains
from pgpc.evaluation.loaded_model import load_model
from pgpc.evaluation.names import ONLINE_CRITERIA
from pgpc.models.checkpoint import BEST, CHECKPOINT
from pgpc.training import Callbacks, Resume
from pgpc.training.begin import FRESH
from pgpc.training.best import Best, BestKeeper, check_best, read_best
from tests.helpers.states import equal
from tests.helpers.training import SMALL, new_state


@pytest.fixture(scope="module")
def state(tiny):
    return new_state(tiny(changes={**SMALL, "training.keep_best": "bnm"}))


def reported(state, step, **scores):
    """The state with a report, and a weight that tells it from others."""
    state.step, state.metrics = step, {"iteration": step, **scores}
    with torch.no_grad():
        next(state.student.parameters()).fill_(step)
    return state


def test_every_criterion_of_an_evaluation_can_be_chosen_by():
    assert get_args(KeepBest) == ("mIoU", *ONLINE_CRITERIA)


def test_the_highest_score_is_kept_and_of_equals_the_first(state, tmp_path):
    keeper = BestKeeper(tmp_path, None, FRESH, reported(state, 0))
    for step, score in ((1, 0.3), (2, 0.5), (3, 0.5), (4, 0.4), (5, float("nan"))):
        keeper.consider(reported(state, step, **{"criteria/bnm": score, "mIoU": float(step)}))
    keeper.consider(reported(state, 6, mIoU=6.0))  # a report without the criterion
    assert keeper.best == read_best(tmp_path) == Best("bnm", 0.5, 2)
    assert [path.name for path in tmp_path.iterdir()] == [BEST]
    loaded = load_model(tmp_path / BEST)
    assert (loaded.iteration, loaded.has_teacher) == (2, True)
    assert (next(loaded.student.parameters()) == 2).all()


def test_a_resumed_run_beats_what_was_best_before(state, tmp_path):
    BestKeeper(tmp_path, None, FRESH, state).consider(reported(state, 4, **{"criteria/bnm": 0.5}))
    keeper = BestKeeper(tmp_path, None, Resume(tmp_path), reported(state, 2, **{"criteria/bnm": 0.3}))
    assert keeper.best == Best("bnm", 0.5, 4)  # also where the checkpoint is from before
    keeper.consider(reported(state, 6, **{"criteria/bnm": 0.4}))
    assert read_best(tmp_path) == Best("bnm", 0.5, 4)
    keeper.consider(reported(state, 8, **{"criteria/bnm": 0.6}))
    assert read_best(tmp_path) == Best("bnm", 0.6, 8)


def test_a_run_that_kept_none_begins_with_its_last_report(state, tmp_path):
    BestKeeper(tmp_path, None, Resume(tmp_path), reported(state, 4, **{"criteria/bnm": 0.5}))
    assert read_best(tmp_path) == Best("bnm", 0.5, 4)


def test_another_score_begins_anew(state, tmp_path, caplog):
    BestKeeper(tmp_path, None, FRESH, state).consider(reported(state, 2, **{"criteria/bnm": 0.5}))
    content = torch.load(tmp_path / BEST)
    torch.save({**content, "best": {**content["best"], "chosen_by": "mIoU", "score": 60.0}}, tmp_path / BEST)
    with caplog.at_level(logging.WARNING):
        keeper = BestKeeper(tmp_path, None, Resume(tmp_path), reported(state, 4, **{"criteria/bnm": 0.1}))
    assert "of iteration 2, chosen by mIoU, which was measured otherwise or on other data than bnm is" in caplog.text
    assert keeper.best is None
    keeper.consider(reported(state, 6, **{"criteria/bnm": 0.1}))
    assert read_best(tmp_path) == Best("bnm", 0.1, 6)


def test_scores_on_other_data_or_of_other_windows_are_not_compared(state, tmp_path, tiny):
    BestKeeper(tmp_path, None, FRESH, state).consider(reported(state, 4, **{"criteria/bnm": 0.5}))
    start = SimpleNamespace(step=4, changed=("scored images",))
    changed = SimpleNamespace(config=state.config, starts=[start], metrics=state.metrics, step=4)
    assert BestKeeper(tmp_path, None, Resume(tmp_path), changed).best is None
    start.step = 2  # before it was chosen
    assert BestKeeper(tmp_path, None, Resume(tmp_path), changed).best == Best("bnm", 0.5, 4)
    changed.config = tiny(changes={**SMALL, "training.keep_best": "bnm", "evaluation.flip": True})
    assert BestKeeper(tmp_path, None, Resume(tmp_path), changed).best is None


def test_a_new_run_has_none_and_a_damaged_one_is_replaced(state, tmp_path):
    (tmp_path / BEST).write_bytes(b"half")
    assert read_best(tmp_path) is None
    assert BestKeeper(tmp_path, None, Resume(tmp_path), reported(state, 1)).best is None
    BestKeeper(tmp_path, None, FRESH, state)
    assert not (tmp_path / BEST).exists()


def test_it_is_no_checkpoint_to_resume_from(state, tmp_path):
    BestKeeper(tmp_path, None, FRESH, state).consider(reported(state, 2, **{"criteria/bnm": 0.5}))
    (tmp_path / BEST).rename(tmp_path / CHECKPOINT)
    with pytest.raises(ValueError, match=r"checkpoint.pt has no optimizer: it is a copy of a best.pt"):
        new_state(state.config).load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training.keep_best": "mIoU", "data.eval_split": None}, "training.keep_best=mIoU needs data.eval_split"),
        ({"training.keep_best": "source_mIoU"}, "training.keep_best=source_mIoU needs data.holdout"),
        ({"training.keep_best": "bnm", "evaluation.criteria_images": 0}, "bnm needs evaluation.criteria_images"),
        ({"training.keep_best": "miou"}, "training.keep_best must be one of 'mIoU', 'source_mIoU'"),
    ],
)
def test_a_score_that_the_run_has_not_is_refused(changes, message, tiny):
    with pytest.raises(ValueError, match=message):
        tiny(changes=changes)
    if "criteria_images" not in message:
        return
    with pytest.raises(ValueError, match="needs adaptation.enabled"):
        tiny("streets/source-only", {"training.keep_best": "teacher_agreement"})


def test_a_score_that_no_image_is_left_for_is_refused(state, tiny):
    without = Domains(None, None, None)
    with pytest.raises(ValueError, match="keep_best must be a score that evaluations have, .* but got 'bnm'. Set"):
        check_best(state.config, without)
    check_best(state.config, without._replace(measured=object()))
    check_best(tiny(changes={"training.keep_best": "mIoU"}), without)
    check_best(tiny(), without)


@pytest.mark.slow
def test_a_run_keeps_it_beside_its_checkpoint_and_learns_the_same(tiny, tmp_path):
    changes = {**SMALL, "training.iterations": 2, "training.eval_interval": 1, "contrast.start": 1}
    seen, learned = [], []

    def on_report(metrics, folder):
        seen.append(metrics["mIoU"])
        learned.append(torch.load(folder / CHECKPOINT)["student"])

    without = tiny(changes={**changes, "evaluation.criteria_images": 0})
    assert pgpc.train(without, out=tmp_path / "a", callbacks=Callbacks(on_report=on_report)).best is None
    assert not (tmp_path / "a" / BEST).exists()
    config = pgpc.override(without, {"training.keep_best": "mIoU"})
    result = pgpc.train(config, out=tmp_path / "b")
    best, last = (torch.load(tmp_path / "b" / name) for name in (BEST, CHECKPOINT))
    at = seen.index(max(seen))
    assert result.best == Best("mIoU", seen[at], 1 + at)
    assert best["metrics"]["mIoU"] == seen[at]
    assert json.loads(best["config"])["training"]["keep_best"] == "mIoU"
    assert equal(best["student"], learned[at]) and equal(last["student"], learned[-1])
