"""Whether the loader keeps ahead of the step: images per second of both, one after the other in one run.

    python -m tests.benchmarks.loader_ahead [--encoder mit_b0] [--batches 10]

Pictures of GTA5's and Cityscapes' sizes, as in tests.benchmarks.loader, crops of 512 pixels, two of each domain a step.
On CPUs both are counted per second of processor time: one loader process beside one thread that steps. On a GPU the
step's time is wall-clock time, and the ratio is how many times one loader process covers it.

Measured on 2 shared CPU cores, 2026-11-23: 44 images/s beside 0.23 of MiT-B0's step, 192 times; a step on a GPU would
have to be faster than 90 ms before one loader process is too slow for it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import pgpc
from pgpc.data.shards.reader import Shards
from tests.benchmarks.loader import rates, write_data
from tests.benchmarks.timing import in_turns, make_config, make_step, prepare
from tests.helpers.training import training_batches


def main() -> None:
    """Print both rates and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="mit_b0", help="of the network (default: %(default)s)")
    parser.add_argument("--batches", type=int, default=10, help="of the loader (default: %(default)s)")
    arguments = parser.parse_args()
    prepare()
    config = make_config("gta5-cityscapes/daformer", arguments.encoder, 512)
    num_images = 2 * config.training.batch_size
    with tempfile.TemporaryDirectory() as folder:
        write_data(Path(folder))
        source, target = (Shards.open(Path(folder) / f"{name}-shards", "train") for name in ("gta5", "cityscapes"))
        loading = pgpc.override(
            config,
            {"training.iterations": arguments.batches, "data.loader_workers": 1, "data.rare_class_sampling": False},
        )
        _, loaded = rates(training_batches(loading, source, target), num_images * arguments.batches)
    step = in_turns({"step": make_step(config)}, 2)["step"]
    stepped = num_images / statistics.median(step)
    print(
        f"one loader process {loaded:.1f} images/s, the step with {arguments.encoder} {stepped:.2f}: "
        f"ratio {loaded / stepped:.1f}"
    )


if __name__ == "__main__":
    main()
