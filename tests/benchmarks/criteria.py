"""The time of all criteria that need no labels of the target, against that of an evaluation of 500 images.

    python -m tests.benchmarks.criteria [--encoder mit_b0] [--repetitions 3] [--images 16] [--held-out 16]

Images have Cityscapes' sizes: read at 2048 x 1024, segmented at 1024 x 512, scored at 2048 x 1024; those of the source
1914 x 1052, segmented at 1280 x 720. All three parts are timed in turns in one run, on few images each, reading and
decoding of the images included (in the training process): what 500 scored images, `--images` measured ones and
`--held-out` of the source take is *extrapolated* from the median of seconds per image. Nothing of either is a cost per
evaluation that does not grow with the images, but for the start of loader processes, which is left out on both sides.

At most 20 % is wanted, with as many images as the presets measure.

Measured on 2 shared CPU cores, 2026-11-30, OMP_NUM_THREADS=1, MiT-B0, one turn: 10.4 % without source_mIoU, 16.0 % with
it. Not measured on a GPU.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import pgpc
from pgpc.adaptation.teacher import make_teacher
from pgpc.classes import CITYSCAPES
from pgpc.data.loader import evaluation_samples
from pgpc.data.shards.pack import pack
from pgpc.data.shards.reader import Shards
from pgpc.evaluation.criteria.measure import source_miou
from pgpc.evaluation.criteria.target import Networks, target_criteria
from pgpc.evaluation.scoring import evaluate
from tests.benchmarks.timing import DEVICE, prepare, seconds

EVALUATED = 500
"""Images of Cityscapes' split "val"."""

_TIMED = 2
"""Images of each part that are timed in a turn: a pair, which has one mixture."""


def main() -> None:
    """Print seconds per image, and the extrapolated ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="mit_b0", help="(default: %(default)s)")
    parser.add_argument("--repetitions", type=int, default=3, help="turns (default: %(default)s)")
    default = pgpc.preset("gta5-cityscapes/daformer").evaluation.criteria_images
    parser.add_argument("--images", type=int, default=default, help="measured target images (default: the presets')")
    parser.add_argument("--held-out", type=int, default=default, help="held-out source images (default: as many)")
    arguments = parser.parse_args()
    prepare()
    changes = {"model.encoder": arguments.encoder, "data.loader_workers": 0, "evaluation.criteria_images": _TIMED}
    config = pgpc.override(pgpc.preset("gta5-cityscapes/daformer"), changes)
    torch.manual_seed(0)
    student = pgpc.build_model(config.model).to(DEVICE)
    torch.nn.init.normal_(student.decode_head.conv_seg.weight)  # so that it finds several classes
    networks = Networks(student, make_teacher(student))
    data, evaluation = config.data, config.evaluation
    with tempfile.TemporaryDirectory() as folder:
        target, source = (_shards(Path(folder) / name, *size) for name, size in _SIZES.items())
        times = _in_turns(
            {
                "evaluation": lambda: evaluate(
                    student, evaluation_samples(target, data), CITYSCAPES, evaluation=evaluation
                ),
                "criteria": lambda: target_criteria(networks, target, data, CITYSCAPES, evaluation=evaluation),
                "source_mIoU": lambda: source_miou(student, source, data, CITYSCAPES, evaluation),
            },
            arguments.repetitions,
        )
    each = {name: statistics.median(taken) / _TIMED for name, taken in times.items()}
    print("seconds per image: " + ", ".join(f"{name} {taken:.3f}" for name, taken in each.items()))
    whole = EVALUATED * each["evaluation"]
    on_target, on_source = arguments.images * each["criteria"], arguments.held_out * each["source_mIoU"]
    print(
        f"extrapolated: {EVALUATED} scored images {whole:.0f} s; criteria on {arguments.images} images {on_target:.1f} "
        f"s, {on_target / whole:.1%}; with source_mIoU on {arguments.held_out} more {on_target + on_source:.1f} s, "
        f"{(on_target + on_source) / whole:.1%}"
    )


def _in_turns(parts: Mapping[str, Callable[[], object]], repetitions: int) -> dict[str, list[float]]:
    """Return the seconds of every part in every turn; before them comes the first, for what is made once."""
    seconds(parts["evaluation"])
    times: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(repetitions):
        for name, part in parts.items():
            times[name].append(seconds(part))
    return times


_SIZES = {"target": (2048, 1024), "source": (1914, 1052)}
"""Width and height of the images of each domain."""


def _shards(root: Path, width: int, height: int) -> Shards:
    """Pack blocks of colors, of which some are labeled."""
    rng = np.random.default_rng(0)
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    for i in range(_TIMED):
        blocks = rng.integers(0, 256, (height // 32 + 1, width // 32 + 1, 3), dtype=np.uint8)
        image = blocks.repeat(32, 0).repeat(32, 1)[:height, :width]
        noisy = np.clip(image + rng.normal(0, 8, image.shape), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(root / f"images/{i}.png")
        Image.fromarray((blocks[..., 0] % 34).repeat(32, 0).repeat(32, 1)[:height, :width]).save(
            root / f"labels/{i}.png"
        )
    pack("gta5", root, root / "out")
    return Shards.open(root / "out", "train")


if __name__ == "__main__":
    main()
