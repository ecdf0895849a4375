"""The training step: ours beside the obvious way of writing it, and with PGPC beside its base, in turns in one run.

    python -m tests.benchmarks.step [--encoder mit_b1] [--crop 256] [--repetitions 5] [--growth] [--precision]

Prints, of DAFormer with two source and two target images: the obvious step (tests/benchmarks/obvious.py) to ours; PGPC
to DAFormer, for both views of the anchors; segmenting an image with a network trained with PGPC to one without. With
`--growth`, how a step with PGPC grows with its sizes, as the exponent of a fitted power law (0 not at all, 1
proportionally). With `--precision`, bfloat16 to float32. The first losses of the obvious step must equal ours.

One thread on CPUs, processor time; on a GPU wall-clock time.

Expected of PGPC, from multiplications (MiT-B5, 512 pixels, 10^9 per image: encoder 72, decoder 57; DAFormer's step is
975): the clean target view adds the teacher's encoder on the source and the student's on the target with its backward
pass, 288 or 30 %; the mixed view only the first of these, 72 or 7 %, so below 5 % it can only come where the memory
needs no source pass (contrast.positive=target_prototype, contrast.negative=target). The contrast among drawn pixels
comes on top, a fixed cost of C M N that is large beside small crops and encoders. Segmenting: 1.00.

Measured on 2 shared CPU cores, 2026-11-23, OMP_NUM_THREADS=1, few turns on a busy machine; nothing on a GPU:

- obvious to ours, DAFormer: MiT-B0 at 192 pixels 1.04, MiT-B5 at 64 pixels 1.41 (expected 1.3: the second backward pass
  through the encoder weighs more the larger that is). Both with `keep_freed_memory`, which the obvious step would lack:
  it alone took MiT-B0 at 256 pixels from 6.4 to 5.5 s, 1.16.
- DAFormer's decoder with channels first instead of last: PGPC with MiT-B1 at 256 pixels from 10.8 to 8.4 s, 1.28; not
  expected, a dilated depthwise convolution with channels last took three times as long.
- one image, PGPC to DAFormer: 0.99.
- PGPC to DAFormer, MiT-B1 at 128 pixels: clean target 1.37, mixed 1.30, most of it the fixed cost (about 0.5 s of 1.8);
  MiT-B0 at 64 pixels 2.2 and 2.2. The crop of the presets, 16 to 64 times as large, was not measured.
"""

from __future__ import annotations

import argparse
import math
from functools import partial

import numpy as np
import torch

from pgpc.config import Config
from pgpc.training.step import train_step
from tests.benchmarks.obvious import make_obvious, obvious_step
from torch.profiler import ProfilerActivity, profile
from tests.benchmarks.timing import DEVICE, in_turns, make_batch, make_config, make_state, prepare, ratio

BASE, PGPC = "gta5-cityscapes/daformer", "gta5-cityscapes/daformer+pgpc"
GROWTH = {
    "anchors M": {"contrast.anchors": [64, 128, 256]},
    "negatives N": {"contrast.negatives": [128, 256, 512]},
    "bank size": {"contrast.bank_size": [1024, 4096, 16384]},
    "classes C": {"model.num_classes": [7, 19, 50]},
    "pixels of the crop": {"data.crop": [128, 192, 256]},
}


def ours(config: Config):
    """A function that makes one step."""
    return partial(train_step, make_state(config), make_batch(config))


def theirs(config: Config):
    """The same the obvious way."""
    state = make_state(config)
    make_obvious(state)
    return partial(obvious_step, state, make_batch(config))


def check_equal(config: Config) -> None:
    """Compare the losses of the first steps; the two ways differ by rounding only."""
    a, b = ours(config), theirs(config)
    for _ in range(2):
        mine, other = a(), b()
        for name, value in other.items():
            assert math.isclose(value, mine[name].item(), rel_tol=2e-3, abs_tol=1e-5), (name, value, mine[name].item())


def inference(config: Config):
    """A function that segments one image."""
    network = make_state(config).student.segmenter.eval()
    image = make_batch(config).target_images[:1]

    def segment() -> None:
        with torch.inference_mode():
            network(image)

    return segment


def print_ratios(encoder: str, crop: int, repetitions: int) -> None:
    """Obvious to ours, and PGPC to its base."""
    base, target = (make_config(name, encoder, crop) for name in (BASE, PGPC))
    mixed = make_config(PGPC, encoder, crop, {"contrast.anchor_view": "mixed"})
    merged = make_config(PGPC, encoder, crop, {"training.merge_passes": True})
    for name in (BASE, PGPC):
        check_equal(make_config(name, "mit_b0", 64))
    times = in_turns(
        {"DAFormer": ours(base), "PGPC, clean target": ours(target), "PGPC, mixed": ours(mixed),
         "PGPC, merged passes": ours(merged), "obvious DAFormer": theirs(base), "obvious PGPC": theirs(target)},
        repetitions,
    )  # fmt: skip
    print("| step | seconds, median | to |  ratio |\n| --- | --- | --- | --- |")
    for of, to in (("PGPC, clean target", "DAFormer"), ("PGPC, mixed", "DAFormer"), ("PGPC, merged passes", "DAFormer"),
                   ("obvious DAFormer", "DAFormer"), ("obvious PGPC", "PGPC, clean target")):  # fmt: skip
        print(f"| {of} | {np.median(times[of]):.3f} | {to} | {ratio(times, of, to):.3f} |", flush=True)
    times = in_turns({"DAFormer": inference(base), "PGPC": inference(target)}, 4 * repetitions)
    print(f"| one image, PGPC | {np.median(times['PGPC']):.3f} | DAFormer | {ratio(times, 'PGPC', 'DAFormer'):.3f} |")


def print_profile(base: str, encoder: str, crop: int) -> None:
    """Where the time of a step goes: operators by what they take themselves."""
    step = ours(make_config(f"gta5-cityscapes/{base}", encoder, crop, {"model.detail_crop": crop // 2} if "hrda" in base else {}))
    step()
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if DEVICE.type == "cuda" else [])]
    with profile(activities=activities, record_shapes=True) as found:
        step()
    order = f"self_{DEVICE.type}_time_total"
    for by_shape in (0, 4):
        table = found.key_averages(group_by_input_shape=by_shape > 0)
        print(table.table(sort_by=order, row_limit=20, max_name_column_width=40, max_shapes_column_width=70))


def print_precision(encoder: str, crop: int, repetitions: int) -> None:
    """float32 to bfloat16."""
    steps = {p: ours(make_config(BASE, encoder, crop, {"training.precision": p})) for p in ("float32", "bfloat16")}
    print(f"float32 to bfloat16: ratio {ratio(in_turns(steps, repetitions), 'float32', 'bfloat16'):.2f}", flush=True)


def print_growth(encoder: str, crop: int, repetitions: int) -> None:
    """The exponents of power laws, of a step with PGPC."""
    for what, ((key, sizes),) in ((what, change.items()) for what, change in GROWTH.items()):
        steps = {str(n): ours(make_config(PGPC, encoder, crop, {key: n})) for n in sizes}
        medians = [np.median(t) for t in in_turns(steps, repetitions).values()]
        grown = np.square(sizes) if key == "data.crop" else np.array(sizes)
        exponent = np.polyfit(np.log(grown), np.log(medians), 1)[0]
        shown = ", ".join(f"{n}: {t:.3f} s" for n, t in zip(sizes, medians))
        print(f"{what}: {shown}; exponent {exponent:.2f}", flush=True)


def main() -> None:
    """Print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="mit_b1", help="(default: %(default)s)")
    parser.add_argument("--crop", type=int, default=256, help="(default: %(default)s)")
    parser.add_argument("--repetitions", type=int, default=5, help="turns (default: %(default)s)")
    parser.add_argument("--growth", action="store_true", help="print how a step grows instead")
    parser.add_argument("--precision", action="store_true", help="print what bfloat16 gives instead")
    parser.add_argument("--profile", metavar="BASE", help="print where the time of a step goes instead, of daformer, say")
    arguments = parser.parse_args()
    prepare()
    if arguments.profile:
        return print_profile(arguments.profile, arguments.encoder, arguments.crop)
    task = print_growth if arguments.growth else print_precision if arguments.precision else print_ratios
    task(arguments.encoder, arguments.crop, arguments.repetitions)


if __name__ == "__main__":
    main()
