"""The layouts of the known data sets, and of a user's own: where their files lie, and what their label ids mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pgpc.classes import CLASSES, NUM_CLASSES
from pgpc.data.folders import Labels, Layout, Split
from pgpc.data.label_ids import raw_id_table, read_description, train_id_labels
from pgpc.data.picture_names import READABLE_SUFFIXES
from pgpc.runtime.checks import check

_CITYSCAPES_IDS = {c.cityscapes_id: k for k, c in enumerate(CLASSES)}
_SYNTHIA_IDS = {c.synthia_id: k for k, c in enumerate(CLASSES)}
# Cityscapes' label definitions have the ids -1..33; -1, license plates, is 255 in 8 bits.
_CITYSCAPES_TABLE = raw_id_table(_CITYSCAPES_IDS, [*range(34), 255])

GTA5 = Layout(
    name="gta5",
    parts={"train": Split(Labels.NEEDED, ((".",),))},
    image_folder="images",
    image_suffixes=(".png",),
    label_folder="labels",
    label_suffixes=(".png",),
    train_id_suffix="_labelTrainIds.png",
    raw_ids=raw_id_table(_CITYSCAPES_IDS, [*range(35), 255]),  # Cityscapes' and 34, license plates
)

SYNTHIA = Layout(
    name="synthia",
    parts={"train": Split(Labels.NEEDED, ((".",),))},
    image_folder="RGB",
    image_suffixes=(".png",),
    label_folder="GT/LABELS",
    label_suffixes=(".png",),
    train_id_suffix="_labelTrainIds.png",
    label_channel="red16",
    raw_ids=raw_id_table(_SYNTHIA_IDS, range(23)),
)

CITYSCAPES = Layout(
    name="cityscapes",
    # Labels of the test split are dummies.
    parts={
        "train": Split(Labels.NEEDED, (("train",),)),
        "val": Split(Labels.NEEDED, (("val",),)),
        "test": Split(Labels.NONE, (("test",),)),
    },
    image_folder="leftImg8bit",
    image_suffixes=("_leftImg8bit.png",),
    label_folder="gtFine",
    label_suffixes=("_gtFine_labelIds.png",),
    train_id_suffix="_gtFine_labelTrainIds.png",
    raw_ids=_CITYSCAPES_TABLE,
)

ACDC = Layout(
    name="acdc",
    # As distributed, or with the conditions in one folder per split, as methods that came before have it.
    parts={
        split: Split(labels, (tuple(f"{weather}/{split}" for weather in ("fog", "night", "rain", "snow")), (split,)))
        for split, labels in (("train", Labels.OPTIONAL), ("val", Labels.NEEDED), ("test", Labels.NONE))
    },
    image_folder="rgb_anon",
    image_suffixes=("_rgb_anon.png",),
    label_folder="gt",
    label_suffixes=("_gt_labelIds.png",),
    train_id_suffix="_gt_labelTrainIds.png",
    raw_ids=_CITYSCAPES_TABLE,
)

DARK_ZURICH = replace(  # by the same authors, with files of the same kind
    ACDC,
    name="darkzurich",
    parts={
        "train": Split(Labels.NONE, (("train/night",),)),  # beside day and twilight
        "val": Split(Labels.NEEDED, (("val",),)),
        "test": Split(Labels.NONE, (("test",),)),
    },
)

FOLDER = Layout(
    name="folder",
    parts={split: Split(Labels.OPTIONAL, ((split,),)) for split in ("train", "val", "test")},
    flat_split="train",
    image_folder="images",
    image_suffixes=READABLE_SUFFIXES,
    label_folder="labels",
    label_suffixes=(".png", ".PNG"),
    train_id_suffix=None,
    raw_ids=train_id_labels(NUM_CLASSES),
    own_classes=True,
    remedy='. Describe your classes in a JSON file (--classes FILE), or list these ids there, in "ids" or "ignore"',
)

LAYOUTS: Mapping[str, Layout] = {
    layout.name: layout for layout in (GTA5, SYNTHIA, CITYSCAPES, DARK_ZURICH, ACDC, FOLDER)
}
"""All layouts by name. "folder" is a user's own data set: ``images/{split}`` and, if there are labels,
``labels/{split}`` with files of the same names, or without the folders of splits where all is for training."""


def find_layout(
    name: str,
    description: Path | None = None,
    *,
    image_suffixes: Sequence[str] = (),
    label_suffixes: Sequence[str] = (),
) -> Layout:
    """Return the layout of a name.

    Args:
        name: One of `LAYOUTS`.
        description: The JSON file that says what a user's own labels mean, for layout "folder", see
            :func:`pgpc.data.label_ids.read_description`; without it they hold Cityscapes' train ids.
        image_suffixes: What the names of a user's own images end with; by default those of pictures that can be read.
        label_suffixes: What the names of their labels end with in place of that.

    Raises:
        ValueError: No layout has this name, the description is not sound, or the layout takes no such thing.
        OSError: The description cannot be read.
    """
    if name not in LAYOUTS:
        raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}, but got {name!r}.")
    layout = LAYOUTS[name]
    for given, what in ((image_suffixes, "The suffix of images"), (label_suffixes, "The suffix of labels")):
        check(not given or layout.own_classes, f"{what} is for layout {FOLDER.name!r}", (name, *given), "Leave it out.")
        check(all(given), f"{what} must not be empty", tuple(given))
    if image_suffixes:
        layout = replace(layout, image_suffixes=_longest_first(image_suffixes))
    if label_suffixes:
        layout = replace(layout, label_suffixes=tuple(label_suffixes))
    if description is None:
        return layout
    if not layout.own_classes:
        raise ValueError(
            f"A description of classes is for layout {FOLDER.name!r}, but layout {name!r}, which has its own, got "
            f"{str(description)!r}. Leave it out."
        )
    described = read_description(description)
    return replace(
        layout,
        classes=described.classes,
        raw_ids=described.raw_ids,
        colors=described.colors,
        label_form=described.form,
        ignores_rest=described.ignores_rest,
    )


def _longest_first(suffixes: Sequence[str]) -> tuple[str, ...]:
    """Return suffixes so that the first that fits leaves the shortest stem."""
    return tuple(sorted(suffixes, key=len, reverse=True))
