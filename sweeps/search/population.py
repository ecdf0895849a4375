"""Population based training: the worst trials make room for children that are forked from the best in mid-training.

Jaderberg et al., Population Based Training of Neural Networks, 2017, section 3, with truncation selection. A population
has a fixed size. Once so many trials have reported at a rung, one that is in the lowest quarter there is ended with its
report, and its place is taken by a child of one of the highest quarter: a new trial of the study that has the parent's
parameters, perturbed, and is trained from a copy of the parent's last checkpoint to the same number of iterations. A
trial is only ended when there is a child for its place, so that as many trials as the population has are trained to the
end.

The study is the only truth. A child is added to it, with all that is to be known of it and RUNNING, in one transaction
after the checkpoint has been copied: from then on the trial in whose place it is has ended, even if the driver is
killed before it can say so.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from pgpc.config import Config, adjustable_keys
from pgpc.models.checkpoint import CHECKPOINT, read_metrics
from sweeps.common.names import Status
from sweeps.common.private_optuna import revive
from sweeps.definition.options import SweepOptions
from sweeps.definition.selection import Selection
from sweeps.definition.space import Conditions, Space
from sweeps.search import replicates, schedulers
from sweeps.search.perturbation import perturbed
from sweeps.search.verdicts.scoring import scores_at

_QUARTER = 4
_FOLDER = "parent"  # in the child's directory, what it is forked from
_REPLACES, _RUNG = "replaces", "rung"
"""User attributes of a child: in whose place it is, and at which rung that one was in the lowest quarter."""


class Population:
    """Which trials of a study make room for which children.

    Args:
        study: The study of the search.
        space: The space of its parameters.
        selection: What trials are chosen by.
        size: Number of trials that are trained to the end.
        rungs: Iterations at which trials are compared; every trial reports at each.
        iterations: Iteration at which a trial is complete.
        seed: Seed of the random choices, which depend on it and on the number of the child only.
        trials: Folder with the trials' directories.
    """

    def __init__(
        self,
        study: optuna.Study,
        *,
        space: Space,
        selection: Selection,
        size: int,
        rungs: Sequence[int],
        iterations: int,
        seed: int,
        trials: Path,
    ) -> None:
        self._study, self._space, self._selection, self._size = study, space, selection, size
        self._rungs, self._iterations, self._seed, self._trials = frozenset(rungs), iterations, seed, trials

    def has_free_slot(self) -> bool:
        """Return whether there are fewer members, trials that run or are complete, than the population has places."""
        return sum(t.state in (TrialState.RUNNING, TrialState.COMPLETE) for t in self._own()) < self._size

    def is_rung(self, iteration: int) -> bool:
        """Return whether trials are compared at this iteration."""
        return iteration in self._rungs

    def replace(self, trial: optuna.Trial, iteration: int) -> FrozenTrial | None:
        """End a trial that has just reported at `iteration`, if it is of the lowest quarter.

        It is compared at the last rung at which as many have reported as the population has: what the first to come
        there is worth shows when the others have come, and where all run at the same time that is one report later.

        Returns:
            The child in its place, which is RUNNING from now on; None if the trial goes on: it is better, or nobody of
            the highest quarter has a checkpoint in mid-training.
        """
        trials = self._own()
        reached = ((r, self._scores(trials, r)) for r in sorted(self._rungs, reverse=True) if r <= iteration)
        rung, values = next((found for found in reached if len(found[1]) >= self._size), (0, {}))
        if trial.number not in values or not is_low(values, trial.number):
            return None
        replaced, by_number = _replaced(trials), {t.number: t for t in trials}
        number = len(self._study.get_trials(deepcopy=False))
        for parent in (by_number[n] for n in highest(values)):
            if parent.state != TrialState.RUNNING or _label(parent) in replaced or parent.number == trial.number:
                continue
            metrics = self._copy_checkpoint(self._trials / _label(parent), self._trials / f"{number:04d}")
            if metrics:
                attrs = {_REPLACES: f"{trial.number:04d}", _RUNG: rung}
                self._study.add_trial(self._child(number, parent, metrics, attrs))
                child = self._study.get_trials(deepcopy=False)[-1]
                trial.set_user_attr(replicates.REASON, _reason(child))
                return child
        return None

    def end_replaced(self) -> None:
        """End the trials that have been replaced by a driver that was killed before it could end them."""
        trials = self._own()
        children = {child.user_attrs[_REPLACES]: child for child in trials if _REPLACES in child.user_attrs}
        for frozen in trials:
            if frozen.state == TrialState.RUNNING and _label(frozen) in children:
                trial = revive(self._study, frozen)
                trial.set_user_attr(replicates.REASON, _reason(children[_label(frozen)]))
                replicates.set_status(trial, 0, (0,), Status.PRUNED)  # there is one seed, see `check_population`
                self._study.tell(trial, state=TrialState.PRUNED)

    def parent_folder(self, trial: optuna.Trial) -> Path | None:
        """Return the folder with the checkpoint that a trial is forked from; None for one without a parent."""
        if replicates.parent_of(trial) is None:
            return None
        return self._trials / f"{trial.number:04d}" / _FOLDER

    def clean(self, trial: optuna.Trial) -> None:
        """Remove the checkpoint that a trial was forked from, when the trial has ended."""
        shutil.rmtree(self._trials / f"{trial.number:04d}" / _FOLDER, ignore_errors=True)

    def _child(self, number: int, parent: FrozenTrial, metrics: dict[str, float], attrs: dict[str, Any]) -> FrozenTrial:
        rng = np.random.default_rng([self._seed, number])
        return create_trial(
            state=TrialState.RUNNING,
            params=perturbed(parent.params, self._space, rng),
            distributions=self._space,
            user_attrs={**replicates.parent_attrs(_label(parent), metrics), **attrs},
        )

    def _copy_checkpoint(self, parent: Path, child: Path) -> dict[str, float] | None:
        """Copy the newest checkpoint that can be read, whole or not at all.

        The parent is trained on meanwhile, and keeps no other.

        Returns:
            The last report in the checkpoint; None where there is no checkpoint, or it is that of the end.
        """
        partial, target = child / f"{_FOLDER}-partial", child / _FOLDER
        for folder in (partial, target):  # of a driver that was killed before the child was in the study
            shutil.rmtree(folder, ignore_errors=True)
        for file in sorted(parent.glob(f"checkpoint_*/{CHECKPOINT}"), reverse=True):
            try:
                partial.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, partial / CHECKPOINT)
                metrics = read_metrics(partial)
                if self._selection.has(metrics) and metrics["iteration"] < self._iterations:
                    os.replace(partial, target)
                    return metrics
            except (OSError, ValueError):  # half-written, or removed for the next one
                continue
        shutil.rmtree(partial, ignore_errors=True)
        return None

    def _scores(self, trials: Sequence[FrozenTrial], rung: int) -> dict[int, float]:
        """Return the scores of all trials that came to a rung themselves and were in no lowest quarter before."""
        last = {t.user_attrs[_REPLACES]: t.user_attrs[_RUNG] for t in trials if _REPLACES in t.user_attrs}
        compared = (
            t for t in trials if t.user_attrs.get(replicates.PARENT_ITERATION, 0) < rung <= last.get(_label(t), rung)
        )
        return scores_at(compared, rung, self._selection)

    def _own(self) -> list[FrozenTrial]:
        return [trial for trial in self._study.get_trials(deepcopy=False) if replicates.is_own(trial)]


def check_population(options: SweepOptions, config: Config, space: Space, when: Conditions, num_enqueued: int) -> None:
    """Refuse what population based training cannot do.

    Args:
        options: The options of the sweep; its population and trials are known by now.
        config: The config of the trials.
        space: What is searched.
        when: The conditions of the space.
        num_enqueued: Number of trials that are to be run, whatever the search suggests.

    Raises:
        ValueError: There is something that it cannot do; the message has the remedy.
    """
    size, num_trials = options.population or 0, options.trials or 0
    fixed = [key for key in space if key not in adjustable_keys()]
    if fixed:
        raise ValueError(
            "--scheduler pbt changes parameters in mid-training, which must be of "
            f"{', '.join(adjustable_keys())}, but got {fixed[0]}. Use another --scheduler, or --set {fixed[0]}=VALUE."
        )
    if when:
        raise ValueError(
            f"--scheduler pbt perturbs all parameters of a trial, but {next(iter(when))} is searched under a condition "
            "only. Use another --scheduler, or leave the condition out."
        )
    if len(options.seeds or ()) > 1:
        raise ValueError(
            f"--scheduler pbt trains with one seed, but got --seeds {list(options.seeds or ())}. Use --seed, or "
            "another --scheduler."
        )
    if options.search == "grid":
        raise ValueError("--scheduler pbt makes its own parameters, but got --search grid. Use another --search.")
    _check_size(size, num_trials, num_enqueued)
    if not schedulers.rungs(options, config):
        raise ValueError(
            "--scheduler pbt compares trials at evaluations between contrast.start and the end, so that "
            f"training.eval_interval must be smaller, but got {config.training.eval_interval}. "
            "Use --set training.eval_interval=..."
        )


def _check_size(size: int, num_trials: int, num_enqueued: int) -> None:
    """Check that a population of this size can be filled, and can lose members to others."""
    if size < 2:
        raise ValueError(f"--population must be at least 2, to compare them, but got {size}. Give more.")
    if num_trials <= size:
        raise ValueError(
            f"--trials must be more than the population of {size}, of which the others take the places, but got "
            f"{num_trials}. Give more --trials, or a smaller --population."
        )
    if num_enqueued > size:
        raise ValueError(
            f"--population must be at least {num_enqueued}, for the preset's own parameters and those of --enqueue, "
            f"but got {size}. Give more, or enqueue fewer."
        )


def is_low(values: Mapping[int, float], number: int) -> bool:
    """Return whether a trial is of the lowest quarter: no more than that, and one at least, score as little.

    Args:
        values: Score by the trial's number, of all trials that have come as far.
        number: The number of the trial.
    """
    return len(values) > 1 and sum(v <= values[number] for v in values.values()) <= max(1, len(values) // _QUARTER)


def highest(values: Mapping[int, float]) -> list[int]:
    """Return the numbers of the trials of the highest quarter, at least one, best first."""
    ranked = sorted(values, key=lambda number: (-values[number], number))
    return ranked[: max(1, len(values) // _QUARTER)]


def _replaced(trials: Sequence[FrozenTrial]) -> set[str]:
    return {t.user_attrs[_REPLACES] for t in trials if _REPLACES in t.user_attrs}


def _reason(child: FrozenTrial) -> str:
    parent, rung = child.user_attrs[replicates.PARENT], child.user_attrs[_RUNG]
    return f"in the lowest quarter at {rung}; {_label(child)}, a child of {parent}, takes its place"


def _label(trial: FrozenTrial) -> str:
    return f"{trial.number:04d}"
