"""The training step: ours beside the obvious way of writing it, and with PGPC beside its base, in turns in one run.

    python -m tests.benchmarks.step [--base hrda] [--encoder mit_b1] [--crop 256] [--repetitions 3] [--only REGEX]
    python -m tests.benchmarks.step --growth | --precision | --profile

Prints, with two source and two target images: PGPC to its base, in all ways to look at the images; of DAFormer the
obvious step (tests/benchmarks/obvious.py), whose first losses must equal ours, to ours; segmenting an image with a
network trained with PGPC to one without. Each way runs in a process of its own, as a user's would: without
`keep_freed_memory` where it is the obvious one. With `--growth`, how a step with PGPC grows with its sizes, as the
exponent of a fitted power law (0 not at all, 1 proportionally); with `--precision`, float32 to bfloat16; with
`--profile`, the operators of a step of the base by their time.

One thread on CPUs, processor time; on a GPU wall-clock time.

Expected of PGPC, from multiplications (MiT-B5, 512 pixels, 10^9 per image: encoder 72, decoder 57; DAFormer's step is
975): the clean target view adds the teacher's encoder on the source and the student's on the target with its backward
pass, 288 or 30 %; the mixed view only the first of these, 72 or 7 %, and with contrast.source_from=student nothing. The
contrast among drawn pixels comes on top, a fixed cost of C M N that is large beside small crops and encoders: 0.4 s.
Segmenting: 1.00.

Measured on 2 shared CPU cores, 2026-11-23, nothing on a GPU; one turn each, two turns differ by up to 6 %:

- MiT-B5 at 512 pixels, the size of the presets: PGPC 1.16 times DAFormer (42.5 s to 36.8); mixed 1.03 and, in another
  turn, 1.08; mixed with source_from=student 0.97, which is to say 1 within noise.
- MiT-B5 at 256 pixels: obvious DAFormer 1.50 times ours, obvious PGPC 1.47 (expected 1.3 and more: the second backward
  pass through the encoder weighs more the larger that is); PGPC 1.34 times DAFormer, with merged passes 1.28, with
  source_from=student 1.31; mixed 1.15, with source_from=student 1.13; one image 1.00. That was before the projection
  head computed in channels last, which took PGPC beside MiT-B0 (mixed, source_from=student) from 1.12 to 1.08.
- DAFormer's decoder with channels first instead of last: PGPC with MiT-B1 at 256 pixels from 10.8 to 8.4 s, 1.28; not
  expected, a dilated depthwise convolution with channels last took three times as long. Its input's gradient as a
  convolution: the decoder 1.07 times as fast (expected 1.15).
- profiles: DAFormer (MiT-B5, 256 pixels) convolutions 53 % of the time, three quarters of that in the decoder, linear
  layers 21 %, batch norm 9 %; HRDA (MiT-B0, 256) forward convolutions 44 %, most of them the decoder on the nine crops
  in which the teacher sees each image.
- growth of a step (MiT-B0, 128 pixels), exponents: anchors 0.09, negatives 0.07, size of the bank 0.00, classes 0.23
  (the logits too), pixels of the crop 0.86. There PGPC is 1.29 times DAFormer, mixed 1.25; obvious DAFormer 1.19.
- the blocks of MiT-B2 under torch.compile: 0.90, hence no such setting.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from pgpc.config import Config
from tests.benchmarks.obvious import make_obvious, obvious_step
from tests.benchmarks.timing import (
    DEVICE,
    in_turns,
    in_turns_apart,
    make_batch,
    make_config,
    make_state,
    make_step,
    prepare,
    ratio,
)

GROWTH = {
    "anchors M": ("contrast.anchors", [64, 128, 256]),
    "negatives N": ("contrast.negatives", [128, 256, 512]),
    "bank size": ("contrast.bank_size", [1024, 4096, 16384]),
    "classes C": ("model.num_classes", [7, 19, 50]),
    "pixels of the crop": ("data.crop", [128, 192, 256]),
}
BASES = ("daformer", "mic-daformer", "hrda", "mic-hrda")
PRECISIONS = ("float32", "bfloat16")


def configure(arguments: argparse.Namespace, *, pgpc: bool, **changes: Any) -> Config:
    """Return a base with the encoder and crop that were asked for."""
    crop = changes.get("data.crop", arguments.crop)
    detail = {"model.detail_crop": crop // 2} if "hrda" in arguments.base else {}
    preset = f"gta5-cityscapes/{arguments.base}{'+pgpc' if pgpc else ''}"
    return make_config(preset, arguments.encoder, crop, detail | changes)


def ours(config: Config) -> Callable[[], Any]:
    """Return a function that makes one step."""
    prepare()
    return make_step(config)


def theirs(config: Config) -> Callable[[], Any]:
    """Return a function that makes one step the obvious way."""
    state = make_state(config)
    make_obvious(state)
    return partial(obvious_step, state, make_batch(config))


def inference(config: Config) -> Callable[[], Any]:
    """Return a function that segments one image."""
    prepare()
    network = make_state(config).student.segmenter.eval()
    image = make_batch(config).require_target().images[:1]

    def segment() -> None:
        with torch.inference_mode():
            network(image)

    return segment


def check_equal(config: Config) -> None:
    """Compare the losses of the first steps: the two ways differ by rounding only."""
    a, b = ours(config), theirs(config)
    for _ in range(2):
        mine, other = a(), b()
        for name, value in other.items():
            assert math.isclose(value, mine[name].item(), rel_tol=2e-3, abs_tol=1e-5), (name, value, mine[name].item())


def print_ratios(arguments: argparse.Namespace) -> None:
    """Print PGPC to its base and, of DAFormer, the obvious way to ours."""
    base, clean = (configure(arguments, pgpc=pgpc) for pgpc in (False, True))
    mixed, student = {"contrast.anchor_view": "mixed"}, {"contrast.source_from": "student"}
    steps = {
        "base": partial(ours, base),
        "PGPC": partial(ours, clean),
        "PGPC, merged passes": partial(ours, configure(arguments, pgpc=True, **{"training.merge_passes": True})),
        "PGPC, source of the student": partial(ours, configure(arguments, pgpc=True, **student)),
        "PGPC, mixed": partial(ours, configure(arguments, pgpc=True, **mixed)),
        "PGPC, mixed, source of the student": partial(ours, configure(arguments, pgpc=True, **mixed, **student)),
    }
    compared = [(name, "base") for name in steps if name != "base"]
    if arguments.base == "daformer":
        small = argparse.Namespace(base="daformer", encoder="mit_b0", crop=64)
        for pgpc in (False, True):
            check_equal(configure(small, pgpc=pgpc))
        steps |= {"obvious base": partial(theirs, base), "obvious PGPC": partial(theirs, clean)}
        compared += [("obvious base", "base"), ("obvious PGPC", "PGPC")]
    steps |= {"one image, base": partial(inference, base), "one image, PGPC": partial(inference, clean)}
    compared += [("one image, PGPC", "one image, base")]
    compared = [row for row in compared if re.search(arguments.only, row[0])]
    steps = {name: make for name, make in steps.items() if any(name in row for row in compared)}
    times = in_turns_apart(steps, arguments.repetitions)
    print(f"base: {arguments.base}\n\n| step | seconds, median | to | ratio |\n| --- | --- | --- | --- |")
    for of, to in compared:
        print(f"| {of} | {np.median(times[of]):.3f} | {to} | {ratio(times, of, to):.3f} |", flush=True)


def print_profile(arguments: argparse.Namespace) -> None:
    """Print where the time of a step of the base goes: operators by what they take themselves."""
    step = ours(configure(arguments, pgpc=False))
    for _ in range(2):
        step()
    on_gpu = DEVICE.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]) as found:
        step()
    averages = found.key_averages()
    print(averages.table(sort_by=f"self_{DEVICE.type}_time_total", row_limit=20, max_name_column_width=40))


def print_precision(arguments: argparse.Namespace) -> None:
    """Print float32 to bfloat16."""
    steps = {p: partial(ours, configure(arguments, pgpc=False, **{"training.precision": p})) for p in PRECISIONS}
    times = in_turns_apart(steps, arguments.repetitions)
    print(f"{PRECISIONS[0]} to {PRECISIONS[1]}: ratio {ratio(times, *PRECISIONS):.2f}", flush=True)


def print_growth(arguments: argparse.Namespace) -> None:
    """Print the exponents of power laws that the time of a step with PGPC follows."""
    prepare()
    for what, (key, sizes) in GROWTH.items():
        steps = {str(n): ours(configure(arguments, pgpc=True, **{key: n})) for n in sizes}
        medians = [np.median(t) for t in in_turns(steps, arguments.repetitions).values()]
        grown = np.square(sizes) if key == "data.crop" else np.array(sizes)
        exponent = np.polyfit(np.log(grown), np.log(medians), 1)[0]
        shown = ", ".join(f"{n}: {t:.3f} s" for n, t in zip(sizes, medians))
        print(f"{what}: {shown}; exponent {exponent:.2f}", flush=True)


def main() -> None:
    """Print what the flags ask for: the ratios, if nothing else."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="daformer", choices=BASES, help="(default: %(default)s)")
    parser.add_argument("--encoder", default="mit_b1", help="(default: %(default)s)")
    parser.add_argument("--crop", type=int, default=256, help="(default: %(default)s)")
    parser.add_argument("--repetitions", type=int, default=3, help="turns (default: %(default)s)")
    parser.add_argument("--only", default="", metavar="REGEX", help="only rows whose step has such a name")
    tasks = parser.add_mutually_exclusive_group()
    for name, task, what in (
        ("growth", print_growth, "how a step with PGPC grows"),
        ("precision", print_precision, "what bfloat16 gives"),
        ("profile", print_profile, "where the time of a step of the base goes"),
    ):
        text = f"print {what} instead"
        tasks.add_argument(f"--{name}", dest="task", action="store_const", const=task, default=print_ratios, help=text)
    arguments = parser.parse_args()
    arguments.task(arguments)


if __name__ == "__main__":
    main()
