"""The search space as data: Optuna distributions keyed by dotted config key, and on what they are searched at all."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from pgpc.config import Config, flatten, override
from pgpc.runtime.files import expand_user
from pgpc.runtime.json_text import parse_json
from sweeps.common.private_optuna import contains

Space = dict[str, BaseDistribution]
Conditions = Mapping[str, Mapping[str, Sequence[Any]]]
"""Conditions of searched keys: key -> switch -> values.

A trial has a value for the key only where each switch, itself a searched key without a condition, has one of the
values. Keys that every trial has are absent."""

# What the paper's Tables 9 to 12 vary, around the values that it settles on. The numbers of anchors and of negatives
# are ordered, and matter by their ratios.
DEFAULT_SPACE: Mapping[str, BaseDistribution] = {
    "contrast.r": IntDistribution(2, 8),
    "contrast.eta": FloatDistribution(0.1, 0.9),
    "contrast.weight": FloatDistribution(0.02, 0.5, log=True),
    "contrast.anchors": IntDistribution(64, 512, log=True),
    "contrast.negatives": IntDistribution(64, 1024, log=True),
}

_IF, _AND = " if ", " and "

REFERENCE = {"contrast.enabled": False}
"""Changes that turn a config into its reference: the same training without the contrast."""


def search_space(config: Config, fixed: Collection[str] = (), ranges: Mapping[str, str] | None = None) -> Space:
    """Return the distributions to search around `config`.

    Those of `DEFAULT_SPACE` are widened to hold the config's own values, because those are the first trial, and
    narrowed to what the config accepts. Those that the user gives are taken as they are. Keys with a condition, see
    `conditions`, come last.

    Args:
        config: The sweep's own config.
        fixed: Keys that the user has set; they keep their value and leave the search.
        ranges: The user's ranges by key: what `parse_range` takes, and after `` if `` a condition; a key that is not in
            `DEFAULT_SPACE` joins the search.

    Raises:
        ValueError: There is nothing to search, or a range does not fit its key.
    """
    if not config.contrast.enabled:
        raise ValueError(
            "A sweep searches the contrast's parameters, so contrast.enabled must be true, but got False. The "
            "reference row 'base' is the run without it; for that run alone use `pgpc train`."
        )
    values = flatten(config)
    space = {
        key: _around(distribution, values[key], config.model.num_classes - 1 if key == "contrast.r" else None)
        for key, distribution in DEFAULT_SPACE.items()
    }
    texts = {key: text.partition(_IF) for key, text in (ranges or {}).items()}
    space |= {key: parse_range(key, text, config) for key, (text, _, _) in texts.items()}
    conditional = {key for key, (_, found, _) in texts.items() if found}
    space = {key: space[key] for key in sorted(space, key=conditional.__contains__) if key not in fixed}
    if not space:
        raise ValueError(
            f"At least one parameter must be left to search, but all are --set: {', '.join(DEFAULT_SPACE)}. "
            "Leave one out, or use `pgpc train` for a single run."
        )
    return space


def conditions(config: Config, space: Space, ranges: Mapping[str, str]) -> Conditions:
    """Return the conditions in a user's ranges, such as ``"64,128 if contrast.family=pixel_to_pixel,hybrid"``.

    Args:
        config: The sweep's own config.
        space: The space that `search_space` has made of the ranges.
        ranges: The ranges; several switches are joined by `` and ``, and all must hold.

    Raises:
        ValueError: A switch that is not searched, or only under a condition, or a value that it never has.
    """
    texts = {key: text.partition(_IF)[2] for key, text in ranges.items() if key in space and _IF in text}
    found: dict[str, dict[str, list[Any]]] = {}
    for key, text in texts.items():
        for part in text.split(_AND):
            switch, equals, values = (word.strip() for word in part.partition("="))
            if not equals or switch not in space or switch in texts:
                raise ValueError(
                    f"The condition of {key} must be KEY=A,B with a key that every trial searches, of "
                    f"{', '.join(k for k in space if k not in texts)}, but got {part!r}. Add the key with --range."
                )
            chosen = [flatten(override(config, {switch: value.strip()}))[switch] for value in values.split(",")]
            never = next((value for value in chosen if not contains(space[switch], value)), None)
            if never is not None:
                raise ValueError(
                    f"The condition of {key} must name values that are searched, but {switch}={never} is not in "
                    f"{space[switch]}. Widen it with --range."
                )
            found.setdefault(key, {})[switch] = chosen
    return found


def is_active(key: str, params: Mapping[str, Any], when: Conditions) -> bool:
    """Return whether a trial with these values of the switches has a value for `key`."""
    return all(params.get(switch) in values for switch, values in when.get(key, {}).items())


def _active(params: Mapping[str, Any], when: Conditions) -> dict[str, Any]:
    return {key: value for key, value in params.items() if is_active(key, params, when)}


def read_space(file: Path) -> dict[str, str]:
    """Read the ranges of a JSON file, an object from dotted key to the text of a range.

    Such a text is what `parse_range` takes, with a condition or without; or an object instead, with that text as
    "range" and the condition as "when", an object from each switch to the list of its values.

    Raises:
        ValueError: The file cannot be read, or is something else.
    """
    try:
        found = parse_json(expand_user(file).read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"--space must name a JSON file, but {str(file)!r} cannot be read: {error}.") from None
    texts = {key: _range_text(entry) for key, entry in found.items()} if isinstance(found, dict) else {}
    ranges = {key: text for key, text in texts.items() if text is not None}
    if not ranges or len(ranges) < len(texts):
        raise ValueError(
            '--space must hold an object such as {"contrast.eta": "0.2:0.8"}, or with {"range": "0.2:0.8", '
            f'"when": {{"contrast.r": [3, 4]}}}} for the range, but {str(file)!r} holds {found!r}.'
        )
    return ranges


def _range_text(entry: Any) -> str | None:
    """Return an entry of a space file in words; None if it is none."""
    if isinstance(entry, str):
        return entry
    if not isinstance(entry, dict) or entry.keys() != {"range", "when"}:
        return None
    text, when = entry["range"], entry["when"]
    if not isinstance(text, str) or not isinstance(when, dict) or not when:
        return None
    if not all(isinstance(values, list) and values for values in when.values()):
        return None
    words = (f"{key}={','.join(v if isinstance(v, str) else json.dumps(v) for v in vs)}" for key, vs in when.items())
    return f"{text}{_IF}{_AND.join(words)}"


def parse_range(key: str, text: str, config: Config) -> BaseDistribution:
    """Return a range in words as a distribution.

    Args:
        key: A dotted key of the config; the type of its value decides between whole and other numbers.
        text: The range: ``"0.2:0.8"``, ``"0.02:0.5:log"``, ``"0.2:0.8:0.1"`` with a step, or choices, ``"64,128,256"``.
        config: The config that every value in the range must go with.

    Raises:
        ValueError: There is no such key, it is no range, or it has values that the config refuses.
    """
    if key == "seed":
        raise ValueError("--range cannot search the seed. Use --seeds to train every trial with several.")
    if key not in flatten(config):
        override(config, {key: text})  # says what is near
    parts = [part.strip() for part in text.split(":")]
    if len(parts) == 1:
        choices = [flatten(override(config, {key: choice.strip()}))[key] for choice in text.split(",")]
        if any(isinstance(choice, tuple) for choice in choices):
            raise ValueError(f"--range cannot search {key}, which is a list.")
        return CategoricalDistribution(list(dict.fromkeys(choices)))
    # The ends go through the config, which knows the type and says what is wrong.
    low, high = (flatten(override(config, {key: part}))[key] for part in parts[:2])
    try:
        if len(parts) > 3 or type(low) not in (int, float):
            raise ValueError("not a range of numbers")
        log = parts[2:] == ["log"]
        step = None if log or len(parts) < 3 else type(low)(parts[2])
        if isinstance(low, int):
            return IntDistribution(low, high, log=log, step=1 if step is None else step)
        return FloatDistribution(low, high, log=log, step=step)
    except ValueError as error:
        raise ValueError(
            f"--range takes KEY=LOW:HIGH, LOW:HIGH:log, LOW:HIGH:STEP or choices A,B,C, but got {key}={text} ({error})."
        ) from None


def grid(space: Space, when: Conditions | None = None, own: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Return every combination of the values in a space, each once, also where conditions make some alike.

    A range of whole numbers on a log scale has its doublings from the lowest value on, and the config's own value.

    Args:
        space: The space.
        when: Its conditions.
        own: The config's own values by key; None where they do not matter.

    Raises:
        ValueError: A range has no step, so that it has no last value.
    """
    axes: list[Sequence[Any]] = []
    for key, d in space.items():
        if isinstance(d, CategoricalDistribution):
            axes.append(d.choices)
        elif isinstance(d, IntDistribution):
            axes.append(_doublings(d, (own or {}).get(key)) if d.log else range(d.low, d.high + 1, d.step))
        elif isinstance(d, FloatDistribution) and d.step is not None:
            count = math.floor((d.high - d.low) / d.step + 1e-8) + 1
            axes.append([round(d.low + i * d.step, 12) for i in range(count)])
        else:
            raise ValueError(
                f"--search grid needs a finite number of values for {key}, but its range has no step. Use "
                f"--range {key}=LOW:HIGH:STEP, --range {key}=A,B,C or --set {key}=VALUE."
            )
    every = (_active(dict(zip(space, values)), when or {}) for values in itertools.product(*axes))
    return list({tuple(params.items()): params for params in every}.values())


def _doublings(distribution: IntDistribution, own: Any) -> list[int]:
    low, high = distribution.low, distribution.high
    found = {low << k for k in range(high.bit_length()) if low << k <= high}
    return sorted(found | ({own} if own is not None and contains(distribution, own) else set()))


def complete_params(
    given: Sequence[Mapping[str, Any]], config: Config, space: Space, when: Conditions | None = None
) -> list[dict[str, Any]]:
    """Return parameters that a user wants to be tried, completed with the config's own values.

    Args:
        given: For each trial, values or their texts by dotted key.
        config: The sweep's own config.
        space: The space in which they must lie.
        when: The conditions of the space.

    Raises:
        ValueError: A key is not searched, or not by such a trial, or a value is outside its range.
    """
    completed = []
    for params in given:
        strange = next((key for key in params if key not in space), None)
        if strange is not None:
            raise ValueError(f"--enqueue takes values of {', '.join(space)}, but got {strange}. Add it with --range.")
        values = own_values(override(config, params), space, when)
        idle = next((key for key in params if key not in values), None)
        if idle is not None:
            where = " and ".join(f"{switch} is one of {chosen}" for switch, chosen in (when or {})[idle].items())
            raise ValueError(f"--enqueue takes {idle} only where {where}, but got {dict(params)}. Leave it out there.")
        outside = next((key for key, value in values.items() if not contains(space[key], value)), None)
        if outside is not None:
            raise ValueError(
                f"--enqueue takes values inside the search space, but {outside}={values[outside]} is not in "
                f"{space[outside]}. Widen it with --range."
            )
        completed.append(values)
    return completed


def own_values(config: Config, space: Space, when: Conditions | None = None) -> dict[str, Any]:
    """Return the config's own value of every searched key whose condition it meets."""
    values = flatten(config)
    return _active({key: values[key] for key in space}, when or {})


def trial_config(config: Config, params: Mapping[str, Any]) -> Config:
    """Return the config of the trial with these parameters; no parameters mean the reference."""
    return override(config, params or REFERENCE)


def _around(distribution: BaseDistribution, value: Any, high: int | None) -> BaseDistribution:
    """Return a distribution widened to hold `value`, and without what is above `high`."""
    assert isinstance(distribution, (IntDistribution, FloatDistribution)), f"unknown kind: {distribution}"
    upper = distribution.high if high is None else min(distribution.high, high)
    low, upper, log = min(distribution.low, value), max(upper, value), distribution.log and value > 0
    if isinstance(distribution, IntDistribution):
        return IntDistribution(int(low), int(upper), log=log)
    return FloatDistribution(low, upper, log=log)
