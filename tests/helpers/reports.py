"""Sweeps that are made by hand, as their drivers leave them, and the page of their report as it can be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.trial import TrialState, create_trial

from sweeps.common.names import REFERENCE_LABEL, Kind, Status
from sweeps.definition.confirmation import confirmation_of
from sweeps.definition.objectives import DIRECTIONS
from sweeps.definition.options import SweepOptions
from sweeps.definition.planning import new_sweep
from sweeps.definition.sweep import Sweep
from sweeps.results.labels import label_rows
from sweeps.results.outcome import Results
from sweeps.results.rows import Row, collect, write_parquet
from sweeps.search import replicates
from sweeps.search.study import open_studies, study_url

ITERATIONS = 100
NOTHING, MINUS = "\u2013", "\u2212"
EVIL = "loss <script>alert(1)</script> & 100 % of a_b \\ {x} | `y` https://example.org/x.js"


class Page(HTMLParser):
    """What a page holds: its tables as text, the addresses that it loads, and its text."""

    def __init__(self, text: str):
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.values: dict[str, list[list[str | None]]] = {}
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.words = ""
        self._table = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append(tag)
        self.loads += [found[key] for key in ("src", "srcset", "data", "action", "poster") if found.get(key)]
        if tag != "a":
            self.loads += [found[key] for key in ("href", "xlink:href") if found.get(key)]
        if tag == "table":
            self._table = found["id"]
            self.tables[self._table], self.values[self._table] = [], []
        elif tag == "tr":
            self.tables[self._table].append([])
            self.values[self._table].append([])
        elif tag in ("td", "th"):
            self.tables[self._table][-1].append("")
            self.values[self._table][-1].append(found.get("data-value"))

    def handle_endtag(self, tag: str) -> None:
        if tag == "table":
            self._table = ""

    def handle_data(self, data: str) -> None:
        self.words += data
        if self._table and self.tables[self._table] and self.tables[self._table][-1]:
            self.tables[self._table][-1][-1] += data.strip()


class Written(NamedTuple):
    """A report: its page, the source of that, Markdown and LaTeX."""

    page: Page
    source: str
    markdown: str
    latex: str


Make = Callable[..., Path]
Write = Callable[[Path], Written]
Scores = dict[int, Sequence[float]]


def trial(state: TrialState, params: dict[str, Any], sweep: Sweep, scores: Scores, error: str) -> Any:
    """A trial with a curve per seed; of the reports of the last one its metrics remain."""
    attrs: dict[str, Any] = {"error": error}
    for seed, curve in scores.items():
        suffix = replicates.suffix(seed, sweep.seeds)
        done = ITERATIONS if state == TrialState.COMPLETE else 50
        iou = {"IoU/road": curve[-1] + 20, "IoU/car": curve[-1] - 5 * len(params)}
        attrs[f"metrics{suffix}"] = {"iteration": done, "mIoU": curve[-1], "seconds": done / 10, **iou}
        words = {TrialState.COMPLETE: "complete", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
        attrs[f"status{suffix}"] = words.get(state, "running")
    first = next(iter(scores.values()), ())
    step = ITERATIONS // 4
    return create_trial(
        state=state,
        value=sum(c[-1] for c in scores.values()) / len(scores) if state == TrialState.COMPLETE else None,
        params=params,
        distributions={key: sweep.space[key] for key in params},
        intermediate_values={step * (i + 1): value for i, value in enumerate(first)},
        user_attrs=attrs,
    )


def make_sweep(
    storage: Path,
    trials: Sequence[tuple[TrialState, Scores, str]] = (),
    base: Scores | None = None,
    name: str = "a sweep <b>ä",
    **options: Any,
) -> Path:
    """Writes the folder of a sweep whose trials are (state, scores of the curve by seed, error)."""
    settings = [f"training.iterations={ITERATIONS}", "contrast.start=20", "training.eval_interval=25"]
    sweep = new_sweep(SweepOptions(storage=str(storage), name=name, set=tuple(settings), **options))
    sweep.folder.mkdir(parents=True)
    sweep.save()
    database = optuna.storages.RDBStorage(study_url(sweep.folder))
    directions = [DIRECTIONS[objective] for objective in sweep.objectives]
    study, reference = (
        optuna.create_study(storage=database, study_name=study_name, directions=directions)
        for study_name in (name, f"{name}-reference")
    )
    for i, (state, scores, error) in enumerate(trials):
        params = sweep.known[i] if not sweep.is_search else {**sweep.known[0], "contrast.eta": 0.1 * (i % 9 + 1)}
        study.add_trial(trial(state, params, sweep, scores, error))
    if base:
        reference.add_trial(trial(TrialState.COMPLETE, {}, sweep, base, ""))
    rows = collect(study, reference if sweep.is_search else None, results=sweep.folder, seeds=sweep.seeds)
    if rows:
        write_parquet(label_rows(sweep, rows), sweep.folder / "results.parquet")
    return sweep.folder


COMPLETE, PRUNED, FAIL = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL
TYPICAL = [
    (COMPLETE, {0: [10, 20, 30, 31.234]}, ""),
    (COMPLETE, {0: [10, 21, 31, 33.456]}, ""),
    (PRUNED, {0: [9, 15]}, ""),
    (FAIL, {0: [9]}, EVIL),
    (FAIL, {}, "died at once"),
]


def confirm(folder: Path, scores: Mapping[str, Mapping[int, float]], *, metric: str = "") -> Sweep:
    """Writes the confirmation of a sweep, with these scores by label and fresh seed, as its driver leaves it.

    The labels are those of the base and of the best trials, best first; with `metric` the scores are of that, and the
    runs' mIoU is 1 point higher.
    """
    results = Results.read(folder)
    trials = {trial.label: trial.params for trial in results.trials if trial.is_ranked}
    seeds = tuple(scores[REFERENCE_LABEL])
    sweep = confirmation_of(results.sweep, trials, {"confirm": len(scores) - 1, "seeds": seeds})
    assert list(sweep.confirms) == list(scores)
    sweep.trials_folder.mkdir(parents=True)
    sweep.save()
    rows = [
        Row(
            label=f"{number:04d}-s{seed}",
            trial=label,
            kind=Kind.REFERENCE if label == REFERENCE_LABEL else Kind.SEARCH,
            status=Status.COMPLETE,
            outcome=Status.COMPLETE,
            score=score + bool(metric),
            iterations=ITERATIONS,
            seed=seed,
            metrics={metric: score} if metric else {},
            params=sweep.confirms[label],
        )
        for number, (label, values) in enumerate(scores.items())
        for seed, score in values.items()
    ]
    write_parquet(rows, sweep.folder / "results.parquet")
    return sweep


def two_objectives(storage: Path) -> Path:
    """A sweep in which 0001 costs more than 0000 and is better, and 0002 costs most and is in between."""
    family = "contrast.family=hybrid,pixel_to_prototype"
    negatives = "contrast.negatives=64,512 if contrast.family=hybrid"
    names = ["mIoU", "seconds"]
    folder = make_sweep(
        storage, objectives=tuple(names), search="random", scheduler="none", range=(family, negatives), name="two"
    )
    sweep = Sweep.load(folder)
    study, reference = open_studies(
        folder,
        "two",
        optuna.samplers.RandomSampler(),
        optuna.pruners.NopPruner(),
        objectives=names,
        reference=True,
        origin="first",
    )
    own, eta = sweep.known[0], sweep.space["contrast.eta"].high

    def add(to: optuna.Study, params: dict[str, Any], score: float, seconds: float) -> None:
        attrs = {"metrics": {"iteration": 100, "mIoU": score, "seconds": seconds}, "curve": {"50": 1.0, "100": score}}
        distributions = {key: sweep.space[key] for key in params}
        to.add_trial(
            create_trial(values=[score, seconds], params=params, distributions=distributions, user_attrs=attrs)
        )

    prototypes = {key: v for key, v in own.items() if key != "contrast.negatives"}
    add(reference, {}, 18.0, 4.0)
    add(study, {**own, "contrast.eta": 0.2}, 20.0, 10.0)
    add(study, {**own, "contrast.eta": eta}, 40.0, 30.0)
    add(study, {**prototypes, "contrast.family": "pixel_to_prototype"}, 30.0, 90.0)
    rows = collect(study, reference, results=folder, seeds=sweep.seeds)
    write_parquet(rows, folder / "results.parquet")
    return folder
