"""Where the contrast takes its pixels on a plain vision transformer: the pyramid at stride 4, or the last block.

    python -m tests.benchmarks.projected_maps [--encoder vit_small_patch16_224] [--crop 256] [--repetitions 3]

Prints, for ``contrast.maps`` "all" and "last" and for the base, the seconds of a step of DAFormer with two images of
each domain (one thread on CPUs, processor time; on a GPU wall-clock time), and the peak memory of one (measured on a
GPU, else computed as by tests/benchmarks/memory.py). ``--memory`` and ``--time`` leave the other out.

Expected of time, from multiplications: the projection head has 1/16 of the cells, 1x1 convolutions of D, D/2 and D/4 to
256 channels. Of ViT-S at 512 pixels that is 1.3e9 against 0.2e9 an image, beside 57e9 of DAFormer's decoder and 27e9 of
the encoder, so that a step is 1 to 2 % faster with "last"; what it draws, C M N products, stays the same. Of memory:
the hidden features and what the backward pass needs of them, 256 channels and five copies, 80 MB an image at 512.

Came out on 2 shared CPU cores with twenty other processes, 2026-11-30, nothing on a GPU:

- memory, computed, ViT-B/14 (DINOv2) at 512 pixels, 2 + 2 images: base 5,510 MiB, "all" 5,741 (1.042), "last" 5,672
  (1.029): 1.2 % of a step less.
- time, ViT-Ti/16 at 128 pixels, medians of five turns: base 2.6 s, "all" 1.35 times that, "last" 1.33, and 0.98 of
  "all" (0.92 to 1.02), which is noise; at 256 pixels, one turn, 1.11 and 1.10 times the base. The contrast's fixed cost
  is most there.

Hence "all" is the default, as the paper has it: "last" saves little where training is worth it. Which of them gives the
better network needs pretrained weights and a GPU, and is not known.
"""

from __future__ import annotations

import argparse
from functools import partial

import numpy as np

from pgpc.config import Config
from tests.benchmarks.memory import in_its_own_process
from tests.benchmarks.timing import in_turns_apart, make_config, make_step, prepare, ratio

BASE, OURS = "gta5-cityscapes/daformer", "gta5-cityscapes/daformer+pgpc"
WAYS = {"base": BASE, "all": OURS, "last": OURS}


def settings(way: str, encoder: str, crop: int) -> dict[str, object]:
    """Return what is set for one of the ways."""
    maps = {} if way == "base" else {"contrast.maps": way}
    return {"model.encoder": encoder, "model.pretrained": "none", "data.crop": crop, **maps}


def step(config: Config) -> object:
    """Return a function that makes one step after the other, in the process that times it."""
    prepare()
    return make_step(config)


def main() -> None:
    """Print a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="vit_small_patch16_224", help="(default: %(default)s)")
    parser.add_argument("--crop", type=int, default=256, help="(default: %(default)s)")
    parser.add_argument("--repetitions", type=int, default=3, help="turns (default: %(default)s)")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--memory", action="store_true", help="only memory")
    only.add_argument("--time", action="store_true", help="only time")
    arguments = parser.parse_args()
    changes = {way: settings(way, arguments.encoder, arguments.crop) for way in WAYS}
    if not arguments.memory:
        steps = {
            way: partial(step, make_config(preset, arguments.encoder, arguments.crop, changes[way]))
            for way, preset in WAYS.items()
        }
        times = in_turns_apart(steps, arguments.repetitions)
        print("| contrast.maps | seconds, median | to the base |\n| --- | --- | --- |")
        for way in WAYS:
            print(f"| {way} | {np.median(times[way]):.3f} | {ratio(times, way, 'base'):.3f} |", flush=True)
    if not arguments.time:
        print("| contrast.maps | peak MiB |\n| --- | --- |")
        for way, preset in WAYS.items():
            peak = in_its_own_process(preset, [f"{key}={value}" for key, value in changes[way].items()])
            print(f"| {way} | {peak / 2**20:.0f} |", flush=True)


if __name__ == "__main__":
    main()
