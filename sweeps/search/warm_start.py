"""What a search is told before it starts: parameters that the user wants tried, and trials of an earlier study."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState, create_trial
from sqlalchemy import make_url

from pgpc.runtime.checks import check
from pgpc.runtime.files import expand_user
from pgpc.runtime.json_text import parse_json
from sweeps.common.names import METRIC
from sweeps.common.private_optuna import contains
from sweeps.definition.objectives import direction
from sweeps.definition.selection import Selection
from sweeps.definition.space import Conditions, Space, is_active
from sweeps.search.replicates import EARLIER
from sweeps.search.study import file_url, study_file


def read_params(texts: Sequence[str]) -> list[dict[str, Any]]:
    """Read the parameters that a user wants tried.

    Args:
        texts: Texts such as ``KEY=VALUE,KEY=VALUE``, or names of JSON files with a list of objects.

    Returns:
        For each trial, values or their texts by dotted key.

    Raises:
        ValueError: A text is neither.
    """
    params: list[dict[str, Any]] = []
    for text in texts:
        if "=" in text and not Path(text).exists():
            pairs = [pair.partition("=") for pair in text.split(",")]
            if not all(equals for _, equals, _ in pairs):
                raise ValueError(f"--enqueue takes KEY=VALUE,KEY=VALUE or a JSON file, but got {text!r}.")
            params.append({key.strip(): value.strip() for key, _, value in pairs})
            continue
        try:
            found = parse_json(expand_user(text).read_text())
        except (OSError, ValueError) as error:
            raise ValueError(f"--enqueue must name a JSON file, but {text!r} cannot be read: {error}.") from None
        if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in found):
            raise ValueError(
                f'--enqueue must hold a list such as [{{"contrast.eta": 0.4}}], but {text!r} holds {found!r}.'
            )
        params += found
    return params


def check_warm_start(selection: Selection) -> None:
    """Refuse to tell a search about earlier trials where their values mean nothing in it.

    Raises:
        ValueError: Trials are chosen by a mean rank.
    """
    check(
        not selection.is_rank,
        "--warm-start takes values of an earlier search, and a mean rank is one among its own trials only, so that "
        "trials must be chosen by one metric",
        selection.text,
        "Leave it out, or choose by one metric with --select-by.",
    )


def open_earlier(where: str, objectives: Sequence[str] = (METRIC,)) -> optuna.Study:
    """Open the study of an earlier search.

    Args:
        where: The results folder of a sweep; or an address of an Optuna storage, with ``#NAME`` of a study.
        objectives: Names of the objectives that it must have, in this order.

    Raises:
        ValueError: There is no such study, or it is not clear which one is meant, or it has other objectives.
    """
    url, _, name = where.partition("#")
    file = study_file(expand_user(where))
    if file.is_file():
        url, name = file_url(file.absolute()), ""
    elif "://" not in url or (url.startswith("sqlite:///") and not Path(make_url(url).database or "").is_file()):
        raise ValueError(
            "--warm-start takes the results folder of a sweep, or an address such as sqlite:///FILE, but got "
            f"{where!r}, where there is no study."
        )
    try:
        names = optuna.get_all_study_names(url)
    except Exception as error:  # whatever the storage's driver raises
        raise ValueError(f"--warm-start cannot open {url}: {error}") from None
    of_references = {f"{name}-reference" for name in names}
    candidates = [n for n in names if (n == name if name else n not in of_references)]
    if len(candidates) != 1:
        there = ", ".join(names) or "none"
        raise ValueError(f"--warm-start must name one study of {url}, as {url}#NAME; there: {there}.")
    study = optuna.load_study(study_name=candidates[0], storage=url)
    ways = [direction.name.lower() for direction in study.directions]
    # A study that somebody else has made need not name its values.
    if ways != [direction(name) for name in objectives] or study.metric_names not in (None, list(objectives)):
        asked = ", ".join(f"{direction(name)} {name}" for name in objectives)
        found = itertools.zip_longest(ways, study.metric_names or (), fillvalue="a value")
        raise ValueError(
            f"--warm-start takes a study with the objectives of the sweep ({asked}), but those of {candidates[0]!r} "
            f"are: {', '.join(map(' '.join, found))}. Choose another study, or the same --objectives."
        )
    return study


def add_trials(
    study: optuna.Study, earlier: optuna.Study, space: Space, when: Conditions | None = None
) -> tuple[int, int]:
    """Add the complete trials of `earlier` to `study`, each once, that have the parameters of `space` and no others.

    Of parameters with a condition in `when` they must have those, and those alone, whose condition they meet.

    They are known to the sampler, but are no trials of the sweep: they have no run, and no trial is stopped for them.

    Returns:
        The number of trials that were added or had been before, and the number of complete ones that there are.
    """
    origin = f"{earlier.study_name}#"
    known = {trial.user_attrs.get(EARLIER) for trial in study.get_trials(deepcopy=False)}
    complete = earlier.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    fitting = [
        trial
        for trial in complete
        if trial.params.keys() == {key for key in space if is_active(key, trial.params, when or {})}
        and all(contains(space[key], value) for key, value in trial.params.items())
    ]
    for trial in fitting:
        if f"{origin}{trial.number}" not in known:
            study.add_trial(
                create_trial(
                    values=trial.values,
                    params=trial.params,
                    distributions={key: space[key] for key in trial.params},
                    user_attrs={EARLIER: f"{origin}{trial.number}"},
                )
            )
    return len(fitting), len(complete)
