"""The table of search algorithms: each entry makes a sampler of its own, and says what it needs."""

from __future__ import annotations

import re

import optuna
import pytest

from sweeps.definition.options import SweepOptions
from sweeps.search.samplers import SAMPLERS, Sampler, check_sampler, find_sampler, make_sampler
from sweeps.search.suggestions.evolution import Evolution
from tests.helpers.pages import page

BOTH = ("mIoU", "seconds")
KINDS = {
    "tpe": optuna.samplers.TPESampler,
    "random": optuna.samplers.RandomSampler,
    "gp": optuna.samplers.GPSampler,
    "cmaes": Evolution,
    "qmc": optuna.samplers.QMCSampler,
    "nsga2": optuna.samplers.NSGAIISampler,
    "grid": optuna.samplers.RandomSampler,  # it is never asked
}


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=list(SAMPLERS))
def test_every_name_makes_the_sampler_that_it_promises(sampler: Sampler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)  # whatever is installed here
    assert SAMPLERS[sampler.name] is sampler and sampler.help
    assert type(make_sampler(sampler.name, seed=0, num_trials=9)) is KINDS[sampler.name]


def test_a_name_without_an_entry_is_no_search_at_random() -> None:
    for call in (find_sampler, lambda name: make_sampler(name, seed=0, num_trials=9)):
        with pytest.raises(ValueError, match="--search must be one of tpe, .* but got 'luck'"):
            call("luck")
    with pytest.raises(TypeError, match="factory"):
        Sampler(name="luck", help="none")  # type: ignore[call-arg]  # that it is missing is the point


@pytest.mark.parametrize("sampler", [s for s in SAMPLERS.values() if s.packages], ids=lambda s: s.name)
def test_a_package_that_is_not_installed_is_named(sampler: Sampler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for package in sampler.packages[:1]:
        with pytest.raises(ValueError, match=f"pip install {package}"):
            check_sampler(SweepOptions(search=sampler.name))


@pytest.mark.parametrize(
    ("objectives", "search", "message"),
    [
        (BOTH, "cmaes", "--search cmaes takes one objective, .* Use --search tpe or nsga2"),
        (("mIoU",), "nsga2", "--search nsga2 is for several --objectives, but got one. Use --search tpe"),
    ],
)
def test_objectives_that_a_search_does_not_take(objectives: tuple[str, ...], search: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_sampler(SweepOptions(objectives=objectives, search=search))


def test_objectives_that_a_search_takes() -> None:
    for search in ("tpe", "random", "gp", "qmc", "nsga2", "grid"):
        check_sampler(SweepOptions(objectives=BOTH, search=search))


def test_the_page_of_sweeps_names_every_search_algorithm() -> None:
    (row,) = (line for line in page("sweeps.md").splitlines() if line.startswith("| `--search "))
    assert sorted(re.findall(r"`(\w+)`", row)) == sorted(SAMPLERS)
