"""What trials are chosen by: a single metric, or the mean rank of several."""

import math

import pytest

from pgpc.evaluation.names import ONLINE_CRITERIA
from sweeps.definition.options import SweepOptions
from sweeps.definition.selection import Selection, can_drive


def test_one_metric_is_the_score():
    selection = Selection.parse("snd")
    assert selection.scores({"a": {"criteria/snd": 2.5}, "b": {"criteria/snd": -1.0}}) == {"a": 2.5, "b": -1.0}
    assert not selection.is_rank and not selection.needs_labels
    assert Selection.parse("mIoU").metrics == ("mIoU",) and Selection.parse("mIoU").needs_labels


def test_the_mean_rank_is_computed_by_hand():
    reports = {
        "a": {"criteria/snd": 3.0, "criteria/bnm": 0.1},  # ranks 1 and 3
        "b": {"criteria/snd": 2.0, "criteria/bnm": 0.5},  # ranks 2.5 and 1
        "c": {"criteria/snd": 2.0, "criteria/bnm": 0.4},  # ranks 2.5 and 2
    }
    assert Selection.parse("rank:snd,bnm").scores(reports) == {"a": -2.0, "b": -1.75, "c": -2.25}


def test_a_report_that_lacks_a_part_has_no_score_and_no_rank():
    reports = {"a": {"criteria/snd": 1.0}, "b": {"criteria/snd": 2.0, "criteria/bnm": math.nan}}
    reports["c"] = {"criteria/snd": 3.0, "criteria/bnm": 0.0}
    assert Selection.parse("rank:snd,bnm").scores(reports) == {"c": -1.0}
    assert Selection.parse("bnm").scores(reports) == {"c": 0.0}


@pytest.mark.parametrize("text", ["", "nonsense", "rank:snd", "rank:snd,snd", "rank:", "snd,bnm", "rank:snd,nonsense"])
def test_other_texts_are_refused_with_the_names_that_there_are(text):
    with pytest.raises(ValueError, match="--select-by must be one of mIoU, source_mIoU") as caught:
        Selection.parse(text)
    assert all(name in str(caught.value) for name in ONLINE_CRITERIA)


def test_a_score_is_called_and_printed_as_what_it_is():
    named = {text: Selection.parse(text) for text in ("mIoU", "snd", "teacher_agreement", "rank:snd,bnm")}
    assert [choice.title for choice in named.values()] == ["mIoU, %", "snd", "teacher_agreement, %", "minus mean rank"]
    assert [choice.spec for choice in named.values()] == [".2f", ".4f", ".2f", ".2f"]


@pytest.mark.parametrize("text", ["ensemble", "rank:snd,ensemble"])
def test_what_needs_finished_trials_ranks_them_but_drives_no_search(text):
    assert Selection.parse(text).needs_finished_trials and not Selection.parse(text).needs_labels
    assert not can_drive(text) and can_drive("rank:snd,bnm") and not can_drive("nonsense")
    with pytest.raises(ValueError, match="ensemble needs finished trials, so it cannot drive a search") as caught:
        SweepOptions(select_by=text)
    assert str(caught.value).endswith(f"python sweeps/report.py RESULTS --select-by {text}")
    with pytest.raises(ValueError) as caught:
        SweepOptions(select_by="nonsense")
    assert "ensemble" not in str(caught.value)
    assert Selection.parse("ensemble").metrics == ("criteria/ensemble",) and Selection.parse("ensemble").unit == " %"
