"""Target mIoU on the embedded pair: source-only, the base, PGPC, and the oracle trained on target labels.

    python -m tests.benchmarks.streets_table [--seeds 0,1,2] [--jobs 2] [--out results/streets-table]

Runs every preset with every seed, `--jobs` at a time, one thread each, and prints a Markdown table. What is finished
in `--out` is not run again, and what was interrupted goes on from its last checkpoint.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

import pgpc
from pgpc.training import read_checkpoint

ROWS = {
    "source-only": "streets/source-only",
    "DAFormer": "streets/daformer",
    "PGPC": "streets/daformer+pgpc",
    "oracle": "streets/oracle",
}


def score(preset: str, seed: int, folder: Path) -> dict[str, float]:
    """The final metrics of one run, training it as far as that is still to be done."""
    finished = folder / "checkpoint.pt"
    if finished.exists():
        state = read_checkpoint(folder)
        if state["step"] == pgpc.preset(preset).training.iterations:
            return state["metrics"]
    command = [sys.executable, "-m", "pgpc", "train", preset, "--set", f"seed={seed}", "--out", str(folder)]
    command += ["--resume"] if finished.exists() else []
    run = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    if run.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{run.stderr}")
    metrics = read_checkpoint(folder)["metrics"]
    print(f"{preset} seed {seed}: mIoU {metrics['mIoU']:.2f} after {metrics['seconds']:.0f} s", file=sys.stderr)
    return metrics


def main() -> None:
    """Run what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2", help="comma-separated (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("results/streets-table"), help="default: %(default)s")
    arguments = parser.parse_args()
    seeds = [int(s) for s in arguments.seeds.split(",")]

    with ThreadPoolExecutor(arguments.jobs) as pool:
        # Seed by seed, so that a first comparison is there early.
        runs = {
            (name, seed): pool.submit(score, preset, seed, arguments.out / name / str(seed))
            for seed in seeds
            for name, preset in ROWS.items()
        }
        metrics = {key: run.result() for key, run in runs.items()}

    print(f"| | mIoU, mean ± std over seeds {arguments.seeds} | against DAFormer, paired | seconds |")
    print("| --- | --- | --- | --- |")
    base = np.array([metrics["DAFormer", seed]["mIoU"] for seed in seeds])
    for name in ROWS:
        miou = np.array([metrics[name, seed]["mIoU"] for seed in seeds])
        seconds = np.mean([metrics[name, seed]["seconds"] for seed in seeds])
        deviation = f" ± {miou.std(ddof=1):.1f}" if len(seeds) > 1 else ""
        paired = " ".join(f"{d:+.1f}" for d in miou - base)
        print(f"| {name} | {miou.mean():.1f}{deviation} | {(miou - base).mean():+.1f} ({paired}) | {seconds:.0f} |")


if __name__ == "__main__":
    main()
