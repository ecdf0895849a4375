"""Two folders as they lie: one of photos, one of labels."""

import json

import numpy as np
import pytest
from PIL import Image

from pgpc.data.shards.pack import pack
from pgpc.data.shards.reader import Shards


def photos(folder, names, value=0, size=(40, 32)):
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((size[1], size[0]), value, dtype=np.uint8)).save(file)
    return folder


@pytest.fixture
def classes(tmp_path):
    file = tmp_path / "classes.json"
    file.write_text(json.dumps({"classes": [{"name": "path", "ids": [7]}, {"name": "crop", "ids": [9]}]}))
    return file


def test_photos_and_labels_are_packed_from_where_they_lie(tmp_path, classes):
    labels = photos(tmp_path / "masks", ["a.png", "b.png"], 9)
    root = photos(tmp_path / "game", ["a.jpg", "b.png", "c.jpg"])
    packed = pack("folder", root, tmp_path / "shards", description=classes, labels=labels)
    assert (packed.manifest.splits["train"].count, packed.manifest.splits["train"].labeled) == (3, 2)
    assert not packed.unused
    assert Shards.open(tmp_path / "shards", "train").class_pixels.tolist() == [[0, 1280], [0, 1280], [0, 0]]
    assert pack("folder", root, tmp_path / "shards", description=classes, labels=labels).up_to_date


def test_photos_alone_and_folders_of_splits(tmp_path):
    root = photos(tmp_path / "phone", ["train/a.jpg", "val/b.jpg"])
    labels = photos(tmp_path / "masks", ["val/b.png"], 3)
    packed = pack("folder", root, tmp_path / "shards", labels=labels)
    assert {name: (split.count, split.labeled) for name, split in packed.manifest.splits.items()} == {
        "train": (1, 0),
        "val": (1, 1),
    }
    alone = photos(tmp_path / "alone", ["a.jpg"])
    assert pack("folder", alone, tmp_path / "other").manifest.splits["train"].count == 1


def test_labels_of_other_names_or_in_a_layout_are_refused(tmp_path, classes):
    labels = photos(tmp_path / "masks", ["x.png"], 9)
    root = photos(tmp_path / "game", ["a.jpg"])
    with pytest.raises(
        ValueError, match=r"A label must be named as its image.*The first are \.\./masks/x\.png and a\.jpg"
    ):
        pack("folder", root, tmp_path / "shards", description=classes, labels=labels)
    with pytest.raises(ValueError, match="A folder of labels must be a folder, but got .*gone"):
        pack("folder", root, tmp_path / "shards", labels=tmp_path / "gone")
    arranged = photos(tmp_path / "arranged", ["images/a.jpg"])
    with pytest.raises(ValueError, match="A folder of labels goes with a folder of photos, but got .*arranged"):
        pack("folder", arranged, tmp_path / "shards", labels=labels)
