"""The layouts of data sets of remote sensing: LoveDA, and ISPRS's of Potsdam and Vaihingen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pgpc.classes import ClassSet
from pgpc.data.label_colors import label_colors
from pgpc.data.label_ids import LabelForm, raw_id_table, train_id_labels
from pgpc.data.layouts.layout import Labels, Layout, Split
from pgpc.data.layouts.selection import Named

LOVEDA_CLASSES = ClassSet(
    names=("background", "building", "road", "water", "barren", "forest", "agriculture"),
    # As the authors draw them.
    colors=(
        (255, 255, 255),
        (255, 0, 0),
        (255, 255, 0),
        (0, 0, 255),
        (159, 129, 183),
        (0, 255, 0),
        (255, 195, 128),
    ),
    things=(1,),
)
"""The seven classes of LoveDA, whose ids are 1 to 7; 0 is no data."""

ISPRS_CLASSES = ClassSet(
    names=("impervious surface", "building", "low vegetation", "tree", "car", "clutter"),
    colors=((255, 255, 255), (0, 0, 255), (0, 255, 255), (0, 255, 0), (255, 255, 0), (255, 0, 0)),
    things=(1, 3, 4),
)
"""The six classes of Potsdam and Vaihingen, whose labels are pictures of these colors."""


def _loveda(scene: str) -> Layout:
    """Return the layout of one of the two domains of LoveDA."""
    return Layout(
        name=f"loveda-{scene.lower()}",
        parts={
            "train": Split(Labels.NEEDED, ((f"Train/{scene}",),)),
            "val": Split(Labels.NEEDED, ((f"Val/{scene}",),)),
            "test": Split(Labels.NONE, ((f"Test/{scene}",),)),
        },
        image_folder="images_png",
        image_suffixes=(".png",),
        label_folders=("masks_png",),
        label_suffixes=(".png",),
        splits_first=True,
        raw_ids=raw_id_table({k + 1: k for k in range(7)}, [0]),
        classes=LOVEDA_CLASSES,
    )


LOVEDA_RURAL = _loveda("Rural")
LOVEDA_URBAN = _loveda("Urban")

# Black are the boundaries in the labels without them. Single labels have a few pixels of other colors, which are
# ignored, and counted when they are packed.
_ISPRS_COLORS = label_colors(dict(enumerate(ISPRS_CLASSES.colors)), [(0, 0, 0)], ISPRS_CLASSES.names, ignores_rest=True)

_POTSDAM_TRAIN = (
    *("2_10", "2_11", "2_12", "3_10", "3_11", "3_12", "4_10", "4_11", "4_12", "5_10", "5_11", "5_12"),
    *("6_7", "6_8", "6_9", "6_10", "6_11", "6_12", "7_7", "7_8", "7_9", "7_10", "7_11", "7_12"),
)
_POTSDAM_TEST = (
    *("2_13", "2_14", "3_13", "3_14", "4_13", "4_14", "4_15", "5_13", "5_14", "5_15", "6_13", "6_14", "6_15", "7_13"),
)
_VAIHINGEN_TRAIN = (1, 3, 5, 7, 11, 13, 15, 17, 21, 23, 26, 28, 30, 32, 34, 37)
_VAIHINGEN_TEST = (2, 4, 6, 8, 10, 12, 14, 16, 20, 22, 24, 27, 29, 31, 33, 35, 38)


def _named(prefix: str, places: Iterable[object]) -> Named:
    return Named(frozenset(f"{prefix}{place}" for place in places))


_POTSDAM = Layout(
    name="potsdam",
    # The test areas of the contest, whose labels were published after it; those for participants lack them.
    parts={
        "train": Split(Labels.NEEDED, ((".",),), _named("top_potsdam_", _POTSDAM_TRAIN)),
        "val": Split(Labels.OPTIONAL, ((".",),), _named("top_potsdam_", _POTSDAM_TEST)),
    },
    image_folder="2_Ortho_RGB",
    image_suffixes=("_RGB.tif",),
    label_folders=("5_Labels_all", "5_Labels_for_participants", "5_Labels_all_noBoundary"),
    label_suffixes=("_label.tif", "_label_noBoundary.tif"),
    raw_ids=train_id_labels(len(ISPRS_CLASSES.names)),
    classes=ISPRS_CLASSES,
    colors=_ISPRS_COLORS,
    label_form=LabelForm.COLORS,
)

POTSDAM_RGB = replace(_POTSDAM, name="potsdam-rgb")
POTSDAM_IRRG = replace(_POTSDAM, name="potsdam-irrg", image_folder="3_Ortho_IRRG", image_suffixes=("_IRRG.tif",))
POTSDAM_RGBIR = replace(
    _POTSDAM, name="potsdam-rgbir", image_folder="4_Ortho_RGBIR", image_suffixes=("_RGBIR.tif",), bands=4
)

VAIHINGEN = replace(
    _POTSDAM,
    name="vaihingen",
    parts={
        "train": Split(Labels.NEEDED, ((".",),), _named("top_mosaic_09cm_area", _VAIHINGEN_TRAIN)),
        "val": Split(Labels.OPTIONAL, ((".",),), _named("top_mosaic_09cm_area", _VAIHINGEN_TEST)),
    },
    image_folder="top",
    image_suffixes=(".tif",),
    label_folders=(
        "ISPRS_semantic_labeling_Vaihingen_ground_truth_COMPLETE",
        "gts_for_participants",
        "ISPRS_semantic_labeling_Vaihingen_ground_truth_eroded_COMPLETE",
        "gts_eroded_for_participants",
    ),
    label_suffixes=(".tif", "_noBoundary.tif"),
)
