"""Everything that this project claims about GPUs, measured on the one at hand: prediction beside outcome.

    python -m tests.benchmarks --gpu [--minutes 10]

It needs a card of CUDA (80 GB are enough for all rows), a checkout, and torch, torchvision, timm, numpy, pillow,
pyarrow, tensorboard and pytest; no network, no data and no weights. Each row runs in a process of its own. What no time
is left for is said, and so is what failed.

Nothing has run yet. What is predicted, and from what: a host launches 100,000 to 200,000 operators a second, so that a
step takes at least 5 to 10 us for each of its operators; peak memory is that of `pgpc.training.step_memory`, with what
only a GPU has on top; the contrast's 1.1 to 1.7 ms are derived in tests/benchmarks/contrast.py. The ratios between
float32, bfloat16 and the obvious way are guesses.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import torch

from tests.benchmarks.gpu_step import WAYS, Outcome

_LAUNCH_US = (5.0, 10.0)
"""Microseconds in which a host launches an operator: the least and the most that is expected."""
_GIB = 2**30
COMPUTED_GIB = {
    "DAFormer, float32": 6.2,
    "PGPC, float32": 6.4,
    "PGPC, TF32, merged": 13.4,
    "HRDA, float32": 11.1,
    "HRDA with PGPC, float32": 11.3,
}
"""Peak memory of the tables in docs/tasks.md and docs/networks.md."""
FIRST = (
    *("DAFormer, obvious", "DAFormer, float32", "PGPC, float32", "DAFormer, TF32, merged", "PGPC, TF32, merged"),
    *("DAFormer, bfloat16, merged", "PGPC, bfloat16, merged", "HRDA, TF32, merged", "HRDA with PGPC, TF32, merged"),
    *("HRDA, float32", "HRDA with PGPC, float32", "HRDA, bfloat16, merged", "HRDA with PGPC, bfloat16, merged"),
)
"""Ways that come first, since claims need them; the others follow as long as there is time."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What is said of a GPU, as one number.

    Attributes:
        name: What the number is.
        predicted: What is expected of it, in words.
        low: Least number that meets the goal.
        high: Largest number that meets the goal.
    """

    name: str
    predicted: str
    low: float = float("-inf")
    high: float = float("inf")

    def row(self, found: float | None) -> str:
        """Return a row of the table: prediction, goal, outcome.

        Args:
            found: The number; None where nothing was measured.
        """
        goals = [f"at least {self.low:g}"] if self.low > float("-inf") else []
        goals += [f"at most {self.high:g}"] if self.high < float("inf") else []
        goal = " and ".join(goals) or "none"
        if found is None:
            return f"| {self.name} | {self.predicted} | {goal} | not measured | |"
        verdict = "" if not goals else "met" if self.low <= found <= self.high else "missed"
        return f"| {self.name} | {self.predicted} | {goal} | {found:.3g} | {verdict} |"


class Clock:
    """How much time is left.

    Args:
        seconds: How much there is.
    """

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds that are left; 0 where none are."""
        return max(self._end - time.monotonic(), 0.0)


def launching(operators: int) -> str:
    """Return how long launching a step is expected to take, in milliseconds."""
    low, high = (operators * us / 1e3 for us in _LAUNCH_US)
    return f"{low:.0f} to {high:.0f}"


def run(clock: Clock, *words: str) -> str | None:
    """Return what a module prints, run in a process of its own; None where it fails or no time is left.

    Args:
        clock: How much time is left.
        words: The module and its arguments.
    """
    if clock.left < 5:
        print(f"No time is left for {' '.join(words)}.", flush=True)
        return None
    command = [sys.executable, "-m", *words]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=clock.left)
    except subprocess.TimeoutExpired:
        print(f"No time was left to finish {' '.join(words)}.", flush=True)
        return None
    if done.returncode:
        print(f"{' '.join(words)} failed: {(done.stdout.strip().splitlines() or ['nothing said'])[-1]}", flush=True)
        return None
    return done.stdout


def number_in(text: str | None, pattern: str) -> float | None:
    """Return the number behind a pattern in a text, which may be None; None where there is none."""
    found = re.search(rf"{pattern} ([\d.]+\d)", text or "")
    return None if found is None else float(found[1])


def print_steps(clock: Clock, measured: Callable[[str], Outcome | None]) -> dict[str, Outcome]:
    """Print a row for each way of making a step, and return what was measured.

    Args:
        clock: How much time is left.
        measured: Measures a way by its name.
    """
    print("\n| step | ms | images/s | launching, ms | operators | launching, predicted | peak GiB | computed GiB |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    found: dict[str, Outcome] = {}
    for name in [*FIRST, *(name for name in WAYS if name not in FIRST)]:
        outcome = measured(name) if clock.left else None
        computed = f"{COMPUTED_GIB[name]:.1f}" if name in COMPUTED_GIB else ""
        if outcome is None:
            print(f"| {name} | not measured | | | | | | {computed} |", flush=True)
            continue
        found[name] = outcome
        print(
            f"| {name} | {outcome.milliseconds:.1f} | {1e3 * outcome.images / outcome.milliseconds:.1f} | "
            f"{outcome.launching:.1f} | {outcome.operators:,} | {launching(outcome.operators)} | "
            f"{outcome.peak / _GIB:.1f} | {computed} |",
            flush=True,
        )
    return found


def ratio(steps: dict[str, Outcome], of: str, to: str) -> float | None:
    """Return what a step takes to what another one takes; None where one was not measured."""
    return steps[of].milliseconds / steps[to].milliseconds if of in steps and to in steps else None


def claims_of_steps(steps: dict[str, Outcome]) -> list[tuple[Claim, float | None]]:
    """Return the claims that compare steps, each with what came out."""
    obvious = Claim(name="obvious DAFormer to ours, float32", predicted="1.1 to 1.5")
    half = Claim(name="float32 to bfloat16, DAFormer", predicted="1.5 to 2.5")
    default = Claim(name="PGPC to DAFormer, by default", predicted="1.07 to 1.16", high=1.10)
    both_half = Claim(name="PGPC to DAFormer, bfloat16", predicted="1.07 to 1.16", high=1.10)
    hrda = Claim(name="HRDA with PGPC to HRDA, by default", predicted="1.05 to 1.15", high=1.10)
    of = (
        (obvious, "DAFormer, obvious", "DAFormer, float32"),
        (half, "DAFormer, float32", "DAFormer, bfloat16"),
        (default, "PGPC, TF32, merged", "DAFormer, TF32, merged"),
        (both_half, "PGPC, bfloat16, merged", "DAFormer, bfloat16, merged"),
        (hrda, "HRDA with PGPC, TF32, merged", "HRDA, TF32, merged"),
    )
    return [(claim, ratio(steps, a, b)) for claim, a, b in of]


def other_claims(clock: Clock) -> list[tuple[Claim, float | None]]:
    """Measure and return the claims about all but steps, each with what came out."""
    parts = run(clock, "tests.benchmarks.contrast", "--step")
    evaluation = run(clock, "tests.benchmarks.hrda_evaluation", "--encoder", "mit_b5", "--detail", "512")
    loader = run(clock, "tests.benchmarks.loader_ahead", "--encoder", "mit_b5")
    cards = torch.cuda.device_count()
    processes = None
    if cards > 1:
        sizes = ("--encoder", "mit_b5", "--crop", "512", "--processes", str(cards))
        processes = run(clock, "tests.benchmarks.step_processes", *sizes)
    equal = run(clock, "pytest", "-q", "-n0", "-p", "no:cacheprovider", "tests/test_on_a_gpu.py", *_TESTS)
    failed = None if equal is None and clock.left < 5 else float(equal is None)
    contrast = Claim(name="contrast of a step, ms", predicted="1.1 to 1.7", high=2.0)
    batches = Claim(name="HRDA's evaluation in batches, times as fast", predicted="2", low=2.0)
    ahead = Claim(name="images of one loader process to those of the step", predicted="2 to 4", low=1.0)
    nccl = Claim(name=f"efficiency of {cards} cards, NCCL", predicted="0.9", low=0.9)
    return [
        (contrast, number_in(parts, "negatives per anchor:")),
        (batches, number_in(evaluation, "ratio")),
        (ahead, number_in(loader, "ratio")),
        (nccl, number_in(processes, "efficiency")),
        (Claim(name="runs of the tests of equality that failed", predicted="0", high=0), failed),
    ]


_TESTS = ("tests/bases/test_self_training.py", "-k", "gpu")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all that there is time for; exit with one line where there is no GPU.

    Args:
        arguments: The words of the command line; None takes those of the process.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long it may take (default: %(default)s)")
    minutes = parser.parse_args(arguments).minutes
    if not torch.cuda.is_available():
        sys.exit("There is no GPU of CUDA here: nothing was measured.")
    clock = Clock(60 * minutes)
    cards = torch.cuda.device_count()
    host = f"{os.cpu_count()} CPUs; torch {torch.__version__}"
    print(f"{date.today()}; {torch.cuda.get_device_name()}, {cards} of them; {host}")
    others = other_claims(Clock(min(clock.left, 0.35 * 60 * minutes)))

    def measured(name: str) -> Outcome | None:
        text = run(clock, "tests.benchmarks.gpu_step", name)
        plain: dict[str, Any] | None = None if text is None else json.loads(text.strip().splitlines()[-1])
        return None if plain is None else Outcome(**plain)

    steps = print_steps(clock, measured)
    print("\n| claim | predicted | goal | came out | |\n| --- | --- | --- | --- | --- |")
    for claim, found in [*claims_of_steps(steps), *others]:
        print(claim.row(found))


if __name__ == "__main__":
    main()
