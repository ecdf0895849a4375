"""The options of a sweep: what its flags, or a caller from Python, ask for.

Each field of `SweepOptions` says all that is known of an option: its type and default, what it means, which values it
takes, and what becomes of it when the sweep is resumed. Names of search algorithms and schedulers are looked up in the
tables of :mod:`sweeps.search`, which knows them.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pgpc.config import UnknownKey, parse_settings
from pgpc.evaluation.names import ENSEMBLE
from pgpc.runtime.checks import check
from sweeps.common.commands import report_command
from sweeps.common.names import METRIC
from sweeps.definition import objectives as known_objectives
from sweeps.definition.paper_tables import BASES, NUMBERS, TABLES_OF_BASES
from sweeps.definition.selection import CHOICES, can_drive, is_selection

REPORT_SHARE = "evaluation.report_share"
"""Key of the config that is the share of the labeled target images that is kept out of every choice."""
TRACKERS = ("none", "mlflow", "wandb")
"""What a sweep can be logged to, besides its own folder."""
DEFAULT_TRIALS = 5
"""Trials of a search, where neither the user nor a grid says how many."""
DEFAULT_WORKERS = 2
"""Processes of a trial, where the user does not say how many and there is room for them."""
SMALLEST_SHARE = 0.0001
"""The unit in which Ray counts what processes occupy; it refuses shares that are finer."""
KEPT = {
    "all": "those of all trials",
    "complete": "those of trials that were trained to the end, and of failed ones for --retry-failed; not of trials "
    "that were stopped early or have diverged",
    "best": "at the end those of the best trial, or of the front, and of the base",
    "none": "at the end none but best/",
}
"""Which trials keep their last checkpoint in their folder -> the same in words."""


LOCAL = "local"
"""The address of this machine alone, for sweeps that were run on a cluster before."""


@dataclass(frozen=True)
class _Rule:
    """Which values an option takes.

    Attributes:
        holds: Whether a value is one of them.
        words: The same in words, to follow "must be".
        remedy: Gives what to do about a value that is none, where the words do not say it already.
    """

    holds: Callable[[Any], bool]
    words: str
    remedy: Callable[[Any], str] = lambda value: ""


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value.strip() != ""


def _instead_of_folder(value: object) -> str:
    if not (isinstance(value, str) and "://" in value):
        return ""
    return (
        "A study and checkpoints to resume from need a file system that all nodes see, such as one of NFS. Name a "
        "folder on one; cluster/gpu.yaml has such a folder on the head, and keeps a copy of it in a bucket."
    )


def _instead_of_ensemble(text: str) -> str:
    if not is_selection(text):
        return ""
    return (
        f"{ENSEMBLE} needs finished trials, so it cannot drive a search. Rank trials by it when they have finished: "
        f"{report_command()} RESULTS --select-by {text}"
    )


def _is_share(value: Any) -> bool:
    if not _is_number(value) or not 0 <= value < math.inf:
        return False
    units = value / SMALLEST_SHARE
    return bool(value == int(value)) or (value < 1 and round(units) > 0 and abs(units - round(units)) < 1e-6)


_POSITIVE = _Rule(lambda value: _is_whole(value) and value >= 1, "a whole number of at least 1")
_FACTOR = _Rule(lambda value: _is_whole(value) and value >= 2, "a whole number of at least 2")
_NATURAL = _Rule(lambda value: _is_whole(value) and value >= 0, "a whole number of at least 0")
_SHARE = _Rule(_is_share, "a whole number, or a share below 1 of at most four digits, such as 0.3333")
_KEEP = _Rule(lambda name: isinstance(name, str) and name in KEPT, f"one of {', '.join(KEPT)}")
_PART = _Rule(lambda value: _is_number(value) and 0 < value < 1, "a share between 0 and 1")
_SECONDS = _Rule(lambda value: _is_number(value) and value > 0, "a time such as 900, 30m or 2h")
_TEXT = _Rule(_is_text, "a text that is not empty")
_TEXTS = _Rule(lambda value: isinstance(value, tuple) and all(map(_is_text, value)), "texts that are not empty")
_TRUTH = _Rule(lambda value: isinstance(value, bool), "true or false")
_FOLDER = _Rule(
    lambda value: _is_text(value) and "://" not in value, "the path of a folder that all nodes see", _instead_of_folder
)
_OLDER = _Rule(lambda value: isinstance(value, str), "the name of a sweep")
_SEEDS = _Rule(
    lambda seeds: (
        isinstance(seeds, tuple) and bool(seeds) and all(map(_NATURAL.holds, seeds)) and len(set(seeds)) == len(seeds)
    ),
    "different seeds, whole numbers of at least 0",
)
_OBJECTIVES = _Rule(known_objectives.are_objectives, f"different ones of {', '.join(known_objectives.OBJECTIVES)}")
_TABLES = _Rule(
    lambda numbers: isinstance(numbers, tuple) and bool(numbers) and all(number in NUMBERS for number in numbers),
    f"all, or numbers of the paper's tables, {NUMBERS[0]} to {NUMBERS[-1]}",
)
_SELECTION = _Rule(can_drive, CHOICES, _instead_of_ensemble)
_TRACKERS = _Rule(lambda name: name in TRACKERS, f"one of {', '.join(TRACKERS)}")
_BASES = _Rule(
    lambda names: isinstance(names, tuple) and bool(names) and all(_is_text(name) and name in BASES for name in names),
    f"of {', '.join(BASES)}",
)


def _option(
    default: Any,
    *,
    rule: _Rule | None = None,
    identifies: bool = False,
    once: bool = False,
    of_search: bool = False,
    key: str | None = None,
) -> Any:
    """Return a field of `SweepOptions`.

    Args:
        default: The value where nobody gives one.
        rule: Which values it takes, besides None where that is the default.
        identifies: Whether it makes a sweep what it is, so that a resumed sweep keeps it; others may be given anew.
        once: Whether it holds for the one driver that it is given to, and not for those that resume the sweep.
        of_search: Whether it is about a search, so that it has no place beside ``--table``.
        key: The option's key in sweep.json, where it is not the field's name.
    """
    metadata = {"rule": rule, "identifies": identifies, "once": once, "of_search": of_search, "key": key}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """All options of a sweep, validated when made.

    Raises:
        ValueError: An option does not keep its rule; the message says which rule, what it got and what to do.
    """

    preset: str = _option("streets", rule=_TEXT, identifies=True)
    """Name of the config to start from, of :mod:`pgpc.presets` or, for one's own data, :mod:`pgpc.recipes`."""
    config: str | None = _option(None, rule=_TEXT, identifies=True)
    """Config file to start from instead of a preset, see :mod:`pgpc.recipes.files`; None for the preset."""
    set: tuple[str, ...] = _option((), rule=_TEXTS, identifies=True)
    """Changes to the config, each ``KEY=VALUE`` with a dotted key; such a key keeps its value in all trials."""
    seed: int | None = _option(None, rule=_NATURAL, identifies=True)
    """Seed of the trainings and of the search; None for the preset's."""
    seeds: tuple[int, ...] | None = _option(None, rule=_SEEDS, identifies=True)
    """Seeds that every trial is trained with; None for the one `seed`."""
    table: tuple[int, ...] | None = _option(None, rule=_TABLES, identifies=True)
    """Numbers of the paper's tables whose rows are run instead of a search; None for a search."""
    bases: tuple[str, ...] | None = _option(None, rule=_BASES, identifies=True)
    """Bases in the rows of Tables 1 to 5; None for the paper's."""
    encoders: tuple[str, ...] | None = _option(None, rule=_TEXTS, identifies=True)
    """Encoders on which it is measured what adaptation adds, instead of a search; None for a search or tables."""
    report_split: float | None = _option(None, rule=_PART, identifies=True)
    """Share of the labeled target images that is kept out of every choice, to report on; None for no such split."""
    objectives: tuple[str, ...] = _option((METRIC,), rule=_OBJECTIVES, identifies=True, of_search=True)
    """Names of what trials are judged on, of `OBJECTIVES`; mIoU among them stands for what they are chosen by."""
    select_by: str | None = _option(None, rule=_SELECTION, identifies=True)
    """What trials are chosen by; None for mIoU, or without labels of the target for `DEFAULT_SELECTION`."""
    trials: int | None = _option(None, rule=_POSITIVE, of_search=True)
    """Trials of the search, failed ones included; None for `DEFAULT_TRIALS`, or for a whole grid."""
    time_budget: float | None = _option(None, rule=_SECONDS, once=True)
    """Seconds after which the sweep stops, what then runs being left to be resumed; None for no limit."""
    search: str = _option("tpe", rule=_TEXT, identifies=True, of_search=True)
    """Name of the search algorithm, of :data:`sweeps.search.samplers.SAMPLERS`."""
    scheduler: str = _option("asha", rule=_TEXT, identifies=True, of_search=True)
    """Name of what stops trials early, of :data:`sweeps.search.schedulers.SCHEDULERS`."""
    brackets: int = _option(1, rule=_POSITIVE, identifies=True, of_search=True)
    """Number of brackets of the scheduler "asha"."""
    first_rung: int | None = _option(None, rule=_POSITIVE, identifies=True, of_search=True)
    """Iteration from which on the schedulers "asha" and "median" stop trials; None for what the config suggests."""
    reduction_factor: int = _option(2, rule=_FACTOR, identifies=True, of_search=True)
    """Of how many trials at a rung the scheduler "asha" lets one go on."""
    population: int | None = _option(None, rule=_POSITIVE, identifies=True, of_search=True)
    """Trials that the scheduler "pbt" trains to the end; None for its default, and for other schedulers."""
    space: str | None = _option(None, rule=_TEXT, identifies=True, of_search=True)
    """JSON file with the ranges that are searched, and no others; None for the default ranges."""
    range: tuple[str, ...] = _option((), rule=_TEXTS, identifies=True, of_search=True)
    """Ranges to search, each ``KEY=RANGE``; see :func:`sweeps.definition.space.parse_range`."""
    enqueue: tuple[str, ...] = _option((), rule=_TEXTS, once=True, of_search=True)
    """Parameters to try next; see :func:`sweeps.search.warm_start.read_params`."""
    warm_start: str | None = _option(None, rule=_TEXT, once=True, of_search=True)
    """Earlier study whose trials the search is told about; see :func:`sweeps.search.warm_start.open_earlier`."""
    share_trunk: bool = _option(True, rule=_TRUTH, key="warm_up")
    """Whether the iterations before the contrast are trained once, and shared by all trials that begin alike."""
    workers: int | None = _option(None, rule=_POSITIVE, identifies=True)
    """Processes of a trial; None for `DEFAULT_WORKERS`, or 1 where there is no room for them."""
    cpus_per_worker: int | None = _option(None, rule=_POSITIVE)
    """CPUs that each of them occupies; None for a GPU's share of them, at most 8, or 1 without GPUs."""
    gpus_per_worker: float | None = _option(None, rule=_SHARE)
    """GPUs that each of them occupies; None for 1 where the cluster has any, and else 0."""
    concurrency: int | None = _option(None, rule=_POSITIVE)
    """Trials at the same time; None for as many as fit."""
    max_failures: int = _option(3, rule=_POSITIVE)
    """Failures of the same kind in a row after which the sweep stops; see :mod:`sweeps.search.verdicts.failures`."""
    keep: str = _option("complete", rule=_KEEP)
    """Which trials keep their last checkpoint, of `KEPT`."""
    address: str | None = _option(None, rule=_TEXT)
    """Ray cluster to join, HOST:PORT or "auto"; None or "local" for this machine alone."""
    storage: str = _option("./results", rule=_FOLDER)
    """Folder in which the sweep has a folder of its own."""
    name: str | None = _option(None, rule=_TEXT)
    """Name of the sweep, and of its folder; None for one made of the preset and the time."""
    resume: str | None = _option(None, rule=_OLDER, once=True)
    """Name of the sweep that is resumed, "" for the newest one; None for a new sweep."""
    retry_failed: bool = _option(False, rule=_TRUTH, once=True)
    """Whether the trials that have failed are trained again, when a sweep is resumed."""
    accept_changed_data: bool = _option(False, rule=_TRUTH, once=True)
    """Whether a sweep goes on, or is told about earlier trials, although they were trained on other data."""
    confirm: int | None = _option(None, rule=_POSITIVE, identifies=True)
    """Number of the best trials of the sweep `resume` that are trained anew with fresh `seeds`; None for none."""
    log_to: str = _option("none", rule=_TRACKERS)
    """Tracking server that is told of every run while it trains, of `TRACKERS`; see :mod:`sweeps.streams`."""
    json: bool = _option(False, rule=_TRUTH, once=True)
    """Whether the results are written as one JSON document to standard output at the end."""

    def __post_init__(self) -> None:
        for option in dataclasses.fields(self):
            value = getattr(self, option.name)
            if isinstance(value, list):
                value = tuple(value)
                object.__setattr__(self, option.name, value)
            if value is not None or option.default is not None:
                check_value(option.name, value)
        check(
            METRIC in self.objectives,
            f"--objectives must hold {METRIC}, by which the best trial is kept",
            ",".join(self.objectives),
            "Add it.",
        )
        check(
            not self.bases or any(number in TABLES_OF_BASES for number in self.table or ()),
            f"--bases chooses rows of Tables {TABLES_OF_BASES[0]} to {TABLES_OF_BASES[-1]}",
            f"--table {','.join(map(str, self.table))}" if self.table else "no --table",
            "Add --table, or leave --bases out.",
        )
        check(
            not (self.encoders and self.table),
            "--encoders runs a table of its own",
            f"--table {','.join(map(str, self.table or ()))}",
            "Leave one of them out.",
        )
        check(
            self.encoders is None or 0 < len(set(self.encoders)) == len(self.encoders),
            "--encoders must be different names of encoders",
            ",".join(self.encoders or ()),
        )

    @property
    def start(self) -> str:
        """What the sweep starts from, in words."""
        return f"the preset {self.preset}" if self.config is None else f"the config {self.config}"

    @property
    def changes(self) -> dict[str, Any]:
        """What the options change in the config, by dotted key."""
        report = {} if self.report_split is None else {REPORT_SHARE: self.report_split}
        return {**parse_settings(self.set), **report}

    @classmethod
    def from_given(cls, given: Mapping[str, Any]) -> SweepOptions:
        """Return the options of a new sweep.

        Args:
            given: The options that the user has given, by the names of the fields; the others have their defaults.

        Raises:
            ValueError: The options do not go together.
        """
        _check_given(given, table=given.get("table") or given.get("encoders"))
        check(
            not given.get("retry_failed"),
            "--retry-failed goes with --resume, which has trials that failed",
            "a new sweep",
            "Add --resume, or leave it out.",
        )
        check(
            not given.get("accept_changed_data") or bool(given.get("warm_start")),
            "--accept-changed-data goes with --resume or --warm-start, which have trials of before",
            "a new sweep",
            "Leave it out.",
        )
        if given.get("confirm") is not None:
            raise ValueError(
                f"--confirm must name the sweep whose best trials it confirms, but got --confirm {given['confirm']} "
                "alone. Add --resume NAME."
            )
        several = len(given.get("objectives", ())) > 1
        return cls(**({"scheduler": "none"} if several else {}) | dict(given))

    @classmethod
    def from_json(cls, flags: Mapping[str, Any]) -> SweepOptions:
        """Return the options in a sweep.json, which older versions may have written without some of them.

        Raises:
            UnknownKey: There is an option that this version does not have.
            ValueError: An option has a value that it does not take.
        """
        fields = {_key(option): option.name for option in dataclasses.fields(cls)}
        # An option of a later version that is not used makes no difference.
        unknown = [key for key, value in flags.items() if key not in fields and value not in (None, False, [])]
        if unknown:
            raise UnknownKey(f"Unknown option {unknown[0]!r}.")
        return cls(**{fields[key]: value for key, value in flags.items() if key in fields})

    def to_json(self) -> dict[str, Any]:
        """Return the options as sweep.json has them."""
        values = {_key(option): getattr(self, option.name) for option in dataclasses.fields(self)}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}

    def given(self) -> dict[str, Any]:
        """Return the options that are not the defaults, as a user would give them."""
        values = {option.name: (getattr(self, option.name), option.default) for option in dataclasses.fields(self)}
        return {name: value for name, (value, default) in values.items() if value != default}

    def resumed(self, given: Mapping[str, Any]) -> SweepOptions:
        """Return the options with which a sweep that has these goes on.

        Args:
            given: The options that the user has given this time, by the names of the fields.

        Raises:
            ValueError: A given option would make the sweep a different one.
        """
        for option in dataclasses.fields(self):
            before, now = getattr(self, option.name), given.get(option.name)
            if option.metadata["identifies"] and option.name in given and _plain(now) != before:
                raise ValueError(
                    f"A resumed sweep keeps its {flag(option.name)}, which was {_shown(before)!r}, but got "
                    f"{_shown(now)!r}. Leave the flag out, or start a new sweep under another --name."
                )
        self.check_address(given)
        _check_given(given, table=self.table or self.encoders)
        once = {option.name: option.default for option in dataclasses.fields(self) if option.metadata["once"]}
        return dataclasses.replace(self, **{**once, **given, "resume": None})

    @property
    def cluster(self) -> str | None:
        """The address of the Ray cluster to join; None for this machine alone."""
        return None if self.address == LOCAL else self.address

    def check_address(self, given: Mapping[str, Any]) -> None:
        """Refuse to join a cluster only because the folder of a sweep says so; somebody else may have made it.

        Args:
            given: The options that the user has given this time, by the names of the fields.

        Raises:
            ValueError: The sweep was run on a cluster, and the user names none.
        """
        check(
            self.cluster is None or given.get("address") is not None,
            "--address must be given again where a sweep that was run on a Ray cluster is resumed",
            None,
            f"Add --address {self.address}, where it was run, or --address {LOCAL} for this machine alone.",
        )


_FIELDS = {option.name: option for option in dataclasses.fields(SweepOptions)}


def check_value(name: str, value: Any) -> None:
    """Check one option by itself.

    Args:
        name: The name of its field.
        value: Its value, other than None.

    Raises:
        ValueError: The value does not keep the option's rule.
    """
    rule = _FIELDS[name].metadata["rule"]
    if rule is not None:
        value = _plain(value)
        check(rule.holds(value), f"{flag(name)} must be {rule.words}", _shown(value), rule.remedy(value))


def rule_of(name: str) -> str:
    """Return which values an option takes, in words that follow "must be"."""
    rule = _FIELDS[name].metadata["rule"]
    return "" if rule is None else str(rule.words)


def flag(name: str) -> str:
    """Return how an option is called on the command line, by the name of its field."""
    return f"--{name.replace('_', '-')}"


def _check_given(given: Mapping[str, Any], *, table: Sequence[object] | None) -> None:
    """Refuse options that a user must not give together, whatever their values."""
    strange = [name for name, option in _FIELDS.items() if option.metadata["of_search"] and name in given]
    if table and strange:
        runs = "--encoders" if "encoders" in given else "--table"
        raise ValueError(f"{runs} runs rows that are given, so there is no {flag(strange[0])}.")
    if "seed" in given and "seeds" in given:
        raise ValueError(
            f"--seeds {_shown(given['seeds'])} and --seed {given['seed']} exclude each other. Give one of them."
        )


def _key(option: dataclasses.Field[Any]) -> str:
    return option.metadata["key"] or option.name


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _shown(value: Any) -> Any:
    """Return a value as messages have it."""
    return list(value) if isinstance(value, tuple) else value


DEFAULTS = SweepOptions()
"""The options of a user who gives none."""
