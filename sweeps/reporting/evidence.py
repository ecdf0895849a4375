"""The tables of what a sweep has shown: differences with their intervals, the confirmation, and what criteria chose."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pgpc.evaluation.names import CLASS_PREFIX
from sweeps.common import words
from sweeps.common.names import METRIC, REPORT_METRIC
from sweeps.estimates.differences import Difference
from sweeps.estimates.spread import Interval, mean_std_text
from sweeps.findings.confirmation import ConfirmedTrial
from sweeps.findings.selection_quality import Agreement, Estimate, Quality, regret_by_chance
from sweeps.reporting.data import SweepReport
from sweeps.results import tables
from sweeps.results.tables import EMPTY, Cell, Column, Item, Table

INTERVALS = (
    "Differences are means over pairs of runs with the same seed, with the number n of pairs and a two-sided interval "
    "of Student's t. Of several, the intervals are those of 95 % by Holm's procedure for all of them together, and so "
    "are the p values."
)
"""What an interval of a table is."""
ONE_SEED = "From one seed nothing tells a difference from the noise between seeds, so that none has an interval."
"""Why a table has no intervals."""
_LONG = 40  # letters of a criterion's name from which on it is told otherwise


def about_intervals(report: SweepReport) -> str:
    """Return what the intervals of a table of trials are."""
    text = INTERVALS
    if report.sweep.is_search and len(report.differences) > 1:
        text += (
            f" The highest of {len(report.differences)} owes its place partly to chance; what it is worth only a "
            "confirmation with fresh seeds tells."
        )
    return text


def about_split(report: SweepReport) -> str:
    """Return what the second mIoU of a sweep is that keeps images out of the choice."""
    share = report.sweep.options.report_split
    of_all = "" if share is None else f", {words.percent(share)} of them"
    return (
        f"{METRIC} is over the labeled target images that trials are chosen by; {REPORT_METRIC} is over those that "
        f"take no part in the choice{of_all}."
    )


def about_classes(report: SweepReport) -> str:
    """Return over which classes the mIoU of a sweep's runs is; "" where nothing is scored."""
    numbers = sorted({num for row in report.rows if (num := sum(key.startswith(CLASS_PREFIX) for key in row.metrics))})
    if not numbers:
        return ""
    total = report.sweep.config.model.num_classes
    text = f"{METRIC} is the mean over the classes that are labeled or predicted, "
    if numbers == [total]:
        return f"{text}all {total}."
    spread = str(numbers[0])
    if len(numbers) > 1:  # a class that is not labeled is in the mean of those runs alone that predict it
        spread = f"{numbers[0]} to {numbers[-1]}, not as many in all runs,"
    return f"{text}{spread} of {total}."


def mean_difference(difference: Callable[[Item], Difference | None]) -> Column[Item]:
    """Return the column of the mean difference to the base.

    Args:
        difference: Gives the difference of an item; None where it has none.
    """

    def cell(item: Item) -> Cell:
        found = difference(item)
        return tables.number(found.spread.mean, "+.2f") if found else EMPTY

    return Column("vs base", cell)


def differences(difference: Callable[[Item], Difference | None]) -> list[Column[Item]]:
    """Return the columns of the difference to the base and of how sure it is; see `mean_difference`."""

    def column(name: str, cell: Callable[[Difference], Cell]) -> Column[Item]:
        def of_item(item: Item) -> Cell:
            found = difference(item)
            return cell(found) if found else EMPTY

        return Column(name, of_item)

    return [
        mean_difference(difference),
        column("its std", lambda found: tables.number(found.spread.std)),
        column("n", lambda found: tables.number(found.spread.n, "d")),
        column("95 % interval", lambda found: _interval(found.adjusted, "+.2f")),
        column("p", lambda found: tables.number(found.p_adjusted, ".3f")),
    ]


def confirmation(report: SweepReport) -> Table | None:
    """Return the table of the trials that were trained anew; None where none were."""
    found = report.confirmation
    if found is None:
        return None
    chosen = {trial.label: trial for trial in report.trials}
    num, seeds = len(found.seeds), words.listed([str(seed) for seed in found.seeds])
    base = mean_std_text(found.base, num)
    caption = (
        f"The best {words.count(len(found.trials), 'trial')} of the search, trained anew with the fresh seeds {seeds}, "
        f"which took no part in the choice, and compared in {found.metric} with the base, the same training without "
        f"contrast, trained anew too ({base}{found.unit}). {INTERVALS}"
    )
    if not found.is_complete:
        caption += " Some runs have not ended yet, so that nothing is claimed."

    def before(trial: ConfirmedTrial) -> Cell:
        return tables.number(chosen[trial.label].score) if trial.label in chosen else EMPTY

    def param(key: str) -> Column[ConfirmedTrial]:
        return Column(words.short(key), lambda trial: tables.param(_params(report, trial).get(key)))

    columns = [
        Column[ConfirmedTrial]("trial", lambda trial: tables.word(trial.label), left=True),
        Column("fresh seeds", lambda trial: tables.figures(mean_std_text(trial.values, num))),
        *differences(lambda trial: trial.difference),
        Column("in the choice", before),
        *(param(key) for key in report.params),
    ]
    return Table.of("confirmation", caption, columns, found.trials)


def selection(report: SweepReport) -> Table | None:
    """Return the table of what each criterion would have chosen; None without criteria, or labels to judge them by."""
    return selection_table(report.qualities, report.candidates) if report.qualities else None


def selection_table(qualities: Sequence[Quality], candidates: Mapping[str, Mapping[str, float]]) -> Table:
    """Return the table of what choices would have come to.

    Args:
        qualities: The choices, the oracle's last.
        candidates: Label -> metrics of the trials that could be chosen.
    """
    has_report = any(quality.report_score is not None for quality in qualities)
    chance = regret_by_chance(candidates)
    checkpoints = max((q.checkpoints.num for q in qualities if q.checkpoints), default=0)
    num, evaluations = words.count(len(candidates), "complete trial"), words.count(checkpoints, "evaluation")
    caption = (
        f"What a choice without target labels would have come to, of {num}. Regret is the highest {METRIC} less that "
        f"of the chosen trial, in points; a trial drawn at random has one of {chance:.2f} on average. Rank "
        f"correlations with {METRIC} are Spearman's and Kendall's (tau-b), over the trials and over {evaluations} of "
        "all trials. In brackets are 95 % bootstrap intervals, of whole trials drawn anew. The last line is no "
        "criterion: it takes the labels."
    )
    columns = [
        Column[Quality]("criterion", lambda quality: tables.word(_criterion(quality)), left=True),
        Column("chosen", lambda quality: tables.word(quality.chosen), left=True),
        Column(METRIC, lambda quality: tables.number(quality.score)),
        *([Column[Quality](REPORT_METRIC, lambda quality: tables.number(quality.report_score))] if has_report else []),
        Column("regret", lambda quality: _estimate(quality.regret)),
        *_correlations("trials", lambda quality: quality.trials),
        *_correlations("checkpoints", lambda quality: quality.checkpoints),
    ]
    return Table.of("selection", caption, columns, qualities)


def _correlations(over: str, agreement: Callable[[Quality], Agreement | None]) -> list[Column[Quality]]:
    def spearman(quality: Quality) -> Cell:
        found = agreement(quality)
        return _estimate(found.spearman) if found else EMPTY

    def kendall(quality: Quality) -> Cell:
        found = agreement(quality)
        return _estimate(found.kendall) if found else EMPTY

    return [Column(f"Spearman, {over}", spearman), Column(f"Kendall, {over}", kendall)]


def _criterion(quality: Quality) -> str:
    parts = quality.name.split(",")
    return f"mean rank of {len(parts)} of these" if len(quality.name) > _LONG and len(parts) > 1 else quality.name


def _params(report: SweepReport, trial: ConfirmedTrial) -> dict[str, object]:
    return next((dict(found.params) for found in report.trials if found.label == trial.label), {})


def _estimate(estimate: Estimate) -> Cell:
    text = words.number(estimate.value)
    if estimate.interval is not None:
        text += f" [{estimate.interval.low:.2f}, {estimate.interval.high:.2f}]"
    return Cell(text=text, value=None if text == words.NOTHING else estimate.value, numeric=True)


def _interval(interval: Interval | None, spec: str) -> Cell:
    if interval is None:
        return EMPTY
    return tables.figures(f"{interval.low:{spec}} to {interval.high:{spec}}")
