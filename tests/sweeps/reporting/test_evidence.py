"""The tables of what a sweep has shown, and that a report claims no more."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from sweeps import report
from sweeps.reporting import evidence
from sweeps.reporting.data import SweepReport, read
from sweeps.reporting.webpage.sections import all_sections
from tests.helpers.reports import COMPLETE, MINUS, TYPICAL, Make, Write, confirm

CLAIM = re.compile(r"\b(better|worse|improve\w*|outperform\w*|superior|confirmed with|significan\w*|gain\w*)\b", re.I)


def with_criteria(folder: Path, *, split: bool = False) -> SweepReport:
    """A report of a sweep whose trials have two criteria, at their ends and over their checkpoints."""
    found = read(folder)
    values = {"0000": (3.0, 0.1), "0001": (2.0, 0.4), "0002": (1.0, 0.3), "base": (9.0, 9.0)}
    rows = []
    for row in found.rows:
        snd, bnm = values[row.trial]
        extra = {"criteria/snd": snd, "criteria/bnm": bnm}
        if split and row.score is not None:
            extra["report/mIoU"] = row.score - 2
        rows.append(dataclasses.replace(row, metrics={**row.metrics, **extra}))
    reports = {
        label: {k: {"mIoU": 10.0 + k / 10 + i, "criteria/snd": k - 40.0 * i} for k in (25, 50)}
        for i, label in enumerate(("0000", "0001", "0002", "base"))
    }
    return dataclasses.replace(found, rows=rows, reports=reports)


@pytest.fixture
def three(make: Make) -> Path:
    """A base and three complete trials, 0001 with the highest mIoU."""
    scores = (31.0, 33.0, 32.0)
    return make([(COMPLETE, {0: [1, score]}, "") for score in scores], {0: [1, 30.0]})


def test_a_sweep_of_five_trials_and_one_seed_claims_nothing(make: Make, write: Write) -> None:
    trials = [(COMPLETE, {0: [10, 20, 29, 30.0 + k]}, "") for k in range(5)]
    page, source, markdown, latex = write(make(trials, {0: [10, 20, 29, 30.0]}, name="five"))
    assert page.words.count("no effect is claimed") == 1 and "5 trials, 1 seed: 0004 has the highest mIoU" in page.words
    for text in (re.sub(r"(?s)<style>.*?</style>|<script>.*?</script>", "", source), markdown, latex):
        assert not CLAIM.search(text), CLAIM.search(text)
        assert "nothing tells a difference from the noise between seeds" in text
        assert "95 % interval" not in text
    assert "+4.00" not in page.words.partition("Ranking")[0], "the difference of the best is no headline"
    assert "Not known: it takes 10 complete trials, and there are 5." in page.words


def test_the_words_that_make_a_claim_are_found() -> None:
    assert CLAIM.search("0004 is better than the base") and not CLAIM.search("0004 lies above the base")


def test_confirmation_has_a_table_of_its_own(three: Path, write: Write) -> None:
    confirm(three, {"base": {3: 30.0, 4: 31.0}, "0001": {3: 33.0, 4: 34.1}, "0002": {3: 30.0, 4: 32.0}})
    page, source, markdown, latex = write(three)
    head, best, other = page.tables["table-confirmation"]
    assert head[:8] == ["trial", "fresh seeds", "vs base", "its std", "n", "95 % interval", "p", "in the choice"]
    assert best[:5] == ["0001", "33.55 ± 0.78", "+3.05", "0.07", "2"] and best[7] == "33.00"
    assert best[5] == "+1.78 to +4.32" and best[6] == "0.021"  # the quantile of 98.75 % is 25.45, the error 0.05
    assert other[5] == f"{MINUS}5.85 to +6.85" and other[6] == "0.500"  # 95 %: 12.71 times 0.5
    assert best[head.index("eta")] == "0.2"
    assert "fresh seeds 3 and 4" in markdown and r"\label{tab:confirmation}" in latex and 'id="confirmation"' in source
    assert "trial 0001 lies 3.05 points above the base" in page.words
    assert pq.read_table(three / "confirmation.parquet")["trial"].to_pylist() == ["0001", "0002"]


def test_a_confirmation_has_no_report_of_its_own(three: Path, capsys: pytest.CaptureFixture[str]) -> None:
    confirm(three, {"base": {3: 30.0, 4: 31.0}, "0001": {3: 33.0, 4: 34.1}})
    assert report.main([str(three / "confirmation"), "--images", "0"]) == 2
    assert f"Give '{three}', whose report tells of it." in capsys.readouterr().err


def test_without_criteria_nothing_is_said_of_them(three: Path, write: Write) -> None:
    assert read(three).qualities == [] and evidence.selection(read(three)) is None
    assert 'id="selection"' not in write(three).source and not (three / "selection.parquet").exists()


@pytest.mark.slow
def test_criteria_have_a_table_and_a_chart(three: Path) -> None:
    found = with_criteria(three)
    table = evidence.selection(found)
    assert table is not None
    assert list(table.head) == [
        "criterion",
        "chosen",
        "mIoU",
        "regret",
        "Spearman, trials",
        "Kendall, trials",
        "Spearman, checkpoints",
        "Kendall, checkpoints",
    ]
    lines = [[cell.text for cell in row] for row in table.rows]
    assert [line[:3] for line in lines] == [
        ["snd", "0000", "31.00"],
        ["bnm", "0001", "33.00"],
        ["rank:snd,bnm", "0001", "33.00"],
        ["oracle: by target labels", "0001", "33.00"],
    ]
    assert [cell.value for cell in [row[3] for row in table.rows]] == [2.0, 0.0, 0.0, 0.0]
    assert table.rows[0][4].value == pytest.approx(-0.5) and table.rows[1][4].value == pytest.approx(1.0)
    assert lines[3][4:] == ["-"] * 4 and table.rows[0][6].value is not None and lines[1][6] == "-"
    assert "a trial drawn at random has one of 1.00 on average" in table.caption
    assert "over the trials and over 6 evaluations of all trials" in table.caption, "the base's are not among them"
    section = next(s for s in all_sections(found, None) if s.anchor == "selection")
    assert section.content.count("<svg") == 2 and "snd: chose 0000, regret 2.00" in section.content


def test_images_kept_out_of_the_choice_are_reported_as_such(three: Path) -> None:
    found = with_criteria(three, split=True)
    assert found.finding.report_score == 31.0
    assert "31.00 % on the labeled images that took no part in the choice" in all_text(found)
    ranking = next(s for s in all_sections(found, None) if s.anchor == "ranking").content
    assert "report/mIoU is over those that take no part in the choice" in ranking and ">report/mIoU<" in ranking
    table = evidence.selection(found)
    assert table is not None and [row[3].text for row in table.rows] == ["29.00", "31.00", "31.00", "31.00"]


def all_text(found: SweepReport) -> str:
    from sweeps.reporting.webpage.header import header

    return header(found)


def test_typical_files_have_no_more_than_before(typical: Path, write: Write) -> None:
    write(typical)
    assert len(TYPICAL) == 5 and not (typical / "confirmation.parquet").exists()
