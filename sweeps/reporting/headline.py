"""What a sweep has shown, in a few sentences that claim no more than a confirmation does.

The best of several trials lies above the base by chance alone: without any effect, with a noise of 0.7 points between
seeds, the best of 5 trials of one seed does so by 0.8 points on average. So its difference to the base is no result. An
effect is claimed only of trials that were trained anew with seeds that took no part in the choice, and only where the
interval of their differences to the base, by Holm's procedure over all of them, leaves out 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sweeps.common import words
from sweeps.common.names import METRIC, REPORT_METRIC, Kind, Status
from sweeps.definition.confirmation import confirm_command
from sweeps.definition.selection import Selection
from sweeps.definition.sweep import Sweep
from sweeps.estimates.spread import chance_of_the_best
from sweeps.findings.confirmation import Confirmation, ConfirmedTrial
from sweeps.results.summaries import Summary
from sweeps.results.tables import typeset

_TO_CONFIRM = 3
"""Number of trials whose confirmation is suggested, where there are so many."""
TARGET_LABELS = "All were trained with the labels of the few target images that data.target_labels names."
"""What is said of runs that are not without labels of the target, whatever they are chosen by."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What the headline is made of.

    Attributes:
        is_search: Whether parameters were searched; else the rows of the paper's tables were run.
        num_started: Number of trials that were started.
        num_tried: Number of trials that the best was chosen from: those that are complete, and those that were stopped
            early because others did better.
        num_complete: Number of the complete ones.
        num_seeds: Number of seeds of every trial.
        best: Label of the trial with the highest mean score; None without a complete one.
        score: Its score, as text with its unit.
        score_name: What the score is called.
        by_labels: Whether labels of the target make the score.
        on_labels: Whether labels of the target are trained on.
        miou: mIoU of that trial in percent; None where it is the score, or there are no labels.
        report_score: Its mIoU on images that took no part in the choice; None where there are none.
        confirmation: The confirmation; None where none was begun.
        confirm_command: What to type to confirm the best trials; "" where they cannot be confirmed.
    """

    is_search: bool
    num_started: int
    num_tried: int
    num_complete: int
    num_seeds: int
    best: str | None
    score: str
    score_name: str
    by_labels: bool
    on_labels: bool
    miou: float | None
    report_score: float | None
    confirmation: Confirmation | None
    confirm_command: str


@dataclass(frozen=True)
class Headline:
    """The result of a sweep.

    Attributes:
        text: One or more sentences.
        claims: Labels of the trials of which it says that they differ from the base.
    """

    text: str
    claims: tuple[str, ...] = ()

    @property
    def claims_effect(self) -> bool:
        """Whether it says of any trial that it differs from the base."""
        return bool(self.claims)


def find(
    sweep: Sweep, trials: Sequence[Summary], confirmation: Confirmation | None, selection: Selection | None = None
) -> Finding:
    """Return what the headline of a sweep is made of.

    Args:
        sweep: The sweep.
        trials: All its trials.
        confirmation: Its confirmation; None where none was begun.
        selection: What the trials are ranked by; None for what the sweep chooses by. With another one nothing is said
            of a confirmation, which is of the trials that the sweep has chosen.
    """
    own = sweep.selection
    selection = selection or own
    complete = [trial for trial in trials if trial.is_ranked and trial.score is not None]
    best = max(complete, key=lambda trial: trial.score or 0.0, default=None)
    searched = [trial for trial in trials if trial.kind == Kind.SEARCH]
    pruned = [trial for trial in searched if trial.status == Status.PRUNED]
    return Finding(
        is_search=sweep.is_search,
        num_started=len(searched) if sweep.is_search else len(trials),
        num_tried=len(complete) + len(pruned),
        num_complete=len(complete),
        num_seeds=len(sweep.seeds),
        best=best.label if best else None,
        score=f"{words.number(best.score, selection.spec)}{selection.unit}" if best else words.NOTHING,
        score_name=selection.name,
        by_labels=selection.needs_labels,
        on_labels=sweep.trains_on_target_labels,
        miou=best.miou if best and not selection.needs_labels else None,
        report_score=best.means.get(REPORT_METRIC) if best else None,
        confirmation=confirmation if selection == own else None,
        confirm_command=confirm_command(sweep, min(_TO_CONFIRM, len(complete))) if selection == own else "",
    )


def headline(finding: Finding) -> Headline:
    """Return the result of a sweep; it claims an effect only where a complete confirmation shows one."""
    confirmation = finding.confirmation
    if finding.best is None:
        search = " of the search" if finding.is_search else ""
        nothing = f"No trial{search} is complete yet." if finding.num_started else "No trial has been started yet."
        return Headline(nothing)
    chosen = _chosen(finding)
    if confirmation is None:
        return Headline(f"{chosen} {_caution(finding)}")
    if not confirmation.is_complete:
        return Headline(
            f"{chosen} Its confirmation with {_seeds(confirmation)} has not come to its end, so that no effect is "
            f"claimed. Resume it: {confirmation.resume_command}"
        )
    anew = f"trained anew with {_seeds(confirmation)}, which took no part in the choice"
    base = f"the base, the same training without contrast ({confirmation.metric})"
    if confirmation.effects:
        told = "; ".join(_told(trial, base, confirmation.unit) for trial in confirmation.effects)
        claims = tuple(trial.label for trial in confirmation.effects)
        return Headline(f"Of the trials {anew}, {told}{_family(confirmation)}. {chosen}", claims)
    num = len(confirmation.trials)
    which = f"none of the {num} trials" if num > 1 else "the one trial"
    none = "" if num > 1 else " not"
    return Headline(
        f"No effect was confirmed: {which} {anew} is{none} shown to differ from {base}. The first in the choice: "
        f"{_told(confirmation.trials[0], 'it', confirmation.unit)}{_family(confirmation)}. {chosen}"
    )


def _chosen(finding: Finding) -> str:
    """Return which trial is the best, and of how many."""
    tried = words.count(finding.num_tried, "trial" if finding.is_search else "config")
    if finding.num_tried > finding.num_complete:
        tried += f", {finding.num_tried - finding.num_complete} of them stopped early"
    seeds = "1 seed" if finding.num_seeds == 1 else f"{finding.num_seeds} seeds each"
    mean = "" if finding.num_seeds == 1 else "mean "
    text = f"{tried}, {seeds}: {finding.best} has the highest {mean}{finding.score_name}, {finding.score}"
    if not finding.by_labels:
        text += ", chosen without labels of the target"
    if finding.miou is not None:
        text += f"; its {METRIC}, which took no part in that, is {words.number(finding.miou)} %"
    if finding.report_score is not None:
        text += f", and {words.number(finding.report_score)} % on the labeled images that took no part in the choice"
    if finding.on_labels:
        text += f". {TARGET_LABELS.removesuffix('.')}"
    return f"{text}."


def _caution(finding: Finding) -> str:
    """Return why that is no effect, and what would show one."""
    if not finding.is_search:
        return "The paper's tables below have the differences to the bases."
    if finding.num_tried == 1:
        reason = "One trial may differ from the base by chance"
    else:
        mean = "the runs with one set of parameters" if finding.num_seeds == 1 else "such means"
        reason = (
            f"The choice of the best of {finding.num_tried} is optimistic: of so many equal trials the best lies by "
            f"chance alone {chance_of_the_best(finding.num_tried):.1f} standard deviations of {mean} above the rest"
        )
    remedy = f" Confirm it with fresh seeds: {finding.confirm_command}" if finding.confirm_command else ""
    return f"{reason}, so that no effect is claimed.{remedy}"


def _told(trial: ConfirmedTrial, base: str, unit: str) -> str:
    """Return how a trial differs from the base, which is called so, in a score of this unit."""
    found = trial.difference
    if found.adjusted is None:
        return f"trial {trial.label} has no interval (n = {found.spread.n})"
    spec, what = (".2f", " points") if unit else (".4f", "")
    low, high = (typeset(words.number(value, f"+{spec}")) for value in (found.adjusted.low, found.adjusted.high))
    side = "above" if found.spread.mean > 0 else "below"
    return (
        f"trial {trial.label} lies {abs(found.spread.mean):{spec}}{what} {side} {base} (95 % interval {low} to {high}, "
        f"n = {found.spread.n})"
    )


def _family(confirmation: Confirmation) -> str:
    num = len(confirmation.trials)
    return f", adjusted by Holm's procedure for {num} comparisons" if num > 1 else ""


def _seeds(confirmation: Confirmation) -> str:
    return f"the fresh seeds {words.listed([str(seed) for seed in confirmation.seeds])}"
