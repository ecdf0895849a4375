"""The command line of a sweep, and how it agrees with what a sweep that is resumed was started with."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from typing import Any

from sweeps.algorithms import SAMPLERS, SCHEDULERS

DEFAULTS: Mapping[str, Any] = {
    "preset": "streets",
    "set": [],
    "seed": None,
    "trials": 5,
    "time_budget": None,
    "search": "tpe",
    "scheduler": "asha",
    "workers": 2,
    "cpus_per_worker": None,
    "gpus_per_worker": None,
    "concurrency": None,
    "address": None,
    "storage": "./results",
    "name": None,
    "resume": None,
}
IDENTITY = ("preset", "set", "seed", "search", "scheduler", "workers")
"""Flags that make a sweep what it is: a resumed sweep keeps them. The others may be given anew."""

EXAMPLES = """examples:
  python sweeps/run_ablation.py                                    the embedded streets, 5 trials, minutes on a laptop
  python sweeps/run_ablation.py --trials 40 --time-budget 2h --name first
  python sweeps/run_ablation.py --resume first --trials 60         go on after Ctrl-C, a crash, or for more trials
  python sweeps/run_ablation.py --set training.iterations=400 --set contrast.eta=0.5
  python sweeps/run_ablation.py --preset gta5-cityscapes/daformer+pgpc --address auto --storage /shared/results \\
      --set data.source=/data/gta5 --set data.target=/data/cityscapes --workers 4 --gpus-per-worker 1
"""


def build_parser() -> argparse.ArgumentParser:
    """Options that are not given are absent from the namespace, so that `--resume` can tell them from defaults."""
    parser = argparse.ArgumentParser(
        prog="run_ablation.py",
        description="Sweeps the contrast's parameters r, eta, weight, anchors and negatives with Ray Tune and Optuna. "
        "Each trial is a distributed training of its own; the first has the preset's own values, and the reference "
        "'base', the same training without contrast, is run beside the search.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    what = parser.add_argument_group("what is trained")
    what.add_argument("--preset", metavar="NAME", help="named config to start from (default: streets)")
    what.add_argument(
        "--set",
        action="append",
        metavar="KEY=VALUE",
        help="change one value of the config, e.g. training.iterations=400; repeatable. A parameter of the search that "
        "is set here keeps this value in all trials. `pgpc show PRESET` lists all keys",
    )
    what.add_argument(
        "--seed",
        type=_natural,
        metavar="N",
        help="of the trainings and of the search (default: the preset's)",
    )

    search = parser.add_argument_group("how it is searched")
    search.add_argument(
        "--trials",
        type=_positive,
        metavar="N",
        help="trials of the search, failed ones included (default: 5)",
    )
    search.add_argument(
        "--time-budget",
        type=seconds,
        metavar="TIME",
        help="stop after this time, e.g. 900, 30m, 2h; what then runs can be resumed (default: none)",
    )
    search.add_argument("--search", choices=sorted(SAMPLERS), help="Optuna sampler (default: tpe)")
    search.add_argument(
        "--scheduler",
        choices=SCHEDULERS,
        help="which trials are stopped early: by successive halving, below the median, or none (default: asha)",
    )

    where = parser.add_argument_group("what it runs on")
    where.add_argument("--workers", type=_positive, metavar="N", help="processes per trial (default: 2)")
    where.add_argument(
        "--gpus-per-worker", type=_share, metavar="N", help="(default: 1 if the cluster has any, else 0)"
    )
    where.add_argument(
        "--cpus-per-worker",
        type=_positive,
        metavar="N",
        help="(default: a GPU's share of the CPUs, at most 8; without GPUs 1)",
    )
    where.add_argument(
        "--concurrency", type=_positive, metavar="N", help="trials at the same time (default: as many as fit)"
    )
    where.add_argument(
        "--address", metavar="HOST:PORT", help="Ray cluster to join, or auto (default: this machine alone)"
    )

    results = parser.add_argument_group("what is left behind")
    results.add_argument(
        "--storage",
        metavar="FOLDER",
        help="results go to FOLDER/NAME; all nodes of a cluster must see it (default: ./results)",
    )
    results.add_argument("--name", metavar="NAME", help="of the sweep (default: the preset and the time)")
    results.add_argument(
        "--resume",
        nargs="?",
        const="",
        metavar="NAME",
        help="go on with the sweep NAME, or with the newest: finished trials are kept, interrupted ones continue from "
        "their last checkpoint. Flags that are not given are those of the first time",
    )
    return parser


def merge(given: Mapping[str, Any], stored: Mapping[str, Any] | None) -> dict[str, Any]:
    """All flags of a run: the given ones, then those of the sweep that is resumed, then the defaults.

    Raises:
        ValueError: a given flag would make the resumed sweep a different one.
    """
    if stored is not None:
        for key in IDENTITY:
            if key in given and given[key] != stored[key]:
                raise ValueError(
                    f"A resumed sweep keeps its --{key}, which was {stored[key]!r}, but got {given[key]!r}. "
                    "Leave the flag out, or start a new sweep under another --name."
                )
    return {**DEFAULTS, **(stored or {}), **given}


def seconds(text: str) -> float:
    """``"900"``, ``"900s"``, ``"30m"`` or ``"1.5h"`` in seconds."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text.strip().lower())
    if not match or float(match[1]) == 0:
        raise argparse.ArgumentTypeError(f"must be a time such as 900, 30m or 2h, but got {text!r}")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, but got {text!r}")
    return int(text)


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 0, but got {text!r}")
    return int(text)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not (0 <= value < 1 or (value >= 1 and value == int(value))):
        raise argparse.ArgumentTypeError(f"must be a whole number, or a share below 1, but got {text!r}")
    return value
