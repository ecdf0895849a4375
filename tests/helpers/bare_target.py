"""A target that nobody has labeled, as shards of a user's own data set."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from pgpc.config import Config
from pgpc.data.domains import open_shards
from pgpc.data.shards.pack import pack


def pack_bare_target(config: Config, root: Path) -> Path:
    """Pack the pictures of the config's target, of the train split, without any label; return the folder of shards.

    Args:
        config: A config whose target is a side of the embedded pair.
        root: An empty folder to work in.
    """
    shards = open_shards(config.data.target, config.data, "train")
    assert isinstance(shards.folder, Path), "the embedded pair lies on this machine"
    (root / "raw/images/train").mkdir(parents=True)
    pictures = shards.folder.parent / "raw/target/leftImg8bit/train"
    for name in shards.names:
        (picture,) = pictures.parent.rglob(f"{name.rsplit('/')[-1]}*.png")
        shutil.copy(picture, root / "raw/images/train" / f"{name.replace('/', '-')}.png")
    classes = {"classes": [{"name": name} for name in shards.classes.names]}
    (root / "raw/classes.json").write_text(json.dumps(classes))
    pack("folder", root / "raw", root / "out", description=root / "raw/classes.json")
    return root / "out"
