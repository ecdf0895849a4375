"""The confirmation of a sweep: its best trials and the base, trained anew with seeds that took no part in the choice.

The best of many trials owes its place partly to chance, so its score says too much. Fresh seeds do not know of the
choice: their differences to the base are unbiased, and a t interval of them means what it says. A confirmation is a
sweep of its own in the folder of the one that it confirms, and runs given configs side by side as the paper's tables
do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from optuna.distributions import CategoricalDistribution

import pgpc
from pgpc.runtime.checks import check
from sweeps.common.names import REFERENCE_LABEL
from sweeps.definition.folder import CONFIRMATION, SWEEP_FILE, check_new
from sweeps.definition.options import DEFAULTS, SweepOptions, check_value, flag
from sweeps.definition.sweep import TABLE_ROW, Sweep, configs_of_trials

_MAY_BE_GIVEN = frozenset(
    {
        "resume",
        "storage",
        "name",
        "confirm",
        "accept_changed_data",
        "seeds",
        "time_budget",
        "share_trunk",
        "cpus_per_worker",
        "gpus_per_worker",
        "concurrency",
        "keep",
        "address",
        "json",
    }
)
"""Options that a confirmation takes; all others are those of the sweep."""
_OWN = frozenset({"seed", "seeds", "storage", "name", "confirm", "table", "bases", "address"})
"""Options that a confirmation does not take over from the sweep."""


def confirmation_of(sweep: Sweep, trials: Mapping[str, Mapping[str, Any]], given: Mapping[str, Any]) -> Sweep:
    """Return the confirmation of a sweep, a new one, or the one that is to be resumed; nothing is written yet.

    Args:
        sweep: The sweep, which does not run.
        trials: Label -> parameters of each complete trial of its search, best first.
        given: The options that the user has given, by the names of the fields of `SweepOptions`; "confirm", the number
            of trials to confirm, is one of them.

    Raises:
        ValueError: The sweep cannot be confirmed so; the message says what to change.
    """
    for name in ("confirm", "seeds"):
        if name in given:
            check_value(name, given[name])
    strange = next((name for name in given if name not in _MAY_BE_GIVEN), None)
    check(
        strange is None,
        "--confirm trains trials anew as they were, so that it takes no option that would change them",
        strange and flag(strange),
        "Leave it out.",
    )
    asked = {key: given[key] for key in given if key not in ("resume", "storage", "name")}
    folder = sweep.folder / CONFIRMATION
    if (folder / SWEEP_FILE).is_file():
        return _resumed(Sweep.load(folder), asked)
    _check(sweep, trials, given)
    sweep.options.check_address(given)
    check_new(folder)
    seeds = tuple(given["seeds"])
    inherited = {
        field.name: getattr(sweep.options, field.name)
        for field in dataclasses.fields(SweepOptions)
        if not (field.metadata["of_search"] or field.metadata["once"] or field.name in _OWN)
    }
    options = dataclasses.replace(
        DEFAULTS, **{**inherited, **asked, "storage": str(sweep.folder), "name": CONFIRMATION}
    )
    confirms = {REFERENCE_LABEL: {}, **dict(list(trials.items())[: given["confirm"]])}
    config = pgpc.override(sweep.config, {"seed": seeds[0]})
    return Sweep(
        folder=folder,
        options=dataclasses.replace(options, seed=config.seed),
        config=config,
        space={TABLE_ROW: CategoricalDistribution(list(confirms))},
        table_configs=configs_of_trials(config, confirms),
        confirms=confirms,
    )


def _resumed(known: Sweep, asked: Mapping[str, Any]) -> Sweep:
    """Return a confirmation that was begun, to go on.

    Raises:
        ValueError: Other trials or other seeds are asked for.
    """
    before = {"confirm": _text(known.options.confirm), "seeds": _text(known.seeds)}
    for name, text in before.items():
        now = _text(asked.get(name, text))
        check(
            now == text,
            f"The confirmation in {known.folder} must keep its {flag(name)}, which was {text}",
            now,
            f"Resume it with {flag(name)} {text}. Others, until some confirm, would be one more choice of the best.",
        )
    return dataclasses.replace(known, options=known.options.resumed({**asked, "seeds": known.seeds}))


def _check(sweep: Sweep, trials: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Refuse what would not be a confirmation."""
    num, seeds = given["confirm"], given.get("seeds") or ()
    check(
        sweep.is_search,
        "--confirm must name a search, whose best trials were chosen",
        f"a sweep of the paper's tables, {sweep.folder.name!r}",
        "Give a table more --seeds instead.",
    )
    check(
        sweep.options.population is None,
        "--confirm must name a search whose trials kept their parameters",
        f"--scheduler {sweep.options.scheduler}",
        "Search with another scheduler, or train the last parameters of a trial with `pgpc train`.",
    )
    check(
        num <= len(trials),
        f"--confirm must be at most the number of complete trials, which is {len(trials)}",
        num,
        "Confirm fewer, or resume the sweep first.",
    )
    check(
        len(seeds) >= 2,
        "--confirm must have at least two fresh --seeds, since an interval takes two",
        _text(seeds) if seeds else "no --seeds",
        f"Give for example --seeds {_text(fresh_seeds(sweep, 3))}.",
    )
    known = [seed for seed in seeds if seed in sweep.seeds]
    check(
        not known,
        f"--seeds of a confirmation must have taken no part in the choice, which was made with {_text(sweep.seeds)}",
        _text(seeds),
        f"Give for example --seeds {_text(fresh_seeds(sweep, 3))}.",
    )


def fresh_seeds(sweep: Sweep, num: int) -> tuple[int, ...]:
    """Return the lowest `num` seeds that took no part in the sweep."""
    return tuple(seed for seed in range(num + len(sweep.seeds)) if seed not in sweep.seeds)[:num]


def confirm_command(sweep: Sweep, num: int) -> str:
    """Return what to type to confirm the best `num` trials of a sweep; "" where it cannot be confirmed."""
    if not sweep.is_search or sweep.options.population is not None:
        return ""
    return f"{sweep.resume_command} --confirm {num} --seeds {_text(fresh_seeds(sweep, 3))}"


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
