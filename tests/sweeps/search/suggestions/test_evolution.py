"""CMA-ES that unpickles nothing, and learns what Optuna's own does."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.samplers import CmaEsSampler
from optuna.trial import create_trial

from sweeps.common.private_optuna import UnitCube, set_system_attr
from sweeps.search.samplers import make_sampler
from sweeps.search.suggestions.evolution import GENERATION, told_optimizer

pytest.importorskip("cmaes")
SPACE = {"x": FloatDistribution(0, 1), "y": IntDistribution(64, 1024, log=True)}


def search(study: optuna.Study, num_trials: int) -> list[float]:
    """The scores of so many further trials of a score that is best at a point of the space."""
    found = []
    for _ in range(num_trials):
        trial = study.ask(SPACE)
        score = -abs(trial.params["x"] - 0.7) - abs(np.log2(trial.params["y"] / 256)) / 10
        study.tell(trial, score)
        found.append(score)
    return found


class Planted:
    """What somebody may have put into a study: reading it makes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return Path.touch, (self.file,)


def test_a_planted_optimizer_is_not_loaded(tmp_path: Path) -> None:
    file = tmp_path / "executed"
    study = optuna.create_study(direction="maximize", sampler=make_sampler("cmaes", seed=0, num_trials=9))
    trial = study.ask(SPACE)
    set_system_attr(study, study.trials[0], "cma:optimizer:0", pickle.dumps(Planted(file)).hex())
    set_system_attr(study, study.trials[0], "cma:generation", [0])
    study.tell(trial, 1.0)
    search(study, 20)
    assert not file.exists()
    kept = {key for found in study.trials[1:] for key in found.system_attrs}
    assert kept == {"cma:generation"}, "nothing is left that anybody would have to load"


def test_it_has_learned_what_optunas_own_has() -> None:
    own = CmaEsSampler(seed=0, n_startup_trials=5)
    study = optuna.create_study(direction="maximize", sampler=own)
    search(study, 40)
    theirs = own._restore_optimizer(study.trials)
    assert theirs is not None and theirs.generation >= 4
    ours = told_optimizer(study.trials, UnitCube({**SPACE}), study.direction, seed=1)
    # What was complete when theirs was kept: the last generation may be complete since.
    before = told_optimizer(study.trials[:-1], UnitCube({**SPACE}), study.direction, seed=1)
    assert any(o.generation == theirs.generation and np.allclose(o.mean, theirs.mean) for o in (ours, before))


def test_of_trials_side_by_side_the_first_make_a_generation() -> None:
    """Six of two parameters; what was asked for beside them plays no part, however good."""
    cube, direction = UnitCube({**SPACE}), optuna.study.StudyDirection.MAXIMIZE
    trials = [
        create_trial(value=x, params={"x": x, "y": 64}, distributions=SPACE, system_attrs={GENERATION: 0})
        for x in (0.3, 0.6, 0.2, 0.5, 0.4, 0.1, 0.9, 1.0)
    ]
    six, all_of_them = (told_optimizer(found, cube, direction, seed=1) for found in (trials[:6], trials))
    assert six.generation == all_of_them.generation == 1 and np.array_equal(six.mean, all_of_them.mean)


@pytest.mark.slow
def test_it_comes_closer_and_a_later_driver_goes_on(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    optuna.create_study(direction="maximize", storage=url, study_name="a")
    scores: list[float] = []
    for seed in range(2):
        sampler = make_sampler("cmaes", seed=seed, num_trials=30)
        scores += search(optuna.load_study(study_name="a", storage=url, sampler=sampler), 30)
    assert np.mean(scores[-10:]) > np.mean(scores[:10]) / 2
    study = optuna.load_study(study_name="a", storage=url)
    generations = [t.system_attrs["cma:generation"] for t in study.trials if t.system_attrs]
    assert generations == sorted(generations) and generations[-1] >= 5
