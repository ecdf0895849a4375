"""The command line of a sweep, and how it agrees with what a sweep that is resumed was started with."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from typing import Any

from sweeps.definition import objectives
from sweeps.definition.paper_tables import ABLATIONS, BASES, NUMBERS
from sweeps.search.algorithms import POPULATION, SAMPLERS, SCHEDULERS
from sweeps.search.replicates import METRIC

DEFAULTS: Mapping[str, Any] = {
    "preset": "streets",
    "set": [],
    "seed": None,
    "seeds": None,
    "table": None,
    "bases": None,
    "objectives": [METRIC],
    "trials": 5,
    "time_budget": None,
    "search": "tpe",
    "scheduler": "asha",
    "brackets": 1,
    "population": None,
    "space": None,
    "range": [],
    "enqueue": [],
    "warm_start": None,
    "warm_up": True,
    "workers": 2,
    "cpus_per_worker": None,
    "gpus_per_worker": None,
    "concurrency": None,
    "address": None,
    "storage": "./results",
    "name": None,
    "resume": None,
    "json": False,
}
IDENTITY = (
    "preset",
    "set",
    "seed",
    "seeds",
    "table",
    "bases",
    "objectives",
    "search",
    "scheduler",
    "brackets",
    "population",
    "space",
    "range",
    "workers",
)
"""Flags that make a sweep what it is: a resumed sweep keeps them. The others may be given anew."""
OF_ONE_DRIVER = ("resume", "time_budget", "enqueue", "warm_start", "json")
"""Flags that hold for the one time they are given."""
_OF_A_SEARCH = (
    "trials",
    "objectives",
    "search",
    "scheduler",
    "brackets",
    "population",
    "space",
    "range",
    "enqueue",
    "warm_start",
)

EXAMPLES = """examples:
  python sweeps/run_ablation.py                                    the embedded streets, 5 trials, minutes on a laptop
  python sweeps/run_ablation.py --trials 40 --time-budget 2h --name first
  python sweeps/run_ablation.py --resume first --trials 60         go on after Ctrl-C, a crash, or for more trials
  python sweeps/run_ablation.py --set training.iterations=400 --set contrast.eta=0.5
  python sweeps/run_ablation.py --range contrast.r=2:6 --range contrast.eta=0.2:0.8:0.2 --search grid
  python sweeps/run_ablation.py --scheduler pbt --population 4 --trials 12
  python sweeps/run_ablation.py --table 12 --seeds 0,1,2           the paper's Table 12, beside the paper's figures
  python sweeps/run_ablation.py --preset gta5-cityscapes/daformer+pgpc --address auto --storage /shared/results \\
      --set data.source=/data/gta5 --set data.target=/data/cityscapes --workers 4 --gpus-per-worker 1
"""


def build_parser() -> argparse.ArgumentParser:
    """Options that are not given are absent from the namespace, so that `--resume` can tell them from defaults."""
    parser = argparse.ArgumentParser(
        prog="run_ablation.py",
        description="Sweeps the contrast's parameters r, eta, weight, anchors and negatives with Ray Tune and Optuna. "
        "Each trial is a distributed training of its own; the first has the preset's own values, and the reference "
        "'base', the same training without contrast, is run beside the search. With --table it runs the rows of the "
        "paper's tables instead, and sets what comes out beside what the paper prints.",
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
    what.add_argument(
        "--seeds",
        type=_seeds,
        metavar="N,N,..",
        help="train everything with each of these seeds; means and paired differences are compared. A trial of the "
        "search that cannot reach the best mean any more is not given more seeds",
    )
    what.add_argument(
        "--table",
        type=_tables,
        metavar="N,N,..",
        help="run the rows of these tables of the paper instead of a search: 6 to 12, or all of these as 'all', are "
        "ablations of the preset; 1 to 4 compare bases with and without PGPC, and 5 their speed, on the preset's task",
    )
    what.add_argument(
        "--bases",
        type=_bases,
        metavar="NAME,NAME,..",
        help=f"bases of Tables 1 to 5 (default: the paper's: {', '.join(BASES)})",
    )

    search = parser.add_argument_group("how it is searched")
    search.add_argument(
        "--trials",
        type=_positive,
        metavar="N",
        help="trials of the search, failed ones included (default: 5; with --search grid the whole grid)",
    )
    search.add_argument(
        "--time-budget",
        type=seconds,
        metavar="TIME",
        help="stop after this time, e.g. 900, 30m, 2h; what then runs can be resumed (default: none)",
    )
    search.add_argument(
        "--objectives",
        type=_objectives,
        metavar="NAME,NAME,..",
        help=f"what trials are judged on: {METRIC}, and seconds of training or gpu_memory (the most GiB of a process). "
        f"With several no trial is stopped early, and the trials that none beats on all are marked (default: {METRIC})",
    )
    search.add_argument(
        "--search",
        choices=sorted(SAMPLERS),
        help="Optuna sampler, nsga2 for several objectives, or grid for every combination (default: tpe)",
    )
    search.add_argument(
        "--range",
        action="append",
        metavar="KEY=RANGE",
        help="search this key in LOW:HIGH, LOW:HIGH:log, LOW:HIGH:STEP, or among A,B,C; repeatable. Followed by "
        "' if KEY=A,B' it is searched only where that other key, which is searched too, has one of these values",
    )
    search.add_argument(
        "--space",
        metavar="FILE.json",
        help='search these keys and no others: an object such as {"contrast.eta": "0.2:0.8"}, or with {"range": RANGE, '
        '"when": {KEY: [A, B]}} for a range; --range goes before it',
    )
    search.add_argument(
        "--enqueue",
        action="append",
        metavar="POINT",
        help="try this point next: KEY=VALUE,KEY=VALUE, other keys as in the preset, or a JSON file with a list of "
        "objects; repeatable. Points count as trials",
    )
    search.add_argument(
        "--warm-start",
        metavar="STUDY",
        help="tell the search about the complete trials of an earlier one that lie in the space: its results folder, "
        "or the address of an Optuna storage, with #NAME where it has several studies",
    )
    search.add_argument(
        "--scheduler",
        choices=SCHEDULERS,
        help="which trials are stopped early: by successive halving, below the median, none, or by population based "
        "training, where children of the best take the places of the worst (default: asha; with several objectives "
        "none)",
    )
    search.add_argument(
        "--brackets",
        type=_positive,
        metavar="N",
        help="of asha: trials take turns in N brackets, each with its first rung one later than the one before, and "
        "compete within theirs only (default: 1)",
    )
    search.add_argument(
        "--population",
        type=_positive,
        metavar="N",
        help="of pbt: trials that are trained to the end; --trials counts those with the ones that they replace "
        f"(default: {POPULATION})",
    )
    search.add_argument(
        "--no-warm-up",
        dest="warm_up",
        action="store_false",
        default=argparse.SUPPRESS,
        help="train every trial from the start; otherwise the iterations before the contrast, where they are the same, "
        "are trained once and kept in FOLDER/warmups",
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
    results.add_argument(
        "--json",
        action="store_true",
        help="at the end, one JSON document with rows, tables, best, pareto and places on standard output; progress "
        "goes to standard error, and is left out where that is no terminal",
    )
    return parser


def merge(given: Mapping[str, Any], stored: Mapping[str, Any] | None) -> dict[str, Any]:
    """All flags of a run: the given ones, then those of the sweep that is resumed, then the defaults.

    Raises:
        ValueError: a given flag would make the resumed sweep a different one.
    """
    if stored is not None:
        for key in IDENTITY:
            was = stored.get(key, DEFAULTS[key])
            if key in given and given[key] != was:
                raise ValueError(
                    f"A resumed sweep keeps its --{key}, which was {was!r}, but got {given[key]!r}. "
                    "Leave the flag out, or start a new sweep under another --name."
                )
    merged = {**DEFAULTS, **(stored or {}), **given}
    strange = [key for key in _OF_A_SEARCH if key in given] if merged["table"] else []
    if strange:
        raise ValueError(f"--table runs rows that are given, so there is no --{strange[0].replace('_', '-')}.")
    if merged["bases"] and not set(merged["table"] or []) & set(range(1, 6)):
        raise ValueError("--bases chooses rows of Tables 1 to 5. Add --table, or leave --bases out.")
    objectives.check(merged["objectives"], search=merged["search"], scheduler=given.get("scheduler"))
    if len(merged["objectives"]) > 1:
        merged["scheduler"] = "none"
    if merged["population"] and merged["scheduler"] != "pbt":
        raise ValueError(
            f"--population belongs to --scheduler pbt, but got --scheduler {merged['scheduler']}. "
            "Leave one of them out."
        )
    if "seed" in given and "seeds" in given:
        raise ValueError(f"--seeds {given['seeds']} and --seed {given['seed']} exclude each other. Give one of them.")
    return merged


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


def _seeds(text: str) -> list[int]:
    seeds = [_natural(part.strip()) for part in text.split(",")]
    if len(set(seeds)) < len(seeds):
        raise argparse.ArgumentTypeError(f"must be different seeds, but got {text!r}")
    return seeds


def _objectives(text: str) -> list[str]:
    names = [part.strip() for part in text.split(",")]
    if not all(name in objectives.DIRECTIONS for name in names) or len(set(names)) < len(names):
        known = ", ".join(objectives.DIRECTIONS)
        raise argparse.ArgumentTypeError(f"must be different ones of {known}, but got {text!r}")
    return names


def _tables(text: str) -> list[int]:
    if text == "all":
        return list(ABLATIONS)
    numbers = [part.strip() for part in text.split(",")]
    if not all(number.isdecimal() and int(number) in NUMBERS for number in numbers):
        raise argparse.ArgumentTypeError(f"must be all, or numbers of the paper's tables, 1 to 12, but got {text!r}")
    return sorted({int(number) for number in numbers})


def _bases(text: str) -> list[str]:
    names = [part.strip() for part in text.split(",")]
    strange = next((name for name in names if name not in BASES), None)
    if strange is not None:
        raise argparse.ArgumentTypeError(f"must be of {', '.join(BASES)}, but got {strange!r}")
    return names


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not (0 <= value < 1 or (value >= 1 and value == int(value))):
        raise argparse.ArgumentTypeError(f"must be a whole number, or a share below 1, but got {text!r}")
    return value
