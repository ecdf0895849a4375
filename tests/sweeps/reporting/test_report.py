"""The report of sweeps that are made by hand: studies, rows, checkpoints and sweep.json as a sweep leaves them."""

from __future__ import annotations

import base64
import fcntl
import functools
import json
import os
import random
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import optuna
import pyarrow.parquet as pq
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

import pgpc
from pgpc.config import parse_settings
from sweeps import report
from sweeps.definition.objectives import DIRECTIONS
from sweeps.definition.sweep import Sweep, new_sweep, resumed_sweep, write_sweep
from sweeps.reporting import charts as report_charts
from sweeps.reporting import data as report_data
from sweeps.reporting import formats as report_formats
from sweeps.reporting import tables as report_tables
from sweeps.results import rows as results
from sweeps.search import replicates
from sweeps.search.study import open_studies, study_url

ITERATIONS = 100
NOTHING, MINUS = report_formats.NOTHING.text, "\u2212"
EVIL = "loss <script>alert(1)</script> & 100 % of a_b \\ {x} | `y` https://example.org/x.js"
Make = Callable[..., Path]


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
    **flags: Any,
) -> Path:
    """Writes the folder of a sweep whose trials are (state, scores of the curve by seed, error)."""
    settings = [f"training.iterations={ITERATIONS}", "contrast.start=20", "training.eval_interval=25"]
    sweep = new_sweep({"storage": str(storage), "name": name, "set": settings, **flags})
    sweep.folder.mkdir(parents=True)
    write_sweep(sweep)
    database = optuna.storages.RDBStorage(study_url(sweep.folder))
    directions = [DIRECTIONS[objective] for objective in sweep.objectives]
    study, reference = (
        optuna.create_study(storage=database, study_name=study_name, directions=directions)
        for study_name in (name, f"{name}-reference")
    )
    for i, (state, scores, error) in enumerate(trials):
        params = sweep.known[i] if sweep.points else {**sweep.known[0], "contrast.eta": 0.1 * (i + 1)}
        study.add_trial(trial(state, params, sweep, scores, error))
    if base:
        reference.add_trial(trial(TrialState.COMPLETE, {}, sweep, base, ""))
    rows = results.collect(study, None if sweep.points else reference, results=sweep.folder, seeds=sweep.seeds)
    if rows:
        results.write_parquet(sweep.label_rows(rows), sweep.folder / "results.parquet")
    return sweep.folder


COMPLETE, PRUNED, FAIL = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL
TYPICAL = [
    (COMPLETE, {0: [10, 20, 30, 31.234]}, ""),
    (COMPLETE, {0: [10, 21, 31, 33.456]}, ""),
    (PRUNED, {0: [9, 15]}, ""),
    (FAIL, {0: [9]}, EVIL),
    (FAIL, {}, "died at once"),
]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """`make_sweep` in a folder of the test's own."""
    return functools.partial(make_sweep, tmp_path)


@pytest.fixture(scope="module")
def typical(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep to be read only."""
    return make_sweep(tmp_path_factory.mktemp("typical"), TYPICAL, {0: [10, 20, 29, 30.0]}, workers=2)


def written(folder: Path) -> tuple[Page, str, str, str]:
    """The page, its source, Markdown and LaTeX."""
    assert report.main([str(folder), "--images", "0"]) == 0
    texts = [(folder / name).read_text() for name in report.NAMES]
    assert not list(folder.glob("*.tmp"))
    return Page(texts[0]), *texts


def test_every_trial_is_ranked_with_the_numbers_of_the_parquet_file(typical: Path) -> None:
    page, *_ = written(typical)
    head, *body = page.tables["table-ranking"]
    rows = {row["trial"]: row for row in pq.read_table(typical / "results.parquet").to_pylist()}
    assert [line[1] for line in body] == ["0001", "0000", "base", "0002", "0003", "0004"]
    assert [line[0] for line in body] == ["1", "2", *[NOTHING] * 4]
    for line, value in zip(body, page.values["table-ranking"][1:], strict=True):
        row = rows[line[1]]
        for key in ("mIoU", "contrast.eta", "iterations", "seconds"):
            shown = value[head.index({"contrast.eta": "eta", "seconds": "time"}.get(key, key))]
            assert (None if shown is None else float(shown)) == row[key], (line[1], key)
    assert body[0][head.index("vs base")] == "+3.46" and body[2][head.index("vs base")] == NOTHING
    assert page.tables["table-failures"][1:] == [["0003", "50", EVIL], ["0004", "0", "died at once"]]


def test_nothing_is_loaded_and_nothing_of_the_trials_becomes_markup(typical: Path) -> None:
    page, source, *_ = written(typical)
    assert page.loads and all(address.startswith("data:") for address in page.loads)
    assert not re.search(r"url\(|@import|@font-face", source)
    assert page.tags.count("script") == 1 and "<b>ä" not in source and EVIL in page.words
    assert "default-src 'none'" in source


def test_charts_show_every_curve_and_rung(typical: Path) -> None:
    findings = report_data.read(typical)
    assert findings.rungs == [40, 80]
    assert findings.curves["0002"] == {25: 9, 50: 15} and findings.curves["base"][100] == 30
    chart = report_charts.curves(findings, 900)
    assert "rung at iteration 40" in chart and "rung at iteration 80" in chart
    assert chart.count('class="trial"') == 5  # one has died before its first report
    assert re.findall(r'class="name (?:best|base)"[^>]*>([^<]+)', chart) == ["0001 33.46", "base 30.00"]
    assert len(report_charts.slices(findings)) == 5
    assert report_charts.parallel(findings, 900).count('class="trial"') == 2


def test_importance_is_that_of_optuna_or_a_reason(make: Make) -> None:
    findings = report_data.read(make(TYPICAL))
    assert next(iter(findings.importances)) == "contrast.eta"  # nothing else varies
    assert sum(findings.importances.values()) == pytest.approx(1)
    few = report_data.read(make(TYPICAL[:1], name="few"))
    assert not few.importances and "not enough trials" in written(few.sweep.folder)[0].words


def test_classes_are_painted_by_their_difference_to_the_base(typical: Path) -> None:
    table = report_tables.per_class(report_data.read(typical))
    assert list(table.head) == ["trial", "mIoU", "road", "car"]
    best, _, base = table.rows
    assert [cell.text for cell in base] == ["base", "30.00", "50.0", "30.0"]
    assert best[2].tint == pytest.approx(3.456 / 5) and best[3].tint == pytest.approx((33.456 - 25 - 30) / 5)
    assert all(cell.tint == 0 for cell in base[1:])


def test_cost_counts_a_warm_up_once_and_what_pruning_saves(make: Make) -> None:
    folder = make(TYPICAL[:3], {0: [10, 20, 29, 30]}, workers=2)
    for label in ("base", "0000", "0001"):
        directory = folder / "trials" / label
        directory.mkdir(parents=True)
        (directory / "forked.json").write_text(json.dumps({"warm_up": "w", "iterations": 20, "seconds": 2.0}))
    # Three runs of 10 s and one of 5 s, in vain; twice 2 s of these were not trained again, and 5 s not at all.
    iterations, worker_seconds = report_tables.cost_of(report_data.read(folder))
    assert worker_seconds == pytest.approx((2 * 31, 2 * 4, 0, 2 * 5, 2 * 5))
    assert iterations == pytest.approx((310, 40, 0, 50, 50))
    page, *_ = written(folder)
    assert page.tables["table-cost"][2] == ["wasted of it", "0:10", "10", "12", "50"]
    assert "16 % of the time used (16 % of iterations)" in page.words


def test_brackets_and_children_are_shown(make: Make) -> None:
    folder = make(TYPICAL, {0: [10, 20, 29, 30]}, brackets=2)
    page, *_ = written(folder)
    for title in ("rung at iteration 40 of bracket 1", "rung at iteration 80 of brackets 1 to 2", "asha in 2 brackets"):
        assert title in page.words
    folder = make(TYPICAL, {0: [10, 20, 29, 30]}, scheduler="pbt", population=3, name="pbt")
    rows = pq.read_table(folder / "results.parquet").to_pylist()
    child = next(row for row in rows if row["trial"] == "0001")
    child.update(parent="0000", parent_iteration=50, parent_seconds=5.0)
    results.write_parquet(rows, folder / "results.parquet")
    page, *_ = written(folder)
    assert "pbt with a population of 3" in page.words and "rung at iteration 75" in page.words
    head, *body = page.tables["table-ranking"]
    assert {line[1]: line[head.index("child of")] for line in body}["0001"] == "0000 from 50"
    assert "# With these settings from iteration 50 of 0000 on" in page.words
    saved = next(line for line in page.tables["table-cost"] if line[0] == "saved by children")
    assert saved[1:3] == ["0:10", "10"] and saved[-1] == "50"


def test_commands_train_the_same_config_again(typical: Path) -> None:
    findings = report_data.read(typical)
    for row in findings.rows:
        words = findings.commands[row["trial"]].split()
        assert words[:6] == ["torchrun", "--nproc-per-node", "2", "-m", "pgpc", "train"]
        assert words[6:9] == ["streets", "--out", f"runs/{row['trial']}"]
        config = pgpc.override(pgpc.preset(words[6]), parse_settings(words[10::2]))
        assert set(words[9::2]) == {"--set"}
        assert config == findings.config(row) and config.contrast.enabled == (row["kind"] == "search")
    assert findings.config(findings.best).contrast.eta == 0.2
    page, _, markdown, _ = written(typical)
    assert all(findings.commands[row["trial"]] in text for row in findings.rows for text in (page.words, markdown))


def test_seeds_are_averaged_and_compared_in_pairs(make: Make) -> None:
    trials = [(COMPLETE, {0: [1, 30.0], 1: [1, 34.0]}, ""), (COMPLETE, {0: [1, 31.0], 1: [1, 31.0]}, "")]
    folder = make(trials, {0: [1, 29.0], 1: [1, 30.0]}, seeds=[0, 1])
    page, *_ = written(folder)
    head, *body = page.tables["table-ranking"]
    shown = [[line[head.index(k)] for k in ("trial", "mIoU", "std", "vs base")] for line in body]
    assert shown[:2] == [["0000", "32.00", "2.83", "+2.50"], ["0001", "31.00", "0.00", "+1.50"]]
    assert shown[2] == ["base", "29.50", "0.71", NOTHING]
    assert page.tables["table-classes"][1][2] == "52.0"
    assert all(f"runs/0000-s{seed}" in page.words for seed in (0, 1))


def test_tables_of_the_paper_stand_beside_what_came_out(make: Make) -> None:
    trials = [(COMPLETE, {0: [1, score]}, "") for score in (30.0, 31.0, 33.0, 32.0, 31.5)]
    page, _, markdown, latex = written(make(trials, table=[12], name="table"))
    lines = {line[0]: line for line in page.tables["table-paper-0-12"]}
    assert lines["4"][1:] == ["33.00", "+3.00", "71.80", "+3.50", f"{MINUS}38.80"]
    assert "Table 12" in markdown and r"\label{tab:paper-0-12}" in latex
    assert "12: 4" in page.tables["table-ranking"][1] and "nothing was searched" in page.words


def two_objectives(make: Make) -> Path:
    """A sweep in which 0001 costs more than 0000 and is better, and 0002 costs most and is in between."""
    family = "contrast.family=hybrid,pixel_to_prototype"
    negatives = "contrast.negatives=64,512 if contrast.family=hybrid"
    names = ["mIoU", "seconds"]
    folder = make(objectives=names, search="random", range=[family, negatives], name="two")
    sweep = resumed_sweep({"storage": str(folder.parent), "resume": "two"})
    study, reference = open_studies(
        study_url(folder),
        "two",
        optuna.samplers.RandomSampler(),
        optuna.pruners.NopPruner(),
        objectives=names,
        reference=True,
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
    rows = results.collect(study, reference, results=folder, seeds=sweep.seeds)
    results.write_parquet(rows, folder / "results.parquet")
    return folder


def test_front_has_a_section_and_comes_first(make: Make) -> None:
    page, source, markdown, latex = written(two_objectives(make))
    head, *body = page.tables["table-ranking"]
    assert head[:6] == ["rank", "trial", "status", "front", "mIoU", "seconds"]
    assert [line[1:6] for line in body] == [
        ["0001", "complete", "*", "40.00", "30.0"],
        ["0000", "complete", "*", "20.00", "10.0"],
        ["0002", "complete", "", "30.00", "90.0"],
        ["base", "complete", "", "18.00", "4.0"],
    ]
    assert [line[head.index("negatives")] for line in body] == ["512", "512", NOTHING, NOTHING]
    assert [line[:4] for line in page.tables["table-pareto"][1:]] == [
        ["0001", "40.00", "30.00", "+22.00"],
        ["0000", "20.00", "10.00", "+2.00"],
    ]
    assert 'id="pareto"' in source and r"\label{tab:pareto}" in latex and "The front: " in markdown


def test_charts_of_several_objectives(make: Make) -> None:
    findings = report_data.read(two_objectives(make))
    assert findings.curves["0002"] == {50: 1.0, 100: 30.0}
    assert [row["trial"] for row in findings.complete] == ["0001", "0002", "0000"] and findings.worst["trial"] == "0000"
    chart = report_charts.pareto(findings, 900)
    assert re.findall("<title>(.+?): mIoU ([0-9.]+), seconds ([0-9.]+)", chart) == [
        ("base", "18.00", "4.00"),
        ("0000", "20.00", "10.00"),
        ("0002", "30.00", "90.00"),
        ("0001", "40.00", "30.00"),
    ]
    _, (x, y), _, (best_x, best_y) = re.findall(r'cx="([0-9.]+)" cy="([0-9.]+)"', chart)
    steps = re.search(r'class="line front" d="M([0-9.]+) [0-9.]+V([0-9.]+)H([0-9.]+)V([0-9.]+)H[0-9.]+"', chart)
    assert steps.groups() == (x, y, best_x, best_y), "up at the cheaper trial, over to the dearer one, and up"
    assert float(best_x) > float(x) and float(best_y) < float(y)
    assert 'class="dot front"' in chart and chart.count('class="dot other"') == 1
    assert report_charts.parallel(findings, 900).count('class="trial"') == 3
    assert next(iter(findings.importances)) == "contrast.eta"


def test_importances_of_several_objectives_are_those_of_a_higher_score() -> None:
    numbers, space = random.Random(0), {name: FloatDistribution(0, 1) for name in "ab"}
    one, two = optuna.create_study(direction="maximize"), optuna.create_study(directions=["minimize", "maximize"])
    for _ in range(40):
        params = {name: numbers.random() for name in space}
        score = params["a"] if params["b"] > 0.9 else 0.2 * params["a"]  # what sets the worst apart is a alone
        for study, values in ((one, [score]), (two, [params["b"], score])):
            study.add_trial(create_trial(values=values, params=params, distributions=space))
    assert report_data._importances(two, 1) == report_data._importances(one, 0)


@pytest.mark.parametrize(
    ("trials", "base"),
    [
        ([], None),
        ([], {0: [10, 20, 29, 30]}),
        (TYPICAL[:1], None),
        (TYPICAL[2:3], None),
        (TYPICAL[3:], None),
        ([(TrialState.RUNNING, {0: [float(9)]}, "")], None),
        ([(FAIL, {0: [float("nan")]}, "mIoU is not a number")], None),
        ([(COMPLETE, {0: [1, 2, 3, 5.0]}, "")] * 2, {0: [1, 2, 3, 5.0]}),
    ],
    ids=["empty", "base alone", "one", "pruned", "all failed", "running", "nan", "all alike"],
)
def test_sweeps_with_little_in_them(make: Make, trials: list[Any], base: Any) -> None:
    page, source, markdown, latex = written(make(trials, base))
    assert len(page.tables.get("table-ranking", [[]])) == 1 + len(trials) + bool(base) or not trials
    assert not re.search(r"\bnan\b", source.partition("<script>")[0] + markdown + latex, flags=re.IGNORECASE)
    assert "Written" in page.words and markdown and latex


def test_a_folder_that_is_no_sweep_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main([str(tmp_path)]) == 2
    assert "must be the folder of a sweep" in capsys.readouterr().err


def test_a_moved_sweep_has_the_same_report(make: Make) -> None:
    folder = make(TYPICAL, {0: [10, 20, 29, 30.111]})
    before = written(folder)[0].tables
    moved = folder.rename(folder.with_name("moved"))
    assert written(moved)[0].tables == before


def test_pictures_come_from_the_checkpoints_that_are_there(make: Make, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("PGPC_CACHE", str(tmp_path / "cache"))
    tiny = {"num_source": 2, "num_target": 2, "num_val": 2, "height": 64, "width": 64}
    settings = [f"data.streets.{key}={value}" for key, value in tiny.items()]
    settings += ["data.source_size=64,64", "data.target_size=64,64", "data.crop=64", "data.rare_class_sampling=false"]
    settings += ["model.head_channels=16", "training.iterations=1", "training.batch_size=1", "contrast.start=1"]
    settings += ["contrast.enabled=false"]
    config = pgpc.override(pgpc.preset("streets"), parse_settings(settings))
    pgpc.train(config, out=tmp_path / "run")
    folder = make(TYPICAL, {0: [10, 20, 29, 30.111]})
    for label in ("base", "0000"):
        target = folder / "trials" / label / "checkpoint_1"
        target.mkdir(parents=True)
        shutil.copy(tmp_path / "run" / "checkpoint.pt", target)
    (folder / "trials" / "0000" / "checkpoint_1" / "checkpoint.pt").write_bytes(b"damaged")
    assert report.main([str(folder), "--images", "1"]) == 0
    page = Page((folder / "report.html").read_text())
    kinds = [address.partition(";")[0] for address in page.loads if address.startswith("data:image")]
    assert kinds == ["data:image/jpeg", "data:image/png", "data:image/png"]  # image, base, ground truth
    assert "best: 0001 has left no checkpoint" in page.words and "worst: 0000 could not be loaded" in page.words
    assert report.main([str(folder), "--images", "1", "--seconds", "0"]) == 0
    assert "Drawing was stopped after 0 s" in Page((folder / "report.html").read_text()).words


def test_a_report_that_fails_says_so_and_the_last_one_is_kept(make: Make) -> None:
    folder, said = make(TYPICAL), []
    report.attempt(folder, said.append, images=0)
    first = (folder / "report.html").read_bytes()
    (folder / "results.parquet").write_bytes(b"damaged")
    report.attempt(folder, said.append, images=0)
    assert len(said) == 1 and said[0].startswith("the report could not be written: ") and "\n" not in said[0]
    assert (folder / "report.html").read_bytes() == first


def test_latex_is_balanced_and_escaped(typical: Path) -> None:
    *_, latex = written(typical)
    bare = re.sub(r"\\[\\{}$&#%_]", "", latex)
    assert bare.count("{") == bare.count("}") and bare.count("$") % 2 == 0
    assert not re.search(r"[_#^~<>|\u2013\u2212]", re.sub(r"\\label\{[^}]*\}", "", bare))
    assert re.findall(r"^%.*", bare) == re.findall("%.*", bare)
    for name in ("table", "tabular"):
        assert latex.count(rf"\begin{{{name}}}") == latex.count(rf"\end{{{name}}}") == 5
    for body in re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", latex, flags=re.DOTALL):
        lines = re.sub(r"\\&", "", body[1]).split(r"\\")[:-1]
        assert {line.count("&") for line in lines} == {len(body[0]) - 1}


def test_markdown_tables_have_as_many_cells_in_every_line(typical: Path) -> None:
    _, _, markdown, _ = written(typical)
    blocks = re.findall(r"(?:^\|.*\n)+", markdown, flags=re.MULTILINE)
    assert len(blocks) == 5
    for block in blocks:
        assert len({re.sub(r"\\.", "", line).count("|") for line in block.splitlines()}) == 1
    assert "<script>" not in markdown.replace(r"\<", "")


def test_axes_have_round_ticks_inside() -> None:
    axis = report_charts.linear_axis(0.13, 0.87)
    assert [text for _, text in axis.ticks] == ["0.2", "0.4", "0.6", "0.8"] and axis.place(0.5) == pytest.approx(0.5)
    flat = report_charts.linear_axis(3, 3)
    assert flat.place(3) == 0.5
    log = report_charts.param_axis([0.1], FloatDistribution(0.01, 1, log=True))
    assert log.place(0.1) == pytest.approx(0.5) and [t for _, t in log.ticks][:3] == ["0.01", "0.02", "0.05"]
    choices = report_charts.param_axis(["a", "c"], optuna.distributions.CategoricalDistribution(["a", "b"]))
    assert [text for _, text in choices.ticks] == ["a", "b", "c"] and choices.place("b") == 0.5


def test_numbers_have_a_minus_and_nothing_is_a_dash() -> None:
    assert report_formats.number(-1.234).text == f"{MINUS}1.23" and report_formats.number(float("nan")).text == NOTHING
    words = [report_formats.word(value).text for value in (True, 3, 0.12345, "a-b", None)]
    assert words == ["True", "3", "0.123", "a-b", NOTHING]


class Browser:
    """Headless Chromium, spoken to through a pipe by its DevTools protocol."""

    def __init__(self, program: str, profile: Path):
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (theirs_in, theirs_out)]

        def connect() -> None:  # Chromium reads from descriptor 3 and writes to 4
            for end, number in zip(ends, (3, 4), strict=True):
                os.dup2(end, number)

        self.process = subprocess.Popen(
            [
                program,
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                f"--user-data-dir={profile}",
                "--remote-debugging-pipe",
                "about:blank",
            ],
            preexec_fn=connect,
            close_fds=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (theirs_in, theirs_out, *ends):
            os.close(end)
        self.events: list[dict[str, Any]] = []
        self._session: dict[str, str] = {}
        self._rest, self._number = b"", 0
        pages = [t for t in self.ask("Target.getTargets")["targetInfos"] if t["type"] == "page"]
        found = self.ask("Target.attachToTarget", targetId=pages[0]["targetId"], flatten=True)
        self._session = {"sessionId": found["sessionId"]}

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The answer to one command."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params, **self._session}
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def load(self, page: Path, width: int) -> None:
        """Opens a file in a window of this width and waits until it is there."""
        self.events.clear()
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=844, deviceScaleFactor=1, mobile=width < 600)
        self.ask("Page.navigate", url=page.as_uri())
        while not self.seen("Page.loadEventFired"):
            self.events.append(self._read())

    def seen(self, *methods: str) -> list[dict[str, Any]]:
        """The events of these kinds since the page was opened."""
        return [event for event in self.events if event.get("method") in methods]

    def value(self, expression: str) -> Any:
        """What JavaScript gives for an expression."""
        return self.ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = os.read(self._in, 1 << 16)
            assert part, "Chromium has ended"
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)

    def end(self) -> None:
        """Ends it."""
        self.process.kill()
        self.process.wait()
        os.close(self._in)
        os.close(self._out)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """Chromium, where the machine has it."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    found = Browser(program, tmp_path / "profile")
    yield found
    found.end()


@pytest.mark.parametrize("width", [390, 1280])
def test_page_in_a_browser(typical: Path, browser: Browser, width: int) -> None:
    written(typical)
    for domain in ("Page", "Runtime", "Log", "Network"):
        browser.ask(f"{domain}.enable")
    browser.load(typical / "report.html", width)
    assert not browser.seen("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")
    asked = {event["params"]["request"]["url"] for event in browser.seen("Network.requestWillBeSent")}
    assert {address.partition(":")[0] for address in asked} == {"file"} and len(asked) == 1
    assert browser.value("document.documentElement.scrollWidth") <= width
    shown = browser.value("[...document.querySelectorAll('svg')].filter(s => s.clientWidth > 200).length")
    assert shown == 5 + 2  # each wide chart once
    browser.value("document.querySelectorAll('#table-ranking th button')[3].click()")
    order = "[...document.querySelectorAll('#table-ranking tbody tr')].map(row => row.cells[1].textContent).join()"
    assert browser.value(order) == "0001,0000,base,0002,0003,0004"
    browser.value("document.querySelectorAll('#table-ranking th button')[3].click()")
    assert browser.value(order) == "0003,0002,base,0000,0001,0004"  # upwards, and what has no score stays last
    picture = base64.b64decode(browser.ask("Page.captureScreenshot")["data"])
    assert len(picture) > 10_000
