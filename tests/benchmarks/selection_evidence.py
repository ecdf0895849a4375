"""How well criteria choose without labels: 32 trainings on the embedded pair, whose labels judge the choices.

    python -m tests.benchmarks.selection_evidence [--out results/selection-evidence]

Runs, or resumes, a random search over a space in which mIoU really differs: the learning rate, the base (lambda_t from
nothing, which is training on the source alone, to 2; masked images; rare class sampling; the teacher's decay), and the
contrast, on and off, with its r, eta, weight, temperature and start. Two trials run at a time, on a core each. Then it
prints the table of what each choice would have come to, and the default that follows. `docs/selection.md` has what came
out.

The rule for the default, which was written down before the run: Candidates are what every run can report (no teacher,
no held-out source images): entropy, infomax, corrc, snd, bnm, augmentation_agreement, mixval, and the mean ranks
rank:snd,bnm,mixval; rank:infomax,bnm,mixval; rank:infomax,snd,augmentation_agreement; and that of all seven. The
default is the candidate with the lowest mean regret over 1,000 bootstrap resamples of the trials; among those within
0.1 points of the lowest, the one with the highest Spearman correlation over trials.

A call stops after two hours; another one goes on with what is left. On two idle CPU cores about 70 minutes were
expected: 0.4 s an iteration, 1 s with masked images, and 6 s an evaluation (process time of one thread on shared cores,
2026-11-30). Beside other work, which took about half of both cores, two hours and twelve minutes were needed.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import sweeps
from sweeps.common.names import Kind
from sweeps.common.words import count, number
from sweeps.definition.folder import SWEEP_FILE
from sweeps.definition.selection import DEFAULT_SELECTION, RANK, Selection
from sweeps.findings.selection_quality import choices, mean_regret, selection_quality
from sweeps.reporting.data import read
from sweeps.reporting.evidence import selection_table
from sweeps.results import tables
from sweeps.results.tables import Column, Table, to_markdown, to_text

TRIALS = 32
BUDGET = "2h"
"""Time of a call; the last runs are left to be resumed by another."""
TIE = 0.1
"""Points of mean regret within which candidates are equals."""
SEED = 0
"""Of the bootstrap; every candidate is judged in the same resamples."""

SINGLE = ("entropy", "infomax", "corrc", "snd", "bnm", "augmentation_agreement", "mixval")
"""The criteria that every run can report, whatever its base and its data."""
TOGETHER = (
    f"{RANK}snd,bnm,mixval",
    f"{RANK}infomax,bnm,mixval",
    f"{RANK}infomax,snd,augmentation_agreement",
    f"{RANK}{','.join(SINGLE)}",
)
"""Mean ranks of several of them."""
CANDIDATES = tuple(map(Selection.parse, (*SINGLE, *TOGETHER)))
"""What the default can be."""

SETTINGS: Mapping[str, Any] = {
    "model.pretrained": "none",  # as it was when the default was chosen
    "training.iterations": 280,
    "training.eval_interval": 70,
    "training.log_interval": 10,  # this and the next two as in the preset, although the training is twice as long
    "optimizer.warmup": 50,
    "contrast.fill": 20,
    "evaluation.criteria_images": 24,
    "data.holdout": 24,
    "adaptation.mask_block": 8,  # for the trials with masked images; that of the presets on this pair
    "contrast.anchors": 256,  # the preset's, which a sweep would search
    "contrast.negatives": 512,
}
_ON = "if contrast.enabled=true"
RANGES: Mapping[str, str] = {
    "optimizer.lr": "6e-5:6e-3:log",
    "adaptation.target_weight": "0,0.25,0.5,1,2",
    "adaptation.ema_decay": "0.9,0.97,0.99,0.999",
    "adaptation.masked_weight": "0,1",
    "data.rare_class_sampling": "true,false",
    "contrast.enabled": "true,false",
    "contrast.r": f"2:8 {_ON}",
    "contrast.eta": f"0.1:0.9 {_ON}",
    "contrast.weight": f"0.02:0.5:log {_ON}",
    "contrast.temperature": f"0.05:1:log {_ON}",
    "contrast.start": f"40:200:4 {_ON}",
}


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A candidate for the default.

    Attributes:
        name: The choice as a user writes it.
        regret: Its mean regret in points of mIoU.
        spearman: Spearman's rank correlation with mIoU over the trials; NaN where it does not vary.
    """

    name: str
    regret: float
    spearman: float


def train(
    out: Path,
    *,
    trials: int = TRIALS,
    settings: Mapping[str, Any] = SETTINGS,
    ranges: Mapping[str, str] = RANGES,
) -> None:
    """Run what is left of the sweep.

    Args:
        out: The sweep's folder.
        trials: Number of trainings, beside that of the base.
        settings: Changes to the preset.
        ranges: What is searched.
    """
    out = out.expanduser().absolute()
    if (out / SWEEP_FILE).is_file():
        if sweeps.read(out).is_unfinished:
            sweeps.run(resume=out.name, storage=out.parent, time_budget=BUDGET, quiet=False)
        return
    sweeps.run(
        preset="streets",
        set=settings,
        range=ranges,
        search="random",
        scheduler="none",
        trials=trials,
        workers=1,
        cpus_per_worker=1,
        concurrency=2,
        max_failures=trials,  # some learning rates may be too high
        time_budget=BUDGET,
        storage=out.parent,
        name=out.name,
        quiet=False,
    )


def judge(trials: Mapping[str, Mapping[str, float]], candidates: Sequence[Selection] = CANDIDATES) -> list[Judged]:
    """Return what the rule looks at, for each candidate.

    Args:
        trials: Label -> metrics of the complete trials.
        candidates: The choices; one that not every trial has is left out.
    """
    found = []
    for selection in candidates:
        if all(map(selection.has, trials.values())):
            quality = selection_quality(trials, {}, [selection], np.random.default_rng(SEED))[0]
            assert quality.trials is not None, "only the oracle has none"
            regret = mean_regret(selection, trials, np.random.default_rng(SEED))
            found.append(Judged(name=selection.text, regret=regret, spearman=quality.trials.spearman.value))
    return found


def default(judged: Sequence[Judged]) -> Judged:
    """Return the candidate that the rule makes the default; of equals the first."""
    lowest = min(candidate.regret for candidate in judged)
    near = [candidate for candidate in judged if candidate.regret <= lowest + TIE]
    return max(near, key=lambda c: -math.inf if math.isnan(c.spearman) else c.spearman)


def evidence(out: Path) -> str:
    """Return what a sweep shows, as text: the table of all choices in Markdown, that of the candidates, the default."""
    report = read(out)
    trials = report.candidates
    if len(trials) < 2:
        return f"{count(len(trials), 'complete trial')} cannot show how well criteria choose. Run this again."
    single = [choice for choice in choices(trials.values()) if not choice.is_rank]
    searched = {trial.label for trial in report.trials if trial.kind == Kind.SEARCH}
    curves = {label: curve for label, curve in report.reports.items() if label in searched}
    every = [*single, *map(Selection.parse, TOGETHER)]
    table = selection_table(selection_quality(trials, curves, every, np.random.default_rng(SEED)), trials)
    judged = judge(trials)
    chosen = default(judged)
    left = " Some are left to be trained: run this again." if sweeps.read(out).is_unfinished else ""
    same = "which it is already" if chosen.name == DEFAULT_SELECTION else f"in place of {DEFAULT_SELECTION}"
    return "\n\n".join(
        [
            f"{count(len(trials), 'complete trial')}, mIoU {_spread(trials)}.{left}",
            f"{table.caption}\n\n{to_markdown(table, plain=True)}",
            to_text(_candidates(judged)),
            f"By the rule the default is {chosen.name}, {same}.",
        ]
    )


def _spread(trials: Mapping[str, Mapping[str, float]]) -> str:
    scores = sorted(metrics["mIoU"] for metrics in trials.values())
    return f"from {number(scores[0])} to {number(scores[-1])} %, median {number(float(np.median(scores)))} %"


def _candidates(judged: Sequence[Judged]) -> Table:
    columns = [
        Column[Judged]("candidate", lambda candidate: tables.word(candidate.name), left=True),
        Column("mean regret", lambda candidate: tables.number(candidate.regret)),
        Column("Spearman", lambda candidate: tables.number(candidate.spearman)),
    ]
    return Table.of("candidates", "", columns, judged)


def main() -> None:
    """Train what is left, and print what it shows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("results/selection-evidence"), help="(default: %(default)s)")
    out = parser.parse_args().out
    train(out)
    print(f"\n{evidence(out)}")


if __name__ == "__main__":
    main()
