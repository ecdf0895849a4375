"""What batch norm's statistics of clean target images gain by themselves, without any contrast (AdaBN).

    OMP_NUM_THREADS=1 python -m tests.benchmarks.adabn [--seeds 0,1,2,3,4] [--iterations 200] [--out results/adabn]

On DAFormer's bases PGPC has one more pass of the student, over clean target images. With an encoder that has batch norm
it moves the running statistics towards the target, which counts in evaluation. Trains DAFormer with a ResNet-18 from
random weights on the embedded pair with that pass and ``contrast.weight=0``, once with
``contrast.clean_statistics=updated``, the default, and once ``frozen``: weights and pseudo-labels are the same, so that
the difference is AdaBN's. What is finished in `--out` is not trained again.
"""

from __future__ import annotations

import argparse
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from sweeps.estimates.differences import LEVEL, t_interval
from tests.benchmarks.streets_table import OTHER, score

WAYS = ("updated", "frozen")
SETTINGS = {"model.encoder": "resnet18", "model.pretrained": "none", "contrast.weight": 0.0}


def main() -> None:
    """Train what is missing and print both, and their difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[0, 1, 2, 3, 4])
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("results/adabn"))
    arguments = parser.parse_args()
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        runs = {
            (way, seed): pool.submit(
                score,
                f"daformer{OTHER}",
                seed,
                arguments.iterations,
                {**SETTINGS, "contrast.clean_statistics": way},
                arguments.out / str(arguments.iterations) / way / str(seed),
            )
            for seed in arguments.seeds
            for way in WAYS
        }
        found = {way: np.array([runs[way, seed].result()[0] for seed in arguments.seeds]) for way in WAYS}
    for way in WAYS:
        print(f"{way:<8} {found[way].mean():6.2f}  {' '.join(f'{value:.2f}' for value in found[way])}")
    differences = (found["updated"] - found["frozen"]).tolist()
    interval = t_interval(differences, LEVEL)
    of = f" ({interval.low:+.2f} to {interval.high:+.2f})" if interval else ""
    print(f"AdaBN's gain in mIoU: {np.mean(differences):+.2f}{of}")


if __name__ == "__main__":
    main()
