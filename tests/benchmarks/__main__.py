"""All quick benchmarks, one after the other, each in a process of its own.

    python -m tests.benchmarks [--list] [NAME ...]

Every benchmark is also ``python -m tests.benchmarks.NAME``, with options of its own.
"""

from __future__ import annotations

import argparse
import ast
import subprocess
import sys
from pathlib import Path

QUICK: dict[str, list[str]] = {
    "startup": ["--repetitions", "3"],
    "contrast": ["--rounds", "1"],
    "step": ["--encoder", "mit_b0", "--crop", "128", "--repetitions", "3"],
    "step_processes": ["--crop", "64"],
    "hrda_evaluation": [],
    "loader": ["--batches", "4", "--repetitions", "1"],
}
"""What takes less than about two minutes, with the options that make it so. The others run only by name."""

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
        for name in names():
            print(f"{'*' if name in QUICK else ' '} {name}: {summary(name)}")
        return
    failed = []
    for name in arguments.names or QUICK:
        print(f"\n## {name}: {summary(name)}", flush=True)
        options = [] if arguments.names else QUICK[name]
        if subprocess.run([sys.executable, "-m", f"tests.benchmarks.{name}", *options]).returncode:
            failed.append(name)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
