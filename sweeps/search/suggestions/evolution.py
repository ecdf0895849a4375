"""CMA-ES whose state is made anew from the trials, so that nothing of a study is ever unpickled.

Optuna's own sampler keeps its optimizer in the study as a pickle and loads it again, so that the study of a stranger
would run a stranger's code. What the optimizer has learned follows from the trials that it was told about, generation
by generation; telling it all of them again takes milliseconds. Pickles that an earlier version has left are not read.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import CmaEsSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from sweeps.common.private_optuna import UnitCube, set_system_attr

if TYPE_CHECKING:
    import cmaes

GENERATION = "cma:generation"
"""System attribute of a trial: how often the optimizer had learned when it suggested it. Optuna's own sampler has the
same, so that a search which that has begun goes on."""
_SIGMA = 1 / 6
"""The first step size, in widths of the space; the same as Optuna's."""


class Evolution(CmaEsSampler):
    """Suggests as Optuna's CMA-ES does, without keeping anything but the generation of each trial.

    Args:
        seed: Seed of the random numbers.
        num_startup: Complete trials before it is asked; until then parameters are drawn at random.
    """

    def __init__(self, *, seed: int, num_startup: int) -> None:
        super().__init__(seed=seed, n_startup_trials=num_startup)
        self._num_startup, self._random = num_startup, np.random.RandomState(seed)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return values of these parameters; called by Optuna."""
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if not search_space or len(complete) < self._num_startup:
            return {}
        seed = self._random.randint(1, 2**16) + trial.number
        cube = UnitCube(search_space)
        optimizer = told_optimizer(complete, cube, study.direction, seed=seed)
        set_system_attr(study, trial, GENERATION, optimizer.generation)
        return cube.untransform(optimizer.ask())


def told_optimizer(complete: list[FrozenTrial], cube: UnitCube, direction: StudyDirection, *, seed: int) -> cmaes.CMA:
    """Return the optimizer after all generations that are complete.

    Args:
        complete: The complete trials, in order.
        cube: The space that is searched.
        direction: Which way is better.
        seed: Seed of what it will draw; what it has learned does not depend on it.
    """
    import cmaes

    dim = len(cube.bounds)
    optimizer = cmaes.CMA(
        mean=np.full(dim, 0.5), sigma=_SIGMA, bounds=cube.bounds, seed=seed, n_max_resampling=10 * dim
    )
    generations = defaultdict[Any, list[FrozenTrial]](list)
    for trial in complete:
        generations[str(trial.system_attrs.get(GENERATION))].append(trial)
    sign = 1 if direction == StudyDirection.MINIMIZE else -1
    # Trials that were asked for side by side may be more than a generation needs; the first ones count.
    while len(members := generations[str(optimizer.generation)]) >= optimizer.population_size:
        optimizer.tell([(cube.transform(t.params), sign * t.values[0]) for t in members[: optimizer.population_size]])
    return optimizer
