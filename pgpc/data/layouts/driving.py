"""The layouts of data sets of streets, all with the 19 classes of Cityscapes."""

from __future__ import annotations

from dataclasses import replace

from pgpc.classes import CLASSES, NUM_CLASSES
from pgpc.data.label_ids import raw_id_table, train_id_labels
from pgpc.data.layouts.layout import Labels, Layout, Split
from pgpc.data.layouts.selection import Attribute

_CITYSCAPES_IDS = {c.cityscapes_id: k for k, c in enumerate(CLASSES)}
_SYNTHIA_IDS = {c.synthia_id: k for k, c in enumerate(CLASSES)}
# Cityscapes' label definitions have the ids -1..33; -1, license plates, is 255 in 8 bits.
_CITYSCAPES_TABLE = raw_id_table(_CITYSCAPES_IDS, [*range(34), 255])

GTA5 = Layout(
    name="gta5",
    parts={"train": Split(Labels.NEEDED, ((".",),))},
    image_folder="images",
    image_suffixes=(".png",),
    label_folders=("labels",),
    label_suffixes=(".png",),
    train_id_suffix="_labelTrainIds.png",
    raw_ids=raw_id_table(_CITYSCAPES_IDS, [*range(35), 255]),  # Cityscapes' and 34, license plates
)

SYNTHIA = Layout(
    name="synthia",
    parts={"train": Split(Labels.NEEDED, ((".",),))},
    image_folder="RGB",
    image_suffixes=(".png",),
    label_folders=("GT/LABELS",),
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
    label_folders=("gtFine",),
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
    label_folders=("gt",),
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

BDD100K = Layout(
    name="bdd100k",
    # The images that have labels of pixels; the others, of which "100k" are, have boxes.
    parts={
        "train": Split(Labels.NEEDED, (("10k/train",),)),
        "val": Split(Labels.NEEDED, (("10k/val",),)),
        "test": Split(Labels.NONE, (("10k/test",),)),
    },
    image_folder="images",
    image_suffixes=(".jpg",),
    label_folders=("labels/sem_seg/masks",),
    label_suffixes=(".png",),
    label_splits={"10k/train": "train", "10k/val": "val"},
    raw_ids=train_id_labels(NUM_CLASSES),
)

# Lists with the time of day, of the boxes and of the polygons, and as an earlier release called them. The images with
# labels of pixels are not a part of the others: those that no list tells the time of are left out.
_BDD100K_LISTS = tuple(
    f"labels/{name.format(split)}.json"
    for name in ("det_20/det_{}", "bdd100k_labels_images_{}", "sem_seg/polygons/sem_seg_{}")
    for split in ("train", "val")
)
_BY_DAY = Attribute(_BDD100K_LISTS, "timeofday", ("daytime",))
_BY_NIGHT = Attribute(_BDD100K_LISTS, "timeofday", ("night",))

BDD100K_DAY = replace(
    BDD100K,
    name="bdd100k-day",
    parts={
        "train": Split(Labels.NEEDED, (("10k/train",),), _BY_DAY),
        "val": Split(Labels.NEEDED, (("10k/val",),), _BY_DAY),
    },
)

BDD100K_NIGHT = replace(
    BDD100K,
    name="bdd100k-night",
    parts={
        # A target needs no labels to be trained on, and there are many more images without.
        "train": Split(Labels.NONE, (("100k/train",), ("10k/train",)), _BY_NIGHT),
        "val": Split(Labels.NEEDED, (("10k/val",),), _BY_NIGHT),
    },
)
