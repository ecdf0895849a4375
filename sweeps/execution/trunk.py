"""Warm-ups of a sweep: what its trials have in common, until the contrast starts, is trained once.

See pgpc.training.trunk. They lie in ``warmups`` beside the sweeps, each in a folder named after all that it depends
on, so that any later sweep finds it. A folder appears there by a rename when it is complete; until then there is one
ending in ``-partial``, which an interrupted training goes on from.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

import pgpc
from pgpc.config import Config, to_dict
from pgpc.training import trunk as warm_up
from sweeps.definition.space import REFERENCE
from sweeps.definition.sweep import Sweep
from sweeps.execution.trial import FAILED, FORKED, Workers, forked
from sweeps.results import rows as results
from sweeps.search.replicates import METRIC

LABEL = "warmup"
_TRAINED_BY = "trained_by.json"
_KEPT = ("config.json", warm_up.FILE, "events.out.tfevents.*")


@dataclass(frozen=True)
class WarmUps:
    """Where the warm-ups are, and what trains with them.

    Attributes:
        folder: holds them all.
        workers: of every trial.
    """

    folder: Path
    workers: Workers

    def address(self, config: Config) -> str | None:
        """The name of the warm-up that a run of this config can go on from; None where there is nothing to share."""
        if warm_up.length(config) == 0:
            return None
        device = "cuda" if self.workers.gpus else "cpu"
        try:
            return warm_up.address(config, processes=self.workers.count, device=device)
        except (ValueError, OSError):
            return None  # something cannot be read, which the training itself reports better

    def find(self, config: Config) -> str | None:
        """The folder of a complete warm-up for this config, if there is one."""
        address = self.address(config)
        return str(self.folder / address) if address and (self.folder / address).is_dir() else None

    def missing(self, configs: Iterable[Config]) -> dict[str, Config]:
        """By address, the warm-ups that more than one of these runs would go on from, and that are not there yet."""
        runs = [(address, config) for config in configs if (address := self.address(config))]
        users = Counter(address for address, _ in runs)
        shared = {address: config for address, config in runs if users[address] > 1}
        return {address: config for address, config in shared.items() if not (self.folder / address).is_dir()}

    def publish(self, address: str, sweep: Path) -> None:
        """Makes a warm-up that is complete appear under its address; `sweep` is noted as who has trained it."""
        partial, new = self.partial(address), self.folder / f"{address}-new"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        shutil.copy2(sorted(partial.glob("checkpoint_*/checkpoint.pt"))[-1], new)
        for pattern in _KEPT:
            for file in partial.glob(pattern):
                shutil.copy2(file, new)
        (new / _TRAINED_BY).write_text(json.dumps({"sweep": str(sweep)}) + "\n")
        os.replace(new, self.folder / address)
        shutil.rmtree(partial, ignore_errors=True)

    def partial(self, address: str) -> Path:
        """Where a warm-up is being trained."""
        return self.folder / f"{address}-partial"

    def lock(self, address: str) -> contextlib.AbstractContextManager[Any] | None:
        """The right to train a warm-up, until it is closed or the process ends; None while another sweep has it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        file = (self.folder / f"{address}.lock").open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return None
        return file


def provide(
    warm_ups: WarmUps,
    sweep: Sweep,
    *,
    execute: Callable[[Searcher], None],
    stopped: Callable[[], bool],
    say: Callable[[str], None],
) -> None:
    """Trains the warm-ups that runs of the sweep can share, or waits for another sweep that is doing so.

    One that fails is left to the trials, which then meet the same in what they train themselves.

    Args:
        warm_ups: where they belong.
        sweep: whose runs.
        execute: has Tune run the trials of a searcher; returns when they have ended, or the sweep is to stop.
        stopped: whether the sweep is to stop.
        say: writes one line.
    """
    reason = None if sweep.points else refusal(sweep.config, list(sweep.space))
    if reason:
        say(reason)
        return
    wanted, waiting = warm_ups.missing(_runs_to_begin(sweep)), False
    while wanted and not stopped():
        with contextlib.ExitStack() as locks:
            mine = {}
            for address, config in wanted.items():
                if lock := warm_ups.lock(address):
                    locks.enter_context(lock)
                    mine[address] = config
            # Another sweep may have published one between the two looks.
            mine = {address: config for address, config in mine.items() if not (warm_ups.folder / address).is_dir()}
            if mine:
                execute(WarmUpSearcher(warm_ups, mine, sweep=sweep.folder, say=say))
        wanted = {a: c for a, c in wanted.items() if a not in mine and not (warm_ups.folder / a).is_dir()}
        if wanted and not mine:
            if not waiting:
                say(f"{LABEL}  another sweep is training it; waiting")
            waiting = True
            time.sleep(1)


def refusal(config: Config, keys: Sequence[str]) -> str | None:
    """One line on why a search over `keys` can have no warm-up, or None if it can."""
    if warm_up.length(config) == 0:
        return "no warm-up: the contrast plays a part from the first iteration on"
    found = warm_up.influential(config, keys)
    return f"no warm-up: {', '.join(found)} plays a part before the contrast starts, and is searched" if found else None


def _runs_to_begin(sweep: Sweep) -> list[Config]:
    """A config for each run that has not begun; those of a search are all alike until the contrast starts."""
    if sweep.points:
        configs = [pgpc.override(config, {"seed": seed}) for config in sweep.points.values() for seed in sweep.seeds]
    else:
        every = [REFERENCE, *[{}] * sweep.num_trials]
        configs = [pgpc.override(sweep.config, {**changes, "seed": seed}) for changes in every for seed in sweep.seeds]
    begun = len(list(results.trials_folder(sweep.folder).glob("*/config.json")))
    return configs[begun:]


class WarmUpSearcher(Searcher):
    """Hands warm-ups to Tune as trials, and publishes those that are complete.

    Args:
        warm_ups: where they belong.
        wanted: config by address.
        sweep: folder of the sweep.
        say: writes one line.
    """

    def __init__(
        self, warm_ups: WarmUps, wanted: Mapping[str, Config], *, sweep: Path, say: Callable[[str], None]
    ) -> None:
        super().__init__()
        self._warm_ups, self._sweep, self._say = warm_ups, sweep, say
        names = [LABEL] if len(wanted) == 1 else [f"{LABEL}-{i}" for i in range(1, len(wanted) + 1)]
        self._left = list(zip(names, wanted.items()))
        self._runs: dict[str, tuple[str, str, int]] = {}
        """Label, address and length by Tune's id."""
        self._iterations: dict[str, int] = {}
        self._errors: dict[str, str] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        """Tune asks for a trial."""
        if not self._left:
            return Searcher.FINISHED
        label, (address, config) = self._left.pop(0)
        length = warm_up.length(config)
        self._runs[trial_id] = label, address, length
        self._say(f"{label}  started   the {length} iterations before the contrast, once for all trials")
        return {
            "label": label,
            "config": json.dumps(to_dict(config)),
            "directory": str(self._warm_ups.partial(address)),
            "workers": asdict(self._warm_ups.workers),
            "until": length,
        }

    def report(self, trial_id: str, metrics: dict[str, float]) -> bool:
        """Takes a report; never stops anything."""
        label, _, length = self._runs[trial_id]
        self._iterations[trial_id] = int(metrics["iteration"])
        score = f"  {METRIC} {metrics[METRIC]:.2f}" if METRIC in metrics else ""
        self._say(f"{label}  iteration {self._iterations[trial_id]}/{length}{score}")
        return False

    def note_error(self, trial_id: str, message: str, *, final: bool) -> None:
        """A process has failed, with this message; unless `final` Tune starts it again."""
        self._errors[trial_id] = message
        if not final:
            self._say(f"{self._runs[trial_id][0]}  {message}; it is started again")

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tune has ended a trial; not called for those that a stopped sweep leaves unfinished."""
        label, address, length = self._runs[trial_id]
        failure = self._errors.get(trial_id, "") if error else (result or {}).get(FAILED, "")
        if not failure and not error and self._iterations.get(trial_id) == length:
            self._warm_ups.publish(address, self._sweep)
            self._say(f"{label}  complete")
            return
        if not error:  # else it was lost, and a later driver can go on with it
            shutil.rmtree(self._warm_ups.partial(address), ignore_errors=True)
        self._say(f"{label}  FAILED    {failure or 'it ended early'}; every trial trains these iterations itself")

    def save(self, checkpoint_path: str) -> None:
        """Nothing: what is complete is published."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: what is there is the state."""


def summary(warm_ups: WarmUps, sweep: Path) -> str | None:
    """One line on what a sweep has saved, over all its drivers; None if none of its trials went on from a warm-up."""
    files = results.trials_folder(sweep).glob(f"*/{FORKED}")
    notes = [note for file in files if (note := forked(file.parent))["warm_up"]]
    if not notes:
        return None
    once = {note["warm_up"]: note for note in notes}
    own = [note for name, note in once.items() if _trained_by(warm_ups.folder / name) == str(sweep)]
    iterations, seconds = _total(notes)
    own_iterations, own_seconds = _total(own)
    how = f"trained once in {own_seconds:.0f} s" if own else "trained by an earlier sweep"
    return (
        f"warm-up: {_total(once.values())[0]} iterations {how}; "
        f"saved {iterations - own_iterations} iterations, {seconds - own_seconds:.0f} s of training"
    )


def _total(notes: Iterable[dict[str, Any]]) -> tuple[int, float]:
    notes = list(notes)
    return sum(n["warm_up_iterations"] for n in notes), sum(n["warm_up_seconds"] for n in notes)


def _trained_by(folder: Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        return json.loads((folder / _TRAINED_BY).read_text())["sweep"]
    return ""
