"""All quick benchmarks, one after the other, each in a process of its own.

    python -m tests.benchmarks [--list] [NAME ...]

Every benchmark is also ``python -m tests.benchmarks.NAME``, with options of its own.
"""

from __future__ import annotations

import argparse
import ast
import os
import platform
import subprocess
import sys
from datetime import date
from pathlib import Path

import torch

QUICK = (
    "startup --repetitions 3",
    "contrast --rounds 1",
    "step --encoder mit_b0 --crop 128 --repetitions 1",
    "step --encoder mit_b0 --crop 128 --repetitions 2 --growth",
    "step_processes --crop 64",
    "hrda_evaluation",
    "loader --batches 4 --repetitions 1",
    "loader_ahead --batches 4",
)
"""What takes less than about two minutes, with the options that make it so. The others run only by name."""

ON_A_GPU = (
    "step --encoder mit_b5 --crop 512",
    "step --encoder mit_b5 --crop 512 --precision",
    "step --base hrda --encoder mit_b5 --crop 1024 --only PGPC",
    "hrda_evaluation --encoder mit_b5 --detail 512",
    "memory",
)
"""Besides, where there is one: the sizes of the presets."""

_NONE = ("__main__", "obvious", "timing")  # what benchmarks are made of


def names() -> list[str]:
    """All benchmarks."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in _NONE)


def summary(name: str) -> str:
    """The first line of a benchmark's docstring."""
    text = ast.get_docstring(ast.parse((Path(__file__).parent / f"{name}.py").read_text()))
    return text.partition("\n")[0]


def main() -> None:
    """Run them; the exit status is 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[*names(), []], help="(default: the quick ones)")
    parser.add_argument("--list", action="store_true", help="only list all; the quick ones have a star")
    arguments = parser.parse_args()
    if arguments.list:
        quick = {line.split()[0] for line in QUICK}
        for name in names():
            print(f"{'*' if name in quick else ' '} {name}: {summary(name)}")
        return
    on_a_gpu = torch.cuda.is_available()
    device = torch.cuda.get_device_name() if on_a_gpu else f"{platform.processor() or platform.machine()}, no GPU"
    print(f"{date.today()}; {device}, {os.cpu_count()} CPUs; torch {torch.__version__}")
    failed = []
    for line in arguments.names or [*QUICK, *(ON_A_GPU if on_a_gpu else ())]:
        name, *options = line.split()
        print(f"\n## {line}: {summary(name)}", flush=True)
        if subprocess.run([sys.executable, "-m", f"tests.benchmarks.{name}", *options]).returncode:
            failed.append(line)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
