"""Which rows of the paper's tables, or which confirmed trials, a run stands for."""

from __future__ import annotations

from pathlib import Path

from sweeps.command_line import parse
from sweeps.common.names import Kind, Status
from sweeps.definition.confirmation import confirmation_of
from sweeps.definition.options import SweepOptions
from sweeps.definition.planning import new_sweep
from sweeps.results.labels import label_rows
from sweeps.results.rows import Row


def row(name: str, seed: int) -> Row:
    status = Status.COMPLETE
    return Row(
        label=f"{name}-s{seed}",
        trial=name,
        kind=Kind.SEARCH,
        status=status,
        outcome=status,
        seed=seed,
        params={"row": name},
    )


def test_runs_of_several_tables_have_a_row_in_each(tmp_path: Path) -> None:
    given = parse(["--storage", str(tmp_path), "--table", "9,12", "--seeds", "1,2"])
    sweep = new_sweep(SweepOptions.from_given(given))
    names = ["9: 0", "9: 0.05", "9: 0.1", "9: 0.2", "9: 0.3", "9: 0.4", "12: 3", "12: 5", "12: 6"]
    assert list(sweep.table_configs) == names
    rows = label_rows(sweep, [row(name, seed) for name in names for seed in (1, 2)])
    assert len(rows) == 2 * (6 + 5)
    of_12 = [r for r in rows if r.paper and r.paper.table == 12 and r.seed == 2]
    assert [(r.paper and r.paper.row, r.kind, r.params.get("contrast.r")) for r in of_12] == [
        ("without contrast", Kind.REFERENCE, None),
        ("3", Kind.SEARCH, 3),
        ("4", Kind.SEARCH, 4),
        ("5", Kind.SEARCH, 5),
        ("6", Kind.SEARCH, 6),
    ]
    config = sweep.trial_config({"row": "12: 5"}, 2)
    assert (config.contrast.r, config.seed) == (5, 2)


def test_rows_of_a_search_belong_to_no_table(tmp_path: Path) -> None:
    sweep = new_sweep(SweepOptions(storage=str(tmp_path)))
    rows = [row("0000", 0)]
    assert label_rows(sweep, rows) == rows


def test_runs_of_a_confirmation_bear_the_labels_of_what_they_confirm(tmp_path: Path) -> None:
    search = new_sweep(SweepOptions(storage=str(tmp_path), name="a"))
    trials = {"0007": {"contrast.eta": 0.3}}
    sweep = confirmation_of(search, trials, {"confirm": 1, "seeds": (1, 2)})
    base, best = label_rows(sweep, [row("base", 1), row("0007", 2)])
    assert (base.trial, base.kind, dict(base.params)) == ("base", Kind.REFERENCE, {})
    assert (best.trial, best.kind, dict(best.params)) == ("0007", Kind.SEARCH, trials["0007"])
    assert best.label == "0007-s2", "its directory keeps its name"
