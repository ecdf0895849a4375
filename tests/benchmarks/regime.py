"""The four figures of the embedded pair's regime, without any contrast: whether there is something for it to work on.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.regime [--seeds 0] [--set KEY=VALUE ..] [--out results/regime]

Trains source-only, DAFormer and the oracle at the length of the default sweep's trials (the preset "streets"), from
what that starts from and from random weights, two at a time, one thread each. DAFormer is stopped where the memory bank
begins to fill, and its teacher is looked at there. What is finished in `--out` is not run again.

1. Classes that the teacher predicts (0.1 % of the pixels of 16 crops, or more): at least 12, better 14.
2. Mean weight q of its pseudo-labels: above 0.3.
3. Source-only, DAFormer and oracle: 5 points of mIoU apart from each other, or more.
4. Mean mIoU of the three over that from random weights at the same length: at least 2.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import pgpc
from pgpc.config import Config, flatten, override
from pgpc.diagnosis.diagnose import diagnose, load_run
from pgpc.models.checkpoint import CHECKPOINT
from pgpc.recipes.recipe import from_preset
from pgpc.training import ForkTrunk, Resume
from pgpc.training.trunk import length

ROWS = ("source-only", "daformer", "oracle")
STEPS = 8
LEAST_SHARE = 0.1
LENGTHS = ("training.iterations", "training.eval_interval", "contrast.start", "contrast.fill")


def config_of(row: str, seed: int, settings: dict[str, str], *, pretrained: bool) -> Config:
    """Return a row's config at the length of the preset "streets"."""
    short = flatten(from_preset("streets", settings).config)
    lengths = {key: short[key] for key in LENGTHS} | {"optimizer.warmup": short["optimizer.warmup"]}
    changes = {**lengths, **settings, "seed": seed, "evaluation.criteria_images": 0}
    return override(pgpc.preset(f"streets/{row}"), changes | ({} if pretrained else {"model.pretrained": None}))


def run(config: Config, out: Path, *, teacher: bool) -> dict[str, float]:
    """Train one row as far as that is still to be done; return its mIoU, its seconds and, if asked, the teacher's."""
    found: dict[str, float] = {}
    begin = Resume(out) if (out / CHECKPOINT).is_file() else pgpc.training.FRESH
    if teacher:
        trunk = out.with_name(f"{out.name}-until-contrast")
        if not (trunk / "warm_up.json").is_file():
            pgpc.train(config, out=trunk, until=length(config))
        state, left_out = load_run(trunk, {})
        seen = diagnose(
            state, num_steps=STEPS, least_share=LEAST_SHARE, left_out=left_out, on_progress=lambda done, of: None
        )
        found = {"predicted": len(seen.predicted), "q": seen.q}
        begin = begin if isinstance(begin, Resume) else ForkTrunk(trunk)
    metrics = pgpc.train(config, out=out, begin=begin).metrics
    return {**found, "mIoU": metrics["mIoU"], "seconds": metrics["seconds"]}


def results(arguments: argparse.Namespace) -> dict[tuple[str, int, bool], dict[str, float]]:
    """Return what every row, seed and beginning comes to; each is run in a process of its own."""
    wanted = [(row, seed, pretrained) for pretrained in (True, False) for seed in arguments.seeds for row in ROWS]

    def one(row: str, seed: int, pretrained: bool) -> dict[str, float]:
        file = arguments.out / f"{row}-{seed}-{'pretrained' if pretrained else 'random'}.json"
        if not file.is_file():
            command = [sys.executable, "-m", "tests.benchmarks.regime", "--one", row, "--seeds", str(seed)]
            command += ["--random"] * (not pretrained) + ["--out", str(arguments.out)]
            command += [word for setting in arguments.set for word in ("--set", setting)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
        found: dict[str, float] = json.loads(file.read_text())
        print(f"{file.stem}: mIoU {found['mIoU']:.1f}, {found['seconds']:.0f} s", file=sys.stderr, flush=True)
        return found

    with ThreadPoolExecutor(arguments.jobs) as pool:
        return dict(zip(wanted, pool.map(lambda which: one(*which), wanted), strict=True))


def print_figures(found: dict[tuple[str, int, bool], dict[str, float]], seeds: Sequence[int]) -> None:
    """Print the four figures, means over the seeds, and whether each holds."""

    def mean(name: str, row: str, pretrained: bool = True) -> float:
        return float(np.mean([found[row, seed, pretrained][name] for seed in seeds]))

    source, ours, oracle = (mean("mIoU", row) for row in ROWS)
    ratio = (source + ours + oracle) / sum(mean("mIoU", row, False) for row in ROWS)
    predicted, q = mean("predicted", "daformer"), mean("q", "daformer")
    lines = [
        (predicted >= 12, f"classes that the teacher predicts when the bank begins to fill: {predicted:.1f} of 19"),
        (q > 0.3, f"mean weight q of its pseudo-labels: {q:.2f}"),
        (
            min(ours - source, oracle - ours) >= 5,
            f"mIoU: source-only {source:.1f}, DAFormer {ours:.1f} ({ours - source:+.1f}), oracle {oracle:.1f} "
            f"({oracle - ours:+.1f})",
        ),
        (ratio >= 2, f"mean mIoU over that from random weights at the same length: {ratio:.2f}"),
    ]
    for number, (holds, text) in enumerate(lines, 1):
        print(f"{number}. {'holds' if holds else 'FAILS'}: {text}")
    print(f"Seeds {', '.join(map(str, seeds))}; {mean('seconds', 'daformer'):.0f} s of one thread for DAFormer.")


def main() -> None:
    """Run what is missing and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[0])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change one value in all rows")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("results/regime"), help="default: %(default)s")
    parser.add_argument("--one", choices=ROWS, help=argparse.SUPPRESS)
    parser.add_argument("--random", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is None:
        print_figures(results(arguments), arguments.seeds)
        return
    (seed,), row, pretrained = arguments.seeds, arguments.one, not arguments.random
    name = f"{row}-{seed}-{'pretrained' if pretrained else 'random'}"
    config = config_of(row, seed, dict(text.split("=", 1) for text in arguments.set), pretrained=pretrained)
    found = run(config, arguments.out / name, teacher=row == "daformer")
    (arguments.out / f"{name}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
