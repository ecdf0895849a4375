"""Where curves stand in TensorBoard."""

import pytest
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout

import pgpc
from pgpc.evaluation.names import ONLINE_CRITERIA
from pgpc.training.curves import PICTURES, charts, compared_metrics, is_curve, tag_of

ALL = {"has_labels": True, "has_teacher": True, "on_gpu": True}


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("eval/mIoU", "eval/mIoU"),
        ("eval/report/mIoU", "eval/report/mIoU"),
        ("eval/IoU/traffic light", "per_class/IoU/traffic light"),
        ("train/loss/source", "loss/source"),
        ("train/anchors/road", "per_class/anchors/road"),
        ("train/bank_fill/source", "train/bank_fill/source"),
        ("train/learning_rate", "train/learning_rate"),
        ("criteria/snd", "selection/snd"),
    ],
)
def test_tags(name, tag):
    assert tag_of(name) == tag == tag_of(tag) and is_curve(tag)


def test_scores_and_losses_are_the_groups_that_tensorboard_opens():
    names = [
        "criteria/snd",
        "train/loss/source",
        "train/anchors/road",
        "train/learning_rate",
        "eval/IoU/road",
        "eval/mIoU",
    ]
    groups = sorted({tag.partition("/")[0] for tag in [*map(tag_of, names), f"{PICTURES}input/0001"]})
    assert groups == ["eval", "loss", "per_class", "pictures", "selection", "train"]
    # Of a target without labels: what is measured in place of the score is not far.
    unlabeled = sorted({tag_of(name).partition("/")[0] for name in ("criteria/snd", "train/loss/source", "train/x")})
    assert unlabeled == ["loss", "selection", "train"]


def test_runs_are_compared_by_what_they_measure():
    config = pgpc.preset("streets")
    measured = [f"selection/{name}" for name in ONLINE_CRITERIA if name != "source_mIoU"]
    costs = ["train/seconds", "train/gpu_memory"]
    assert compared_metrics(config, **ALL) == ["eval/mIoU", *measured, *costs]
    assert compared_metrics(config, **ALL | {"has_labels": False}) == [*measured, *costs]
    found = compared_metrics(config, has_labels=True, has_teacher=False, on_gpu=False)
    assert "selection/teacher_agreement" not in found and found[-1] == "train/seconds"
    changes = {"evaluation.criteria_images": 0, "evaluation.report_share": 0.5, "data.holdout": 2}
    found = compared_metrics(pgpc.override(config, changes), **ALL)
    assert found == ["eval/mIoU", "eval/report/mIoU", "selection/source_mIoU", *costs]


def test_the_layout_folds_all_but_scores_and_losses():
    [value] = charts().value
    layout = Layout.FromString(value.tensor.string_val[0])
    assert (value.tag, value.metadata.plugin_data.plugin_name) == ("custom_scalars__config__", "custom_scalars")
    assert [category.closed for category in layout.category] == [False, True, True, True]
    assert [tag for chart in layout.category[0].chart for tag in chart.multiline.tag] == [r"eval/.*mIoU\d*$", "loss/.*"]
