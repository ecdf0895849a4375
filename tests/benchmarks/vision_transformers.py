"""What a step on a plain vision transformer takes, beside one on MiT-B5: memory and multiplications, both computed.

    python -m tests.benchmarks.vision_transformers [--encoder vit_large_patch14_dinov2 ..] [--crop 512 ..]
        [--finetuning whole frozen lora] [--base vfm-uda] [--seconds]

Prints, with two images of each domain in float32, the peak memory of a step of the base with PGPC and of the base
alone, and what the step multiplies and adds, as a ratio to that of DAFormer + PGPC with MiT-B5 at the same crop. Memory
is that of tests/benchmarks/memory.py; operations are those that torch counts of convolutions, linear layers and
attention while the same steps run on tensors without data, as if on a GPU. ``--seconds`` also makes steps and measures
them beside MiT-B5's, in turns: one thread on CPUs, processor time.

Came out on 2026-11-30, nothing on a GPU, crops of 512, VFM-UDA + PGPC: ViT-B/14 4.2 GiB (base alone 4.0) and 0.67 of
the operations of DAFormer + PGPC with MiT-B5 (6.4 GiB), frozen 0.9 GiB and 0.33; ViT-L/14 11.6 GiB (11.5) and 2.17.
Seconds of a step at these sizes have not been measured: the cores were shared with twenty processes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import pgpc
from pgpc.bases import make_base
from pgpc.config import Config, flatten, parse_settings
from pgpc.contrast.loss import ALL_PRODUCTS
from pgpc.optimization.optimizer import make_optimizer
from tests.benchmarks.memory import peak_bytes
from tests.benchmarks.timing import in_turns_apart, make_batch, make_step, prepare, ratio, with_encoder_weights

REFERENCE = "gta5-cityscapes/daformer"
ENCODERS = ["vit_base_patch14_dinov2", "vit_large_patch14_dinov2"]
CROPS = [512, 1024]


def configure(preset: str, *, pgpc_is_on: bool, crop: int, **changes: object) -> Config:
    """Return a preset's config with the contrast from the first step on, two images of each domain, in float32."""
    fixed = {"data.crop": crop, "training.batch_size": 2, "training.precision": "float32"}
    fixed |= {"adaptation.ignore_top": 0, "adaptation.ignore_bottom": 0}
    contrast = {"contrast.start": 0, "contrast.fill": 0}
    name = f"{preset}{'+pgpc' if pgpc_is_on else ''}"
    return pgpc.override(pgpc.preset(name), {"model.pretrained": None, **fixed, **contrast, **changes})


def operations(config: Config) -> int:
    """Return how many multiplications and additions of a step torch counts."""
    base = make_base(config)
    state = base.new_state(torch.device("cpu"))
    ALL_PRODUCTS["cpu"] = ALL_PRODUCTS["cuda"]
    counter = FlopCounterMode(display=False)
    # Attention as plain products, which are counted; what a CPU fuses is not.
    with FakeTensorMode(allow_non_fake_inputs=True) as fake, sdpa_kernel(SDPBackend.MATH), counter:
        for module in (state.student, state.teacher, state.contrast, state.base, state.initial_encoder):
            if module is not None:
                module._apply(fake.from_tensor)
        state.optimizer = make_optimizer(state.student, config.optimizer, state.base)
        base.step(state, make_batch(config))
    return counter.get_total_flops()


def apart(config: Config, what: str) -> int:
    """Return one number of a config, from a process of its own."""
    default = flatten(pgpc.preset(config.name))
    changed = {key: value for key, value in flatten(config).items() if value != default[key]}
    settings = [
        word for key, value in changed.items() for word in ("--set", f"{key}={'none' if value is None else value}")
    ]
    command = [sys.executable, "-m", "tests.benchmarks.vision_transformers", "--one", what, config.name, *settings]
    return int(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def answer(what: str, name: str, settings: dict[str, str]) -> int:
    """Return one number of a preset with settings, in this process."""
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # or parameters could not become fake
    with tempfile.TemporaryDirectory() as folder:
        config = with_encoder_weights(pgpc.override(pgpc.preset(name), settings), Path(folder) / "encoder.pt")
        return {"bytes": peak_bytes, "operations": operations}[what](config)


def rows(arguments: argparse.Namespace, crop: int) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield the name and the changes of each row."""
    for encoder in arguments.encoder:
        for way in arguments.finetuning:
            yield f"{encoder}, {way}", {"model.encoder": encoder, "model.finetuning": way}


def step_of(config: Config) -> object:
    """Return a function that makes one step."""
    prepare()
    return make_step(config)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", nargs="+", default=ENCODERS, help="(default: %(default)s)")
    parser.add_argument("--crop", nargs="+", type=int, default=CROPS, help="(default: %(default)s)")
    parser.add_argument("--finetuning", nargs="+", default=["whole", "frozen"], help="(default: %(default)s)")
    parser.add_argument("--base", default="vfm-uda", help="(default: %(default)s)")
    parser.add_argument("--seconds", action="store_true", help="measure steps instead")
    parser.add_argument("--repetitions", type=int, default=1, help="turns (default: %(default)s)")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--set", action="append", default=[], dest="settings", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(answer(*arguments.one, parse_settings(arguments.settings)))
        return
    preset = f"gta5-cityscapes/{arguments.base}"
    for crop in arguments.crop:
        reference = configure(REFERENCE, pgpc_is_on=True, crop=crop)
        if arguments.seconds:
            steps = {"MiT-B5": partial(step_of, reference)}
            for name, changes in rows(arguments, crop):
                steps[name] = partial(step_of, configure(preset, pgpc_is_on=True, crop=crop, **changes))
            times = in_turns_apart(steps, arguments.repetitions)
            for name in steps:
                print(f"crop {crop}: {name}: {ratio(times, name, 'MiT-B5'):.2f} of MiT-B5's step", flush=True)
            continue
        print(f"| crops of {crop} | GiB with PGPC | base alone | 10^12 operations a step | to MiT-B5 |", flush=True)
        print("| --- | --- | --- | --- | --- |")
        of_reference = apart(reference, "operations")
        table = [
            ("MiT-B5, DAFormer", REFERENCE, {}),
            *((name, preset, changes) for name, changes in rows(arguments, crop)),
        ]
        for name, of, changes in table:
            ours, base = (configure(of, pgpc_is_on=on, crop=crop, **changes) for on in (True, False))
            memory = [apart(config, "bytes") / 2**30 for config in (ours, base)]
            count = apart(ours, "operations")
            figures = f"{memory[0]:.1f} | {memory[1]:.1f} | {count / 1e12:.1f} | {count / of_reference:.2f}"
            print(f"| {name} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
