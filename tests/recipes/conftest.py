"""Packed pictures of one's own: large ones with labels of three classes, small ones without."""

import json

import pytest

from pgpc.data.shards.pack import pack
from tests.helpers.own_photos import photos


@pytest.fixture(scope="session")
def own(tmp_path_factory):
    """The folders of the packed shards, (source, target)."""
    root = tmp_path_factory.mktemp("own")
    classes = root / "classes.json"
    entries = [{"name": name, "ids": [number]} for name, number in (("path", 7), ("crop", 9), ("weed", 11))]
    classes.write_text(json.dumps({"classes": entries}))
    pack("folder", photos(root / "game", 6, 300, 200, labels=40), root / "source", description=classes)
    pack("folder", photos(root / "field", 5, 128, 160), root / "target")
    return str(root / "source"), str(root / "target")
