"""Parameters that the user wants tried, and trials of an earlier study."""

from __future__ import annotations

import json
from pathlib import Path

import optuna
import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from sweeps.definition.selection import Selection
from sweeps.search.study import study_url
from sweeps.search.warm_start import add_trials, check_warm_start, open_earlier, read_params

SPACE = {"contrast.eta": FloatDistribution(0.2, 0.8), "contrast.r": IntDistribution(2, 6)}
WIDE = {"contrast.eta": FloatDistribution(0, 1), "contrast.r": IntDistribution(1, 18)}


def test_parameters_of_flags_and_files(tmp_path: Path) -> None:
    file = tmp_path / "params.json"
    file.write_text(json.dumps([{"contrast.eta": 0.4}, {"contrast.r": 5}]))
    assert read_params(["contrast.eta=0.3, contrast.r=4", str(file)]) == [
        {"contrast.eta": "0.3", "contrast.r": "4"},
        {"contrast.eta": 0.4},
        {"contrast.r": 5},
    ]


@pytest.mark.parametrize(
    ("text", "message"), [("nowhere.json", "cannot be read"), ("contrast.eta=0.3,r", "KEY=VALUE,KEY=VALUE")]
)
def test_parameters_that_are_none(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_params([text])


def earlier_sweep(folder: Path) -> str:
    """The studies of a sweep's folder, with five trials; two are complete and lie in SPACE."""
    folder.mkdir()
    url = study_url(folder)
    study = optuna.create_study(study_name="old", storage=url, direction="maximize")
    optuna.create_study(study_name="old-reference", storage=url, direction="maximize")

    def trial(eta: float, r: int, value: float | None, state: TrialState = TrialState.COMPLETE) -> None:
        params = {"contrast.eta": eta, "contrast.r": r}
        study.add_trial(create_trial(state=state, value=value, params=params, distributions=WIDE))

    trial(0.5, 4, 30.0)
    trial(0.9, 4, 99.0)
    trial(0.3, 2, 31.0)
    trial(0.3, 2, None, TrialState.FAIL)
    rank_alone = {"contrast.r": WIDE["contrast.r"]}
    study.add_trial(create_trial(value=50.0, params={"contrast.r": 4}, distributions=rank_alone))
    return url


def test_complete_trials_inside_the_space_are_added_once(tmp_path: Path) -> None:
    url = earlier_sweep(tmp_path / "öld run")
    study = optuna.create_study(direction="maximize")
    for where in (str(tmp_path / "öld run"), f"{url}#old", url):
        assert add_trials(study, open_earlier(where), SPACE) == (2, 4)
    assert [(t.params["contrast.eta"], t.value) for t in study.trials] == [(0.5, 30.0), (0.3, 31.0)]
    assert study.trials[0].user_attrs == {"warm_start": "old#0"}


def test_studies_that_are_not_there_or_not_clear(tmp_path: Path) -> None:
    url = earlier_sweep(tmp_path / "old")
    with pytest.raises(ValueError, match="there is no study"):
        open_earlier(str(tmp_path / "new"))
    with pytest.raises(ValueError, match="there is no study"):
        open_earlier(f"sqlite:///{tmp_path}/new.db")
    assert not (tmp_path / "new.db").exists()
    with pytest.raises(ValueError, match="there: old, old-reference"):
        open_earlier(f"{url}#new")
    optuna.create_study(study_name="other", storage=url, direction="minimize")
    with pytest.raises(ValueError, match="must name one study"):
        open_earlier(url)
    with pytest.raises(ValueError, match=r"\(maximize mIoU\), but those of 'other' are: minimize a value"):
        open_earlier(f"{url}#other")


def test_objectives_must_be_those_of_the_sweep(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    url, ways = study_url(tmp_path / "old"), ["maximize", "minimize"]
    study = optuna.create_study(study_name="old", storage=url, directions=ways)
    study.set_metric_names(["mIoU", "seconds"])
    study.add_trial(create_trial(values=[30.0, 9.0], params={"contrast.eta": 0.5, "contrast.r": 4}, distributions=WIDE))
    old = str(tmp_path / "old")
    new = optuna.create_study(directions=ways)
    assert add_trials(new, open_earlier(old, ["mIoU", "seconds"]), SPACE) == (1, 1)
    assert new.trials[0].values == [30.0, 9.0]
    for others in (["mIoU"], ["mIoU", "gpu_memory"], ["seconds", "mIoU"]):
        with pytest.raises(ValueError, match="of 'old' are: maximize mIoU, minimize seconds"):
            open_earlier(old, others)


def test_trials_with_the_parameters_of_their_switch_lie_in_the_space(tmp_path: Path) -> None:
    url = earlier_sweep(tmp_path / "old")
    study = optuna.create_study(direction="maximize")
    when = {"contrast.eta": {"contrast.r": [2]}}
    assert add_trials(study, open_earlier(url), SPACE, when) == (2, 4)
    assert [t.params for t in study.trials] == [{"contrast.eta": 0.3, "contrast.r": 2}, {"contrast.r": 4}]


def test_a_mean_rank_is_among_the_trials_of_one_search() -> None:
    check_warm_start(Selection.parse("snd"))
    with pytest.raises(ValueError, match="--warm-start takes values .* but got 'rank:snd,bnm'. Leave it out"):
        check_warm_start(Selection.parse("rank:snd,bnm"))
