"""Peak memory of a training step with contrast: measured on a GPU where there is one, else computed.

    python -m tests.benchmarks.memory [gta5-cityscapes/daformer+pgpc ...] [--set training.precision=bfloat16]

How it is computed is in `pgpc.training.step_memory`, by whose rule a run merges its passes. That leaves out what only a
GPU has: the CUDA context (about 0.5 GiB), workspaces of convolutions, fragmentation. Each row stands beside its base,
each in a process of its own; the ratio is what the contrast costs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

import pgpc
from pgpc.bases import make_base
from pgpc.config import Config, parse_settings
from pgpc.training.step_memory import STEPS, computed_bytes
from tests.benchmarks.timing import make_batch, with_encoder_weights

PRESETS = ["gta5-cityscapes/daformer+pgpc", "gta5-cityscapes/mic-daformer+pgpc", "gta5-cityscapes/hrda+pgpc"]
LIMITS = {"daformer": 11, "mic-daformer": 11, "hrda": 24, "mic-hrda": 24}
"""GiB of the cards that a base with PGPC should fit on."""


def peak_bytes(config: Config) -> int:
    """Return the peak memory of some training steps in bytes."""
    if not torch.cuda.is_available():
        return computed_bytes(config)
    base, device = make_base(config), torch.device("cuda")
    state = base.new_state(device)
    torch.cuda.reset_peak_memory_stats()
    for _ in range(STEPS):
        base.step(state, make_batch(config))
    return torch.cuda.max_memory_allocated()


def _resolve(name: str, settings: dict[str, str], encoder: Path) -> Config:
    """Return the preset with contrast from the first step on, and weights that the feature distance can refer to."""
    config = pgpc.override(pgpc.preset(name), {"contrast.start": 0, "contrast.fill": 0, **settings})
    return with_encoder_weights(config, encoder)


def main() -> None:
    """Print a row for each preset."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="*", default=PRESETS, help="with +pgpc (default: %(default)s)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    settings = parse_settings(arguments.settings)
    if arguments.one:
        with tempfile.TemporaryDirectory() as folder:
            print(peak_bytes(_resolve(arguments.one, settings, Path(folder) / "encoder.pt")))
        return

    how = f"measured on {torch.cuda.get_device_name()}" if torch.cuda.is_available() else "computed"
    print(f"| preset {json.dumps(settings) if settings else ''} | peak GiB, {how} | base | ratio | card |")
    print("| --- | --- | --- | --- | --- |")
    for name in arguments.presets:
        ours, base = (in_its_own_process(n, arguments.settings) / 2**30 for n in (name, name.removesuffix("+pgpc")))
        limit = LIMITS.get(name.split("/")[1].removesuffix("+pgpc"))
        card = f"{'fits' if ours < limit else 'does not fit'} {limit}" if limit else ""
        print(f"| {name} | {ours:.2f} | {base:.2f} | {ours / base:.2f} | {card} |", flush=True)


def in_its_own_process(name: str, settings: list[str]) -> int:
    """Return the peak memory of some training steps in bytes, of a preset with settings like "model.encoder=mit_b0"."""
    changes = [word for setting in settings for word in ("--set", setting)]
    command = [sys.executable, "-m", "tests.benchmarks.memory", "--one", name, *changes]
    return int(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


if __name__ == "__main__":
    main()
