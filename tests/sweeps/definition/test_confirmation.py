"""The confirmation of a sweep: what it trains, what it refuses, and how it is taken up again."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from sweeps.definition.confirmation import confirm_command, confirmation_of, fresh_seeds
from sweeps.definition.options import SweepOptions
from sweeps.definition.planning import new_sweep, resumed_sweep
from sweeps.definition.sweep import Sweep

TRIALS = {"0004": {"contrast.eta": 0.3}, "0001": {"contrast.eta": 0.7}, "0000": {"contrast.eta": 0.5}}


def make(storage: Path, **options: Any) -> Sweep:
    sweep = new_sweep(SweepOptions(storage=str(storage), name="a", **options))
    sweep.folder.mkdir(parents=True)
    sweep.save()
    return sweep


def begun(sweep: Sweep, **given: Any) -> Sweep:
    """A confirmation that has started."""
    found = confirmation_of(sweep, TRIALS, {"resume": "a", "confirm": 2, "seeds": (3, 4), **given})
    found.folder.mkdir()
    found.save()
    return found


def test_the_best_and_the_base_are_trained_anew_as_they_were(tmp_path: Path) -> None:
    sweep = make(tmp_path, set=("training.iterations=120",), workers=1, search="random", trials=9, share_trunk=False)
    found = begun(sweep, time_budget=60.0)
    assert found.folder == tmp_path / "a" / "confirmation" and found.report_folder == sweep.folder
    assert list(found.confirms) == ["base", "0004", "0001"] and found.seeds == (3, 4) and not found.is_search
    assert found.num_trials == 3 and found.known == [{"row": name} for name in found.confirms]
    best = found.trial_config({"row": "0004"}, 4)
    assert best == sweep.trial_config(TRIALS["0004"], 4) and best.contrast.eta == 0.3 and best.seed == 4
    assert found.trial_config({"row": "base"}, 3) == sweep.trial_config({}, 3)
    assert set(found.compared) == {"contrast.eta", "contrast.enabled", "seed"}
    options = found.options
    assert (options.workers, options.share_trunk, options.set, options.confirm) == (1, False, sweep.options.set, 2)
    assert (options.search, options.trials, options.time_budget) == ("tpe", None, 60.0)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    found = begun(make(tmp_path))
    read = Sweep.load(found.folder)
    assert dict(read.table_configs) == dict(found.table_configs) and read.confirms == found.confirms
    assert read.seeds == (3, 4) and read.options.confirm == 2 and read.tables == [] and not read.is_search
    assert Sweep.load(tmp_path / "a").confirms == {} and Sweep.load(tmp_path / "a").is_search
    resumed = resumed_sweep({"resume": "confirmation", "storage": str(tmp_path / "a")})
    assert resumed.confirms == found.confirms


def test_a_confirmation_goes_on_as_it_began(tmp_path: Path) -> None:
    sweep = make(tmp_path)
    begun(sweep)
    # Another trial has become the best meanwhile: it has no part in the confirmation.
    trials = {"0009": {"contrast.eta": 0.1}, **TRIALS}
    for given in ({}, {"seeds": (3, 4)}, {"seeds": [3, 4], "concurrency": 1}):
        again = confirmation_of(sweep, trials, {"resume": "a", "confirm": 2, **given})
        assert list(again.confirms) == ["base", "0004", "0001"] and again.seeds == (3, 4)
    for given in ({"confirm": 2, "seeds": (6, 7)}, {"confirm": 3}):
        with pytest.raises(ValueError, match="must keep its --(seeds|confirm), which was .* Resume it with --"):
            confirmation_of(sweep, trials, {"resume": "a", **given})


@pytest.mark.parametrize(
    ("options", "given", "message"),
    [
        (
            {},
            {"seeds": (0, 3)},
            "--seeds of a confirmation must have taken no part in the choice, which was made with 0",
        ),
        ({"seeds": (3, 5)}, {"seeds": (4, 5)}, "but got '4,5'. Give for example --seeds 0,1,2."),
        ({}, {}, "must have at least two fresh --seeds, since an interval takes two, but got 'no --seeds'"),
        ({}, {"seeds": (3,)}, "at least two fresh --seeds, since an interval takes two, but got '3'"),
        ({}, {"seeds": (3, 3)}, "--seeds must be different seeds"),
        ({}, {"seeds": (3, 4), "confirm": 4}, "--confirm must be at most the number of complete trials, which is 3"),
        ({}, {"seeds": (3, 4), "confirm": 0}, "--confirm must be a whole number of at least 1, but got 0."),
        ({}, {"seeds": (3, 4), "trials": 9}, "it takes no option that would change them, but got '--trials'"),
        ({}, {"seeds": (3, 4), "set": ("contrast.r=3",)}, "but got '--set'. Leave it out."),
        ({"table": (12,)}, {"seeds": (3, 4)}, "--confirm must name a search, whose best trials were chosen"),
        ({"scheduler": "pbt", "population": 2}, {"seeds": (3, 4)}, "whose trials kept their parameters"),
    ],
)
def test_what_would_be_no_confirmation_is_refused(
    options: dict[str, Any], given: dict[str, Any], message: str, tmp_path: Path
) -> None:
    sweep = make(tmp_path, **options)
    with pytest.raises(ValueError, match=re.escape(message)):
        confirmation_of(sweep, TRIALS, {"resume": "a", "confirm": 2, **given})
    assert not (sweep.folder / "confirmation").exists()


def test_fresh_seeds_are_others(tmp_path: Path) -> None:
    sweep = make(tmp_path, seeds=(0, 2, 9))
    assert fresh_seeds(sweep, 3) == (1, 3, 4)
    assert confirm_command(sweep, 3) == (
        f"python sweeps/run_ablation.py --resume a --storage {tmp_path} --confirm 3 --seeds 1,3,4"
    )
    population = dataclasses.replace(sweep, options=dataclasses.replace(sweep.options, population=2))
    assert confirm_command(population, 3) == ""


def test_a_confirmation_joins_no_cluster_unasked_and_takes_no_older_trials(tmp_path: Path) -> None:
    sweep = make(tmp_path, address="192.0.2.9:6379")
    given = {"resume": "a", "confirm": 2, "seeds": (3, 4)}
    with pytest.raises(ValueError, match="--address must be given again"):
        confirmation_of(sweep, TRIALS, given)
    assert confirmation_of(sweep, TRIALS, {**given, "address": "local"}).options.cluster is None
    (sweep.folder / "confirmation" / "trials" / "0000").mkdir(parents=True)
    with pytest.raises(ValueError, match="needs a folder of its own, but .*confirmation has trials/0000"):
        confirmation_of(sweep, TRIALS, {**given, "address": "local"})
