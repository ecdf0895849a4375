"""Target mIoU on the embedded pair: every base with and without PGPC, and the oracle trained on target labels.

    python -m tests.benchmarks.streets_table [--rows daformer,hrda] [--seeds 0,1,2] [--iterations 300] [--jobs 2]

Runs the presets ``streets/{base}`` and ``streets/{base}+pgpc`` with every seed, `--jobs` at a time, one thread each,
and prints a Markdown table that compares every base with itself plus PGPC, seed by seed. What is finished in `--out`
is not run again, and what was interrupted resumes from its last checkpoint. Schedules are scaled with the iterations.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from pgpc import presets
from pgpc.config import flatten
from pgpc.models.checkpoint import read_checkpoint

BASES = tuple(base.name for base in presets.BASES)
SCALED = (
    "training.iterations",
    "contrast.start",
    "contrast.fill",
    "proca.source_iterations",
    "proca.source_horizon",
    "proca.self_training_iterations",
)


def settings(preset: str, iterations: int) -> dict[str, int]:
    """Return what makes a preset `iterations` long: all that counts iterations, except the optimizer's warmup."""
    config = presets.preset(preset)
    flat = flatten(config)
    factor = iterations / config.training.iterations
    scaled = {key: round(flat[key] * factor) for key in SCALED}
    return {**scaled, "training.eval_interval": min(config.training.eval_interval, iterations)}


def score(preset: str, seed: int, iterations: int, folder: Path) -> dict[str, float]:
    """Return the final metrics of one run, after training it as far as that is still to be done."""
    finished = folder / "checkpoint.pt"
    if finished.exists():
        state = read_checkpoint(folder)
        if state["step"] == iterations:
            return state["metrics"]
    command = [sys.executable, "-m", "pgpc", "train", preset, "--out", str(folder), "--set", f"seed={seed}"]
    command += [word for key, value in settings(preset, iterations).items() for word in ("--set", f"{key}={value}")]
    command += ["--resume"] if finished.exists() else []
    run = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    if run.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{run.stderr}")
    metrics = read_checkpoint(folder)["metrics"]
    print(f"{preset} seed {seed}: mIoU {metrics['mIoU']:.2f} after {metrics['seconds']:.0f} s", file=sys.stderr)
    return metrics


def print_table(rows: Sequence[str], scores: dict[str, np.ndarray], seeds: str) -> None:
    """Print one row per base: alone, with PGPC, and the difference of each seed."""
    print(f"| base | mIoU, mean ± std over seeds {seeds} | with PGPC | difference, seed by seed |")
    print("| --- | --- | --- | --- |")
    for row in rows:
        base, ours = scores[row], scores.get(f"{row}+pgpc")
        paired = "" if ours is None else f"{(ours - base).mean():+.1f} ({' '.join(f'{d:+.1f}' for d in ours - base)})"
        print(f"| {row} | {_mean(base)} | {'' if ours is None else _mean(ours)} | {paired} |")


def _mean(values: np.ndarray) -> str:
    return f"{values.mean():.1f}" + (f" ± {values.std(ddof=1):.1f}" if len(values) > 1 else "")


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default=",".join((*BASES, "oracle")), help="bases, oracle (default: all)")
    parser.add_argument("--seeds", default="0,1,2", help="comma-separated (default: %(default)s)")
    parser.add_argument("--iterations", type=int, default=300, help="of every run (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("results/streets-table"), help="default: %(default)s")
    arguments = parser.parse_args()
    seeds, rows = arguments.seeds.split(","), arguments.rows.split(",")
    names = [row + suffix for row in rows for suffix in ("", "+pgpc") if row != "oracle" or not suffix]

    with ThreadPoolExecutor(arguments.jobs) as pool:
        out = arguments.out / str(arguments.iterations)
        runs = {  # seed by seed, so that a first comparison is there early
            (name, seed): pool.submit(score, f"streets/{name}", int(seed), arguments.iterations, out / name / seed)
            for seed in seeds
            for name in names
        }
        scores = {name: np.array([runs[name, seed].result()["mIoU"] for seed in seeds]) for name in names}
    print_table(rows, scores, arguments.seeds)


if __name__ == "__main__":
    main()
