"""All layouts by name, those of known data sets and that of a user's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pgpc.classes import NUM_CLASSES
from pgpc.data.label_ids import read_description, train_id_labels
from pgpc.data.layouts.aerial import LOVEDA_RURAL, LOVEDA_URBAN, POTSDAM_IRRG, POTSDAM_RGB, POTSDAM_RGBIR, VAIHINGEN
from pgpc.data.layouts.driving import (
    ACDC,
    BDD100K,
    BDD100K_DAY,
    BDD100K_NIGHT,
    CITYSCAPES,
    DARK_ZURICH,
    GTA5,
    SYNTHIA,
)
from pgpc.data.layouts.layout import Labels, Layout, Split
from pgpc.data.picture_names import READABLE_SUFFIXES
from pgpc.runtime.checks import check

FOLDER = Layout(
    name="folder",
    parts={split: Split(Labels.OPTIONAL, ((split,),)) for split in ("train", "val", "test")},
    flat_split="train",
    image_folder="images",
    image_suffixes=READABLE_SUFFIXES,
    label_folders=("labels",),
    label_suffixes=(".png", ".PNG", ".tif", ".tiff", ".TIF"),
    raw_ids=train_id_labels(NUM_CLASSES),
    own_classes=True,
    remedy='. Describe your classes in a JSON file (--classes FILE), or list these ids there, in "ids" or "ignore"',
)

LAYOUTS: Mapping[str, Layout] = {
    layout.name: layout
    for layout in (
        *(GTA5, SYNTHIA, CITYSCAPES, DARK_ZURICH, ACDC),
        *(BDD100K, BDD100K_DAY, BDD100K_NIGHT),
        *(LOVEDA_RURAL, LOVEDA_URBAN, POTSDAM_RGB, POTSDAM_IRRG, POTSDAM_RGBIR, VAIHINGEN),
        FOLDER,
    )
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
