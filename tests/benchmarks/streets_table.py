"""Target mIoU on the embedded pair: every base with and without PGPC, controls, and the oracle trained on its labels.

    python -m tests.benchmarks.streets_table [--only daformer,hrda] [--seeds 0,1,2,3,4] [--iterations 200] [--jobs 2]

Trains the presets ``streets/{base}`` and ``streets/{base}+pgpc`` with every seed, and two controls that differ from the
latter in ``contrast.weight=0`` alone: DAFormer with the contrast's extra pass through the network, and ProCA with the
teacher and the pseudo-labels that PGPC brings with it. It prints tables in Markdown: means, and 95 % intervals
(Student's t) of the differences of pairs with the same seed. `--jobs` trainings go on at a time, each in `--threads`
threads. With ``--other KEY=VALUE`` every base is also trained with PGPC and other settings than the paper's, and
compared with PGPC as it is: so a setting that a sweep has found is confirmed with fresh seeds.

What is finished in `--out` is not trained again, and what was interrupted goes on from its last checkpoint. Start and
fill of the contrast and warm-up are those of the trials of a sweep, the preset "streets"; they and the stages of ProCA
follow the number of iterations, as with ``pgpc train --set training.iterations=N``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np

from pgpc import presets
from pgpc.config import Config, flatten
from pgpc.models.checkpoint import CHECKPOINT, read_checkpoint
from pgpc.recipes.recipe import from_preset
from sweeps.estimates.differences import LEVEL, t_interval

Changes = Mapping[str, Any]

BASES = tuple(base.name for base in presets.BASES)
WITH = "+pgpc"
CONTROL = "+control"
OTHER = "+other"
CONTROLS = ("daformer", "proca")
"""Bases with a control: all that PGPC brings with it, but for the contrast's gradient."""
ORACLE = "oracle"
_LENGTHS = ("optimizer.warmup", "contrast.start", "contrast.fill")
_NO_GRADIENT: Changes = {"contrast.weight": 0.0}


def names_of(rows: Sequence[str], *, other: bool = False) -> list[str]:
    """Return what is trained for the rows of the table, in their order; `other` adds PGPC with other settings."""
    found = []
    for row in rows:
        found.append(row)
        if row != ORACLE:
            found += [row + WITH, *([row + OTHER] if other else [])]
        if row in CONTROLS:
            found.append(row + CONTROL)
    return found


def config_of(name: str, seed: int, iterations: int, other: Changes) -> Config:
    """Return the config of a run of the table.

    Args:
        name: A base, with one of the endings behind it, or the oracle.
        seed: Its seed.
        iterations: Its length.
        other: The settings of runs that have other ones.
    """
    preset = f"streets/{name.replace(CONTROL, WITH).replace(OTHER, WITH)}"
    settings: dict[str, Any] = {"training.iterations": iterations}
    if presets.preset(preset).base != "proca":  # which has stages of its own
        short = flatten(from_preset("streets", settings).config)
        settings |= {key: short[key] for key in _LENGTHS}
    settings |= {"seed": seed, "training.eval_interval": iterations, "evaluation.criteria_images": 0}
    settings |= _NO_GRADIENT if name.endswith(CONTROL) else other if name.endswith(OTHER) else {}
    return from_preset(preset, settings).config


def score(name: str, seed: int, iterations: int, other: Changes, folder: Path) -> tuple[float, float]:
    """Return the final mIoU of a run and the seconds that this call took, after training what is still to be done."""
    from pgpc.training import FRESH, Resume, train

    began = time.monotonic()
    finished = (folder / CHECKPOINT).is_file()
    if finished:
        saved = read_checkpoint(folder)
        if saved["step"] == iterations:
            return float(saved["metrics"]["mIoU"]), 0.0
    config = config_of(name, seed, iterations, other)
    metrics = train(config, out=folder, begin=Resume(folder) if finished else FRESH).metrics
    return float(metrics["mIoU"]), time.monotonic() - began


def print_tables(rows: Sequence[str], scores: Mapping[str, np.ndarray], seeds: Sequence[int]) -> None:
    """Print one row per base, alone and with PGPC, and then the controls."""
    of_seeds = f"mIoU, mean ± std over seeds {', '.join(map(str, seeds))}"
    _print_row("base", of_seeds, "with PGPC", "difference (95 % interval)")
    _print_row(*4 * ["---"])
    for row in rows:
        ours = scores.get(row + WITH)
        added = [_mean(ours), _pair(ours, scores[row])] if ours is not None else ["", ""]
        _print_row(row, _mean(scores[row]), *added)
    _print_others(rows, scores)
    controlled = [row for row in rows if row in CONTROLS]
    if not controlled:
        return
    print()
    _print_row("control, contrast.weight=0", "mIoU", "against the base", "PGPC against the control")
    _print_row(*4 * ["---"])
    for row in controlled:
        control = scores[row + CONTROL]
        _print_row(row, _mean(control), _pair(control, scores[row]), _pair(scores[row + WITH], control))


def _print_others(rows: Sequence[str], scores: Mapping[str, np.ndarray]) -> None:
    """Print what other settings come to beside the paper's, where there are some."""
    others = [row for row in rows if row + OTHER in scores]
    if not others:
        return
    print()
    _print_row("PGPC with other settings on", "mIoU", "against the base", "against the paper's settings")
    _print_row(*4 * ["---"])
    for row in others:
        other = scores[row + OTHER]
        _print_row(row, _mean(other), _pair(other, scores[row]), _pair(other, scores[row + WITH]))


def _print_row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |")


def _mean(values: np.ndarray) -> str:
    return f"{values.mean():.1f}" + (f" ± {values.std(ddof=1):.1f}" if len(values) > 1 else "")


def _pair(ours: np.ndarray, base: np.ndarray) -> str:
    """Return the mean difference of pairs of the same seed, and its 95 % interval."""
    differences = (ours - base).tolist()
    interval = t_interval(differences, LEVEL)
    text = f"{np.mean(differences):+.2f}"
    return text if interval is None else f"{text} ({interval.low:+.2f} to {interval.high:+.2f})"


def _begin(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def train_all(names: Sequence[str], arguments: argparse.Namespace) -> dict[tuple[str, int], float]:
    """Return the final mIoU of every name and seed, after training what is missing; say how far it is."""
    out, found, spent = arguments.out / str(arguments.iterations), dict[tuple[str, int], float](), 0
    other = dict(setting.split("=", 1) for setting in arguments.other)

    def folder_of(name: str, seed: int) -> Path:
        """Return the folder of a run; other settings are in its name, so that they are other runs."""
        return out / name.replace(OTHER, f"{OTHER} {','.join(arguments.other)}") / str(seed)

    pool = ProcessPoolExecutor(
        arguments.jobs, multiprocessing.get_context("spawn"), initializer=_begin, initargs=(arguments.threads,)
    )
    with pool:
        runs = {  # seed by seed, so that a first comparison is there early
            pool.submit(score, name, seed, arguments.iterations, other, folder_of(name, seed)): (name, seed)
            for seed in arguments.seeds
            for name in names
        }
        began = time.monotonic()
        try:
            for done, run in enumerate(as_completed(runs), 1):
                name, seed = runs[run]
                found[name, seed], seconds = run.result()
                spent += seconds > 0
                text = f"{done} of {len(runs)} runs: {name} seed {seed}, mIoU {found[name, seed]:.2f}, {seconds:.0f} s"
                if spent:
                    pace = (time.monotonic() - began) / spent
                    text += f"; {3600 / pace:.0f} runs an hour, {pace * (len(runs) - done) / 60:.0f} min left"
                print(text, file=sys.stderr, flush=True)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return found


def main() -> None:
    """Train what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    every = (*BASES, ORACLE)
    parser.add_argument("--only", default=",".join(every), help="rows, of %(default)s (default: all)")
    parser.add_argument(
        "--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[0, 1, 2, 3, 4], help="(0 to 4)"
    )
    parser.add_argument("--iterations", type=int, default=200, help="of every run (default: %(default)s)")
    parser.add_argument(
        "--other", action="append", default=[], metavar="KEY=VALUE", help="a setting to compare with the paper's"
    )
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="threads of each (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("results/streets-table"), help="default: %(default)s")
    arguments = parser.parse_args()
    rows = arguments.only.split(",")
    if unknown := [row for row in rows if row not in every]:
        parser.error(f"--only must name rows of {', '.join(every)}, but got {', '.join(unknown)}")
    names = names_of(rows, other=bool(arguments.other))
    found = train_all(names, arguments)
    scores = {name: np.array([found[name, seed] for seed in arguments.seeds]) for name in names}
    print_tables(rows, scores, arguments.seeds)


if __name__ == "__main__":
    main()
