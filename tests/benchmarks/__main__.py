"""All quick benchmarks, one after the other, each in a process of its own.

    python -m tests.benchmarks [--list] [NAME ...]
    python -m tests.benchmarks --gpu

Every benchmark is also ``python -m tests.benchmarks.NAME``, with options of its own. ``--gpu`` measures what is claimed
about GPUs, in ten minutes: see ``gpu.py``.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import torch

from tests.benchmarks import gpu

FOLDER = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A benchmark; it cannot be made without its module.

    Attributes:
        name: The name of its module.
        help: What it measures, in one line.
        quick: The options of each of its runs that take less than about two minutes; without any it runs only by name.
        on_a_gpu: The options of the runs that come on top where there is a GPU: the sizes of the presets.
    """

    name: str
    help: str
    quick: tuple[str, ...] = ()
    on_a_gpu: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not (FOLDER / f"{self.name}.py").is_file():
            raise ValueError(f"A benchmark must be a module of {FOLDER}, but there is no {self.name}.py.")


BENCHMARKS = (
    Benchmark(
        name="startup",
        help="how long importing pgpc and its commands' help take",
        quick=("--repetitions 3",),
    ),
    Benchmark(
        name="contrast",
        help="time and memory of the contrast, against the way it is published",
        quick=("--rounds 1",),
    ),
    Benchmark(
        name="step",
        help="the training step, against the obvious way of writing it, and with PGPC against its base",
        quick=(
            "--encoder mit_b0 --crop 128 --repetitions 1",
            "--encoder mit_b0 --crop 128 --repetitions 2 --growth",
        ),
        on_a_gpu=(
            "--encoder mit_b5 --crop 512",
            "--encoder mit_b5 --crop 512 --precision",
            "--base hrda --encoder mit_b5 --crop 1024 --only PGPC",
        ),
    ),
    Benchmark(
        name="operators",
        help="operators that a step launches, which a GPU must be told of one after the other",
        quick=("",),
    ),
    Benchmark(
        name="step_processes",
        help="how well two processes share the work of a step",
        quick=("--crop 64",),
    ),
    Benchmark(
        name="hrda_evaluation",
        help="segmenting an image with HRDA in batches, against one crop after the other",
        quick=("",),
        on_a_gpu=("--encoder mit_b5 --detail 512",),
    ),
    Benchmark(
        name="criteria",
        help="all criteria without labels, against an evaluation of 500 images of Cityscapes' sizes",
        quick=("--repetitions 1",),
        on_a_gpu=("--encoder mit_b5",),
    ),
    Benchmark(
        name="memory",
        help="peak memory of a training step with contrast, against its base",
        on_a_gpu=("",),
    ),
    Benchmark(
        name="projected_maps",
        help="time and memory of the contrast on a vision transformer's last block, against its pyramid",
        on_a_gpu=("--encoder vit_base_patch14_dinov2 --crop 512",),
    ),
    Benchmark(
        name="vision_transformers",
        help="memory and operations of a step on plain vision transformers, beside MiT-B5 (computed; about an hour)",
        on_a_gpu=("--seconds --repetitions 3",),
    ),
    Benchmark(
        name="loader",
        help="images per second of the loader, against folders and PIL",
        quick=("--batches 4 --repetitions 1",),
    ),
    Benchmark(
        name="loader_ahead",
        help="whether the loader keeps ahead of the step",
        quick=("--batches 4",),
    ),
    Benchmark(
        name="loader_memory",
        help="memory of the loader's processes, against processes that read the table",
    ),
    Benchmark(
        name="streets_table",
        help="target mIoU of every base with and without PGPC on the embedded pair, five seeds (about an hour)",
    ),
    Benchmark(name="adabn", help="what batch norm's statistics of the target gain alone; ten trainings"),
    Benchmark(
        name="regime",
        help="whether the embedded pair leaves something for the contrast to work on: four figures (minutes)",
    ),
    Benchmark(
        name="selection_evidence",
        help="how well criteria choose without labels: 32 trainings on the embedded pair (at most two hours)",
    ),
    Benchmark(
        name="seeded_runs",
        help="digests of short seeded runs, which a redesign must leave as they are, bit for bit",
    ),
    Benchmark(
        name="trial_overhead",
        help="what a trial of a sweep costs beside its training, against the pattern of Ray's guide",
    ),
    Benchmark(
        name="sweep_account",
        help="where the time of the default sweep goes: the share of training and evaluation (about five minutes)",
    ),
    Benchmark(
        name="sweep_scale",
        help="what the sweep itself costs per trial, as the number of trials grows",
    ),
    Benchmark(
        name="kill_sweep",
        help="what a sweep loses whose driver is killed again and again: nothing may be lost",
    ),
    Benchmark(
        name="report_time",
        help="how long the report of a sweep and its help take",
    ),
)
"""All benchmarks, in the order in which they run."""


def run(lines: list[tuple[Benchmark, str]]) -> list[str]:
    """Run benchmarks, each with its options, and return the command lines that failed."""
    failed = []
    for benchmark, options in lines:
        line = f"{benchmark.name} {options}".rstrip()
        print(f"\n## {line}: {benchmark.help}", flush=True)
        command = [sys.executable, "-m", f"tests.benchmarks.{benchmark.name}", *options.split()]
        if subprocess.run(command).returncode:
            failed.append(line)
    return failed


def main() -> None:
    """Run the benchmarks that are asked for; the exit status is 1 where one failed."""
    names = [benchmark.name for benchmark in BENCHMARKS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*names, []], help="(default: the quick ones)")
    parser.add_argument("--list", action="store_true", help="only list all; the quick ones have a star")
    parser.add_argument("--gpu", action="store_true", help="what is claimed about GPUs, prediction beside outcome")
    arguments = parser.parse_args()
    if arguments.gpu:
        gpu.main([])
        return
    if arguments.list:
        for benchmark in BENCHMARKS:
            print(f"{'*' if benchmark.quick else ' '} {benchmark.name}: {benchmark.help}")
        return
    on_a_gpu = torch.cuda.is_available()
    device = torch.cuda.get_device_name() if on_a_gpu else f"{platform.processor() or platform.machine()}, no GPU"
    print(f"{date.today()}; {device}, {os.cpu_count()} CPUs; torch {torch.__version__}")
    lines = [(BENCHMARKS[names.index(name)], "") for name in arguments.names]
    if not lines:
        lines = [(benchmark, options) for benchmark in BENCHMARKS for options in benchmark.quick]
        if on_a_gpu:
            lines += [(benchmark, options) for benchmark in BENCHMARKS for options in benchmark.on_a_gpu]
    if failed := run(lines):
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
