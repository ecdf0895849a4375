"""The search space fits the config that it is built around."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

import pgpc
from sweeps.command_line import parse
from sweeps.common.private_optuna import contains
from sweeps.definition.options import SweepOptions
from sweeps.definition.planning import new_sweep, resumed_sweep
from sweeps.definition.space import (
    DEFAULT_SPACE,
    complete_params,
    conditions,
    grid,
    own_values,
    parse_range,
    read_space,
    search_space,
    trial_config,
)
from sweeps.definition.sweep import Sweep

STREETS = pgpc.preset("streets")


def test_every_corner_of_the_space_is_a_valid_config() -> None:
    space = search_space(STREETS)
    for end in (0, -1):
        corner = {k: (d.low, d.high)[end] if hasattr(d, "low") else d.choices[end] for k, d in space.items()}
        assert trial_config(STREETS, corner).contrast.r == corner["contrast.r"]


def test_few_classes_bound_the_rank() -> None:
    config = pgpc.override(STREETS, {"model.num_classes": 6})
    assert search_space(config)["contrast.r"].high == 5


def test_own_values_are_inside_even_when_unusual() -> None:
    config = pgpc.override(STREETS, {"contrast.anchors": 100, "contrast.eta": 0.95, "contrast.weight": 1.0})
    space = search_space(config)
    for key, value in own_values(config, space).items():
        assert contains(space[key], value), key


def test_fixed_key_leaves_the_search() -> None:
    assert set(search_space(STREETS, fixed=["contrast.eta", "training.iterations"])) == set(DEFAULT_SPACE) - {
        "contrast.eta"
    }


def test_nothing_left_to_search_is_refused() -> None:
    with pytest.raises(ValueError, match="At least one parameter"):
        search_space(STREETS, fixed=list(DEFAULT_SPACE))


def test_config_without_contrast_is_refused() -> None:
    with pytest.raises(ValueError, match=r"contrast\.enabled must be true"):
        search_space(pgpc.override(STREETS, {"contrast.enabled": False}))


def test_reference_differs_in_the_contrast_alone() -> None:
    assert trial_config(STREETS, {}) == pgpc.override(STREETS, {"contrast.enabled": False})


@pytest.mark.parametrize(
    ("key", "text", "expected"),
    [
        ("contrast.eta", "0.2:0.8", FloatDistribution(0.2, 0.8)),
        ("contrast.eta", "0.2 : 0.8 : 0.1", FloatDistribution(0.2, 0.8, step=0.1)),
        ("contrast.weight", "0.02:0.5:log", FloatDistribution(0.02, 0.5, log=True)),
        ("contrast.r", "2:6", IntDistribution(2, 6)),
        ("contrast.r", "2:6:2", IntDistribution(2, 6, step=2)),
        ("contrast.anchors", "64,128", CategoricalDistribution([64, 128])),
        (
            "contrast.positive",
            "source_prototype,target_prototype",
            CategoricalDistribution(["source_prototype", "target_prototype"]),
        ),
        ("training.sync_batch_norm", "true,false", CategoricalDistribution([True, False])),
    ],
)
def test_ranges_in_words(key: str, text: str, expected: object) -> None:
    assert parse_range(key, text, STREETS) == expected


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("contrast.etta", "0.2:0.8", "Unknown config key 'contrast.etta'"),
        ("contrast.eta", "0.2:1.8", "contrast.eta must lie in"),
        ("contrast.eta", "0.8:0.2", "--range takes KEY=LOW:HIGH"),
        ("contrast.eta", "0.2:0.8:0.1:0.1", "--range takes KEY=LOW:HIGH"),
        ("contrast.r", "2:6.5", "contrast.r must be a whole number"),
        ("contrast.positive", "a:b", "contrast.positive must be one of"),
        ("contrast.negative", "source,target", "cannot search contrast.negative"),
        ("seed", "0,1", "Use --seeds"),
    ],
)
def test_ranges_that_do_not_fit(key: str, text: str, message: str) -> None:
    with pytest.raises(ValueError) as error:
        parse_range(key, text, STREETS)
    assert message in str(error.value)


def sweep_of(tmp_path: Path, *arguments: str) -> Sweep:
    return new_sweep(SweepOptions.from_given(parse(["--storage", str(tmp_path), *arguments])))


def test_range_replaces_the_default_or_joins_it(tmp_path: Path) -> None:
    space = sweep_of(tmp_path, "--range", "contrast.eta=0.2:0.8", "--range", "contrast.temperature=0.1:1").space
    assert list(space) == [*DEFAULT_SPACE, "contrast.temperature"]
    assert space["contrast.eta"] == FloatDistribution(0.2, 0.8)


def test_space_file_replaces_the_default_and_range_goes_before_it(tmp_path: Path) -> None:
    file = tmp_path / "raum ä.json"
    file.write_text(json.dumps({"contrast.eta": "0.2:0.8", "contrast.r": "2:6"}))
    space = sweep_of(tmp_path, "--space", str(file), "--range", "contrast.r=3:5").space
    assert space == {"contrast.eta": FloatDistribution(0.2, 0.8), "contrast.r": IntDistribution(3, 5)}


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{",
        '{"contrast.eta": [0.2, 0.8]}',
        "{}",
        '{"contrast.eta": {"range": "0.2:0.8"}}',
        '{"contrast.eta": {"range": "0.2:0.8", "when": {}}}',
        '{"contrast.eta": {"range": "0.2:0.8", "when": {"contrast.r": 1}}}',
    ],
)
def test_space_file_that_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "space.json").write_text(text)
    with pytest.raises(ValueError, match="--space must"):
        read_space(tmp_path / "space.json")


def test_preset_outside_the_users_ranges_is_not_tried(tmp_path: Path) -> None:
    assert len(sweep_of(tmp_path, "--range", "contrast.eta=0.2:0.8").known) == 1
    assert sweep_of(tmp_path, "--range", "contrast.eta=0.6:0.8").known == []


def test_grid_is_every_combination_the_presets_first(tmp_path: Path) -> None:
    file = tmp_path / "space.json"
    file.write_text(json.dumps({"contrast.r": "3:5", "contrast.eta": "0.1:0.7:0.2", "contrast.anchors": "64,256"}))
    sweep = sweep_of(tmp_path, "--space", str(file), "--search", "grid")
    assert sweep.options.trials == len(sweep.known) == 3 * 4 * 2
    assert sweep.known[0] == own_values(sweep.config, sweep.space)
    assert {params["contrast.eta"] for params in sweep.known} == {0.1, 0.3, 0.5, 0.7}
    assert len({tuple(params.values()) for params in sweep.known}) == 24


def test_numbers_of_anchors_and_negatives_are_ordered() -> None:
    space = search_space(STREETS)
    assert space["contrast.anchors"] == IntDistribution(64, 512, log=True)
    assert space["contrast.negatives"] == IntDistribution(64, 1024, log=True)
    unusual = search_space(pgpc.override(STREETS, {"contrast.anchors": 32, "contrast.negatives": 3000}))
    assert unusual["contrast.anchors"] == IntDistribution(32, 512, log=True)
    assert unusual["contrast.negatives"] == IntDistribution(64, 3000, log=True)


def test_a_sweep_of_before_keeps_its_choices(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, "--name", "old")
    sweep.folder.mkdir()
    sweep.save()
    stored = json.loads(sweep.file.read_text())
    choices = {"name": "CategoricalDistribution", "attributes": {"choices": [64, 128, 256, 512]}}
    stored["space"]["contrast.anchors"] = choices
    for key in ("first_rung", "reduction_factor", "max_failures", "retry_failed"):
        del stored["flags"][key]
    sweep.file.write_text(json.dumps(stored))
    again = resumed_sweep({"storage": str(tmp_path), "resume": "old"})
    assert again.space["contrast.anchors"] == CategoricalDistribution([64, 128, 256, 512])
    assert again.known == sweep.known and again.options.reduction_factor == 2


def test_grid_of_a_log_range_has_its_doublings_and_the_own_value(tmp_path: Path) -> None:
    space = {"contrast.anchors": IntDistribution(64, 500, log=True)}
    assert grid(space) == [{"contrast.anchors": value} for value in (64, 128, 256)]
    assert grid(space, own={"contrast.anchors": 100})[1] == {"contrast.anchors": 100}
    assert len(grid(space, own={"contrast.anchors": 600})) == 3, "outside of a range of the user's"
    fixed = ["--set", "contrast.r=3", "--set", "contrast.eta=0.5", "--set", "contrast.weight=0.1"]
    sweep = sweep_of(tmp_path, "--search", "grid", *fixed)
    assert len(sweep.known) == 4 * 5 and sweep.known[0] == own_values(sweep.config, sweep.space)


def test_grid_without_a_step_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="--range contrast.weight=LOW:HIGH:STEP"):
        grid({"contrast.weight": DEFAULT_SPACE["contrast.weight"]})


def test_known_parameters_are_completed_with_the_presets_values() -> None:
    space = search_space(STREETS)
    (params,) = complete_params([{"contrast.eta": "0.3"}], STREETS, space)
    assert params == {**own_values(STREETS, space), "contrast.eta": 0.3}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"contrast.tau": 1}, "but got contrast.tau"),
        ({"contrast.temperature": 1}, "Add it with --range"),
        ({"contrast.eta": 0.95}, "contrast.eta=0.95 is not in"),
        ({"contrast.anchors": 1000}, "contrast.anchors=1000 is not in"),
        ({"contrast.eta": "much"}, "contrast.eta must be a number"),
    ],
)
def test_known_parameters_outside_the_space_are_refused(params: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as error:
        complete_params([params], STREETS, search_space(STREETS))
    assert message in str(error.value)


# Parameters that are searched only where another has a value

FAMILY = "contrast.family=hybrid,pixel_to_pixel,pixel_to_prototype"
IF_PIXELS = "contrast.family=pixel_to_pixel,hybrid"


def test_condition_of_a_flag_and_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "space.json"
    when = {"contrast.family": ["pixel_to_pixel", "hybrid"], "training.sync_batch_norm": [True]}
    file.write_text(
        json.dumps(
            {
                "contrast.negatives": {"range": "128:1024:log", "when": when},
                "contrast.family": "hybrid,pixel_to_pixel,pixel_to_prototype",
                "training.sync_batch_norm": "true,false",
            }
        )
    )
    sweep = sweep_of(tmp_path, "--space", str(file), "--range", f"contrast.r=2:6 if {IF_PIXELS}", "--range", FAMILY)
    assert sweep.when == {"contrast.negatives": when, "contrast.r": {"contrast.family": ["pixel_to_pixel", "hybrid"]}}
    assert list(sweep.space) == ["contrast.family", "training.sync_batch_norm", "contrast.r", "contrast.negatives"]
    assert sweep.space["contrast.negatives"] == IntDistribution(128, 1024, log=True)


def test_condition_survives_the_sweeps_file(tmp_path: Path) -> None:
    ranges = ["--range", FAMILY, "--range", f"contrast.negatives=64,512 if {IF_PIXELS}"]
    sweep = sweep_of(tmp_path, "--name", "a", "--objectives", "mIoU,seconds", *ranges)
    sweep.folder.mkdir()
    sweep.save()
    again = resumed_sweep({"storage": str(tmp_path), "resume": "a"})
    assert (again.when, list(again.space), again.known) == (sweep.when, list(sweep.space), sweep.known)
    assert (again.objectives, again.options.scheduler) == (("mIoU", "seconds"), "none")
    with pytest.raises(ValueError, match="keeps its --objectives"):
        resumed_sweep({"storage": str(tmp_path), "resume": "a", "objectives": ["mIoU"]})


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("contrast.positive=source_prototype", "a key that every trial searches"),
        ("contrast.r", "a key that every trial searches"),
        ("contrast.negatives=64", "a key that every trial searches"),
        ("contrast.r=9", r"contrast.r=9 is not in"),
        ("contrast.r=many", "contrast.r must be a whole number"),
    ],
)
def test_conditions_that_do_not_fit(condition: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        sweep_of(tmp_path, "--range", f"contrast.negatives=64,512 if {condition}")


def test_known_parameters_and_the_grid_leave_out_what_is_not_searched() -> None:
    ranges = {
        "contrast.negatives": "64,512 if contrast.family=hybrid",
        "contrast.family": "hybrid,pixel_to_prototype",
        "contrast.eta": "0.2,0.5",
    }
    space = search_space(STREETS, fixed=["contrast.r", "contrast.weight", "contrast.anchors"], ranges=ranges)
    when = conditions(STREETS, space, ranges)
    every = grid(space, when)
    assert len(every) == 2 * (2 + 1), "with prototypes the negatives make no difference"
    assert all(("contrast.negatives" in p) == (p["contrast.family"] == "hybrid") for p in every)
    prototypes = pgpc.override(STREETS, {"contrast.family": "pixel_to_prototype"})
    own = {"contrast.eta": 0.5, "contrast.family": "pixel_to_prototype"}
    assert own_values(prototypes, space, when) == own
    given = [{"contrast.family": "pixel_to_prototype"}, {"contrast.negatives": "64"}]
    assert complete_params(given, STREETS, space, when) == [
        own,
        {"contrast.eta": 0.5, "contrast.family": "hybrid", "contrast.negatives": 64},
    ]
    with pytest.raises(ValueError, match="takes contrast.negatives only where contrast.family is one of"):
        complete_params([{**given[0], **given[1]}], STREETS, space, when)
