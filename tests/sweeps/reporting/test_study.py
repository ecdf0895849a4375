"""What a report reads from the study, above all the importances of the parameters."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import create_trial

from sweeps.reporting.data import read
from sweeps.reporting.study import Importances, importances
from tests.helpers.reports import COMPLETE, PRUNED, Make, Write


@pytest.mark.slow
def test_importances_are_those_of_optuna_from_ten_complete_trials_on(make: Make, write: Write) -> None:
    trials = [(COMPLETE, {0: [1, 30.0 + k % 3]}, "") for k in range(8)]
    trials = [*trials, (PRUNED, {0: [9, 15]}, ""), (COMPLETE, {0: [1, 30.0]}, ""), (COMPLETE, {0: [1, 39.0]}, "")]
    found = read(make(trials[:-2] + trials[-1:], name="nine"))
    assert found.importances == Importances(missing="it takes 10 complete trials, and there are 9")
    assert "Not known: it takes 10 complete trials, and there are 9." in write(found.sweep.folder).page.words
    ten = read(make(trials, name="ten")).importances
    assert next(iter(ten.shares)) == "contrast.eta"  # nothing else varies
    assert sum(ten.shares.values()) == pytest.approx(1) and ten.missing == ""
    alike = read(make([(COMPLETE, {0: [1, 30.0]}, "")] * 10, name="alike")).importances
    assert alike.missing == "all 10 complete trials have the same score"


def test_importances_of_several_objectives_are_those_of_a_higher_score() -> None:
    numbers, space = random.Random(0), {name: FloatDistribution(0, 1) for name in "ab"}
    one, two = optuna.create_study(direction="maximize"), optuna.create_study(directions=["minimize", "maximize"])
    for _ in range(40):
        params = {name: numbers.random() for name in space}
        score = params["a"] if params["b"] > 0.9 else 0.2 * params["a"]  # what sets the worst apart is a alone
        for study, values in ((one, [score]), (two, [params["b"], score])):
            study.add_trial(create_trial(values=values, params=params, distributions=space))
    assert importances(two, 1) == importances(one, 0)
    assert importances(one, 0).shares == optuna.importance.get_param_importances(one)


@pytest.mark.slow
def test_importances_do_without_scikit_learn_and_leave_it_to_others(tmp_path: Path) -> None:
    code = (
        "import sys, optuna\n"
        "from sweeps.reporting.study import importances\n"
        "study = optuna.create_study()\n"
        "study.optimize(lambda trial: trial.suggest_float('a', 0, 1), n_trials=10)\n"
        "assert importances(study, 0).shares == {'a': 1.0}\n"
        "assert not [name for name in sys.modules if name.partition('.')[0] == 'sklearn']\n"
        "import sklearn.tree\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
