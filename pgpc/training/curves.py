"""Where the curves and pictures of a run stand in TensorBoard: their groups, the charts of several, HParams' columns.

TensorBoard sorts groups by their names, opens the first two and folds the others. So the scores (``eval``) and the
losses (``loss``) come before all else, and what has a curve for each class is a group of its own.
"""

from __future__ import annotations

from typing import Any

from pgpc.config import Config
from pgpc.evaluation.names import CLASS_PREFIX, CRITERIA_PREFIX, ONLINE_CRITERIA, REPORT_PREFIX

SCORE = "eval/mIoU"
"""Tag of the score."""
PICTURES = "pictures/"
"""Beginning of the tags of pictures."""
COSTS = ("seconds", "gpu_memory")
"""What a run has cost, as its reports have it."""
_GROUPS = ("eval", "loss", "per_class", "selection", "train")
_PLACES = {
    "train/loss/": "loss/",
    "train/anchors/": "per_class/anchors/",
    f"eval/{CLASS_PREFIX}": f"per_class/{CLASS_PREFIX}",
    CRITERIA_PREFIX: "selection/",
}
"""Beginnings of names of curves, which event files of earlier versions have as tags, and of the tags in their place."""


def tag_of(name: str) -> str:
    """Return the tag of a curve, given its name: ``train/`` or ``eval/`` and a metric, or a criterion; or its tag."""
    for beginning, place in _PLACES.items():
        if name.startswith(beginning):
            return place + name.removeprefix(beginning)
    return name


def is_curve(tag: str) -> bool:
    """Return whether a tag is one that `tag_of` gives to a curve."""
    return tag.partition("/")[0] in _GROUPS


def compared_metrics(config: Config, *, has_labels: bool, has_teacher: bool, on_gpu: bool) -> list[str]:
    """Return the tags of what HParams compares runs by: the score, the criteria that are measured, and what it costs.

    Args:
        config: The config of the run.
        has_labels: Whether it is scored on labeled images of the target.
        has_teacher: Whether it has a teacher.
        on_gpu: Whether it is trained on a GPU.
    """
    missing = set() if config.evaluation.criteria_images else set(ONLINE_CRITERIA) - {"source_mIoU"}
    missing |= set() if config.data.holdout else {"source_mIoU"}
    missing |= set() if has_teacher else {"teacher_agreement"}
    scores = [SCORE, *([f"eval/{REPORT_PREFIX}mIoU"] if config.evaluation.report_share else [])]
    criteria = [tag_of(f"{CRITERIA_PREFIX}{name}") for name in ONLINE_CRITERIA if name not in missing]
    costs = [f"train/{name}" for name in COSTS if on_gpu or name != "gpu_memory"]
    return [*(scores if has_labels else []), *criteria, *costs]


def charts() -> Any:
    """Return the summary that lays out the tab Custom Scalars, with several curves in one chart."""
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
    from tensorboard.plugins.custom_scalar.layout_pb2 import Category, Chart, Layout, MultilineChartContent

    def category(title: str, content: dict[str, str], *, closed: bool = False) -> Any:
        made = [Chart(title=name, multiline=MultilineChartContent(tag=[tags])) for name, tags in content.items()]
        return Category(title=title, chart=made, closed=closed)

    layout = Layout(
        category=[
            category("Scores and losses", {"mIoU in percent": r"eval/.*mIoU\d*$", "losses": r"loss/.*"}),
            category("Criteria without labels", {"all": r"selection/.*"}, closed=True),
            category(
                "Classes",
                {"IoU in percent": rf"per_class/{CLASS_PREFIX}.*", "anchors": r"per_class/anchors/.*"},
                closed=True,
            ),
            category(
                "Speed and memory",
                {"images per second": r"train/images_per_second$", "GiB on the GPU": r"train/gpu_memory$"},
                closed=True,
            ),
        ]
    )
    about = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="custom_scalars"))
    tensor = TensorProto(dtype="DT_STRING", string_val=[layout.SerializeToString()], tensor_shape=TensorShapeProto())
    return Summary(value=[Summary.Value(tag="custom_scalars__config__", tensor=tensor, metadata=about)])
