"""Own data from start to end: two folders of photos, labels of one of them, a network that is trained, tried and shown.

    python docs/examples/own_data.py FOLDER [ITERATIONS]

The pictures are made here, so that it runs anywhere: balls on grass by day, with labels, and at night, without. On two
CPU cores it takes a minute or two, and learns little. Real photos want a GPU, a large encoder, and its weights of
ImageNet, all of which the preset has by itself.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from pgpc.cli import main as pgpc

CLASSES = {"classes": [{"name": "grass", "ids": [0], "color": [0, 128, 0]}, {"name": "ball", "ids": [255]}]}
SIZE = 128


def make_pictures(folder: Path, *, brightness: float, labeled: bool, num: int = 8, seed: int = 0) -> None:
    """Write pictures of balls into ``folder/images`` and, if they are labeled, masks into ``folder/labels``."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    for name in ("images", "labels")[: 1 + labeled]:
        (folder / name).mkdir(parents=True, exist_ok=True)
    for index in range(num):
        y, x, radius = rng.uniform(30, 98), rng.uniform(30, 98), rng.uniform(12, 30)
        is_ball = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
        picture = np.where(is_ball[..., None], [200, 60, 40], [60, 140, 50]) + rng.normal(0, 15, (SIZE, SIZE, 3))
        Image.fromarray((picture * brightness).clip(0, 255).astype(np.uint8)).save(folder / f"images/{index}.png")
        if labeled:
            Image.fromarray(is_ball.astype(np.uint8) * 255).save(folder / f"labels/{index}.png")


def settings(shards: Path, iterations: int) -> list[str]:
    """Return what is set; sizes, classes and lengths are taken from the shards and the number of iterations."""
    changes = {
        "data.source": shards / "day",
        "data.target": shards / "night",
        "model.encoder": "mit_b0",  # a small one
        "model.head_channels": 32,
        "model.pretrained": "none",  # so that nothing is fetched; real photos want imagenet, which is the default
        "training.iterations": iterations,
        "training.eval_interval": iterations,
        "data.loader_workers": 0,  # pictures as small as these are read at once
    }
    return [part for key, value in changes.items() for part in ("--set", f"{key}={value}")]


def main(folder: Path, iterations: int) -> None:
    """Make pictures, pack them, train, measure without labels, and segment the night."""
    make_pictures(folder / "day", brightness=1.0, labeled=True)
    make_pictures(folder / "night", brightness=0.4, labeled=False, seed=1)
    description = folder / "classes.json"
    description.write_text(json.dumps(CLASSES))

    shards, run = folder / "shards", str(folder / "run")
    labels = ["--labels", str(folder / "day/labels"), "--classes", str(description)]
    pgpc(["pack", str(folder / "day/images"), str(shards / "day"), *labels])
    pgpc(["pack", str(folder / "night/images"), str(shards / "night")])
    pgpc(["train", "custom/daformer+pgpc", "--out", run, *settings(shards, iterations)])
    pgpc(["evaluate", "--checkpoint", run, "--criteria"])
    pgpc(["predict", "--checkpoint", run, "--input", str(folder / "night/images"), "--out", str(folder / "segmented")])
    pgpc(["export", "--checkpoint", run, "--out", str(folder / "network.pt")])


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 40)
