"""The trunk of a sweep: what its trials have in common, until the contrast starts, is trained once and shared.

See :mod:`pgpc.training.trunk`. Trunks lie in ``warmups`` beside the sweeps, each in a folder named after all that it
depends on, so that any later sweep finds it. A folder appears there by a rename when it is complete; until then there
is one ending in ``-partial``, which an interrupted training resumes from.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ray.tune.search import Searcher

import pgpc
from pgpc.config import Config
from pgpc.runtime.locks import try_lock
from pgpc.training import trunk
from sweeps.common.names import METRIC
from sweeps.common.words import count, duration, listed
from sweeps.definition.folder import TRUNKS, trials_folder
from sweeps.definition.space import REFERENCE
from sweeps.definition.sweep import Sweep
from sweeps.execution.checkpoints import CHECKPOINT
from sweeps.execution.storage_faults import RunSearcher
from sweeps.execution.watch.silence import SilenceWatch
from sweeps.results.forks import FORKED, TrunkFork, read_fork
from sweeps.search.trial_spec import FAILURE, TrialSpec, Workers

LABEL = "trunk"
"""What the training of a trunk is called on the screen."""
_TRAINED_BY = "trained_by.json"
_NEW = "-new"
_KEPT = ("config.json", trunk.FILE, "events.out.tfevents.*")


@dataclass(frozen=True)
class TrunkStore:
    """Where the trunks are, and what trains with them.

    Attributes:
        folder: The folder that holds them all.
        workers: The workers of every run.
    """

    folder: Path
    workers: Workers

    @classmethod
    def beside(cls, sweep: Path, workers: Workers) -> TrunkStore:
        """Return the store that the sweep in the folder `sweep` shares with those beside it."""
        return cls(sweep.parent / TRUNKS, workers)

    def address(self, config: Config) -> str | None:
        """Return the name of the trunk that a run of this config can fork; None where there is nothing to share."""
        if trunk.length(config) == 0:
            return None
        device = "cuda" if self.workers.gpus else "cpu"
        try:
            return trunk.address(config, processes=self.workers.count, device=device, threads=self.workers.threads)
        except (ValueError, OSError):
            return None  # something cannot be read, which the training itself reports better

    def find(self, config: Config) -> Path | None:
        """Return the folder of a complete trunk for this config, if there is one."""
        address = self.address(config)
        return self.folder / address if address and self.has(address) else None

    def has(self, address: str) -> bool:
        """Return whether a trunk is there, and complete; a copy of the folder may have been cut short."""
        return all((self.folder / address / name).is_file() for name in (CHECKPOINT, trunk.FILE))

    def missing(self, configs: Iterable[Config]) -> dict[str, Config]:
        """Return, by address, the trunks that more than one of these runs would fork, and that are not there yet."""
        runs = [(address, config) for config in configs if (address := self.address(config))]
        users = Counter(address for address, _ in runs)
        shared = {address: config for address, config in runs if users[address] > 1}
        return {address: config for address, config in shared.items() if not self.has(address)}

    def publish(self, address: str, sweep: Path) -> None:
        """Make a trunk that is complete appear under its address.

        Args:
            address: The trunk's name.
            sweep: The folder of the sweep that has trained it, which is noted.
        """
        partial, new = self.partial(address), self.folder / f"{address}{_NEW}"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        shutil.copy2(sorted(partial.glob(f"checkpoint_*/{CHECKPOINT}"))[-1], new)
        for pattern in _KEPT:
            for file in partial.glob(pattern):
                shutil.copy2(file, new)
        (new / _TRAINED_BY).write_text(json.dumps({"sweep": str(sweep)}) + "\n")
        shutil.rmtree(self.folder / address, ignore_errors=True)  # one that is not complete
        os.replace(new, self.folder / address)
        shutil.rmtree(partial, ignore_errors=True)

    def remove_unfinished(self) -> None:
        """Remove what killed drivers have left of trunks that they were publishing.

        What they were training stays, since it is resumed by the next that needs it.
        """
        for folder in self.folder.glob(f"*{_NEW}"):
            if lock := self.lock(folder.name.removesuffix(_NEW)):
                with lock:
                    shutil.rmtree(folder, ignore_errors=True)

    def partial(self, address: str) -> Path:
        """Return where a trunk is being trained."""
        return self.folder / f"{address}-partial"

    def lock(self, address: str) -> contextlib.AbstractContextManager[Any] | None:
        """Take the right to train a trunk.

        Returns:
            What holds the right until it is closed or the process ends; None while another sweep has it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        file = (self.folder / f"{address}.lock").open("w")
        try:
            is_ours = try_lock(file)
        except OSError:  # a file system without locks: else this sweep would wait for another one for ever
            is_ours = True
        if not is_ours:
            file.close()
            return None
        return file


class Screen(Protocol):
    """What shows how the trunks come along, as `sweeps.progress.plain.Terminal` does."""

    def say(self, text: str) -> None:
        """Write one line."""

    def follow(self, label: str, directory: Path, iterations: int) -> None:
        """Show how far a training has come, whose directory and last iteration these are."""

    def unfollow(self, label: str) -> None:
        """Show it no longer."""


def provide_trunks(
    store: TrunkStore,
    sweep: Sweep,
    *,
    execute: Callable[[RunSearcher], None],
    stopped: Callable[[], bool],
    screen: Screen,
    watch: SilenceWatch | None = None,
) -> None:
    """Train the trunks that runs of the sweep can share, or wait for another sweep that is doing so.

    One that fails is left to the trials, which then meet the same in what they train themselves.

    Args:
        store: Where trunks are.
        sweep: The sweep whose runs are to share them.
        execute: Has Tune execute the runs of a searcher; returns when they have ended, or the sweep is to stop.
        stopped: Says whether the sweep is to stop.
        screen: Shows how it goes.
        watch: Says which trainings are silent; None for nobody.
    """
    reason = refusal(sweep.config, list(sweep.space)) if sweep.is_search else None
    if reason:
        screen.say(reason)
        return
    store.remove_unfinished()
    wanted, waiting = store.missing(_runs_to_begin(sweep)), False
    while wanted and not stopped():
        with contextlib.ExitStack() as locks:
            mine = {}
            for address, config in wanted.items():
                if lock := store.lock(address):
                    locks.enter_context(lock)
                    mine[address] = config
            # Another sweep may have published one between the two looks.
            mine = {address: config for address, config in mine.items() if not store.has(address)}
            if mine:
                execute(TrunkSearcher(store, mine, sweep=sweep.folder, screen=screen, watch=watch))
        wanted = {a: c for a, c in wanted.items() if a not in mine and not store.has(a)}
        if wanted and not mine:
            if not waiting:
                screen.say(f"{LABEL}  another sweep is training the shared trunk; waiting for it")
            waiting = True
            time.sleep(1)


def refusal(config: Config, keys: Sequence[str]) -> str | None:
    """Return a line on why a search over `keys` can share no trunk, or None if it can."""
    alone = "Every trial is trained from the start, without a shared trunk:"
    if trunk.length(config) == 0:
        return f"{alone} the contrast plays a part from the first iteration on."
    found = trunk.influential(config, keys)
    if not found:
        return None
    verb = "is searched and plays" if len(found) == 1 else "are searched and play"
    return f"{alone} {listed(found)} {verb} a part before the contrast starts."


def _runs_to_begin(sweep: Sweep) -> list[Config]:
    """Return a config for each run that has not begun; those of a search are all alike until the contrast starts."""
    if sweep.is_search:
        every: list[dict[str, Any]] = [REFERENCE, *[{}] * sweep.num_trials]
        configs = [pgpc.override(sweep.config, {**changes, "seed": seed}) for changes in every for seed in sweep.seeds]
    else:
        tables = sweep.table_configs.values()
        configs = [pgpc.override(config, {"seed": seed}) for config in tables for seed in sweep.seeds]
    begun = len(list(sweep.trials_folder.glob("*/config.json")))
    return configs[begun:]


@dataclass(kw_only=True)
class _TrunkRun:
    """The training of a trunk, while Tune executes it."""

    label: str
    address: str
    length: int
    iteration: int = 0
    error: str = ""


class TrunkSearcher(Searcher):
    """Hands trunks to Tune as runs, and publishes those that are complete.

    Args:
        store: Where they belong.
        wanted: The configs to train by their addresses.
        sweep: The folder of the sweep.
        screen: Shows how it goes.
        watch: Says which trainings are silent; None for nobody.
    """

    def __init__(
        self,
        store: TrunkStore,
        wanted: Mapping[str, Config],
        *,
        sweep: Path,
        screen: Screen,
        watch: SilenceWatch | None = None,
    ) -> None:
        super().__init__()
        self._store, self._sweep, self._screen, self._say = store, sweep, screen, screen.say
        self._watch = watch or SilenceWatch(screen.say)
        names = [LABEL] if len(wanted) == 1 else [f"{LABEL}-{i}" for i in range(1, len(wanted) + 1)]
        self._left = list(zip(names, wanted.items(), strict=True))
        self._runs: dict[str, _TrunkRun] = {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str:  # type: ignore[override]  # Ray, too, returns texts
        """Return what the training of the next trunk is told, or Tune's word for the end."""
        if not self._left:
            return str(Searcher.FINISHED)
        label, (address, config) = self._left.pop(0)
        length = trunk.length(config)
        self._runs[trial_id] = _TrunkRun(label=label, address=address, length=length)
        self._watch.begin(label, self._store.partial(address))
        self._screen.follow(label, self._store.partial(address), length)
        self._say(
            f"{label}  started: the {length} iterations before the contrast, trained once and shared by all trials"
        )
        return TrialSpec(
            label=label,
            config=config,
            directory=self._store.partial(address),
            workers=self._store.workers,
            until=length,
        ).to_plain()

    def report(self, trial_id: str, metrics: dict[str, float]) -> bool:
        """Take a report and return False, since no trunk is stopped early."""
        run = self._runs[trial_id]
        run.iteration = int(metrics["iteration"])
        self._watch.heard(run.label)
        score = f", {METRIC} {metrics[METRIC]:.2f}" if METRIC in metrics else ""
        self._say(f"{run.label}  iteration {run.iteration} of {run.length}{score}")
        return False

    def note_error(self, trial_id: str, message: str, *, final: bool) -> None:
        """Take note that a process has failed, with this message; unless `final` Tune starts it again."""
        run = self._runs[trial_id]
        run.error = message
        if not final:
            self._say(f"{run.label}  {message}; it is started again")

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Take note that Tune has ended a run; not called for those that a stopped sweep leaves unfinished."""
        run = self._runs[trial_id]
        self._watch.end(run.label)
        self._screen.unfollow(run.label)
        failure = run.error if error else (result or {}).get(FAILURE, "")
        if not failure and not error and run.iteration == run.length:
            self._store.publish(run.address, self._sweep)
            self._say(f"{run.label}  complete")
            return
        if not error:  # else it was lost, and a later driver can resume it
            shutil.rmtree(self._store.partial(run.address), ignore_errors=True)
        self._say(f"{run.label}  FAILED: {failure or 'it ended early'}; every trial trains these iterations itself")

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: what is complete is published."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: what is there is the state."""


def summary(store: TrunkStore, sweep: Path) -> str | None:
    """Return a sentence on what a sweep has saved, over all its drivers; None if no trial was forked from a trunk."""
    files = trials_folder(sweep).glob(f"*/{FORKED}")
    forks = [fork for file in files if (fork := read_fork(file.parent))]
    if not forks:
        return None
    once = {fork.trunk: fork for fork in forks}
    own = [fork for name, fork in once.items() if _trained_by(store.folder / name) == str(sweep)]
    iterations, seconds = _total(forks)
    own_iterations, own_seconds = _total(own)
    shared = count(_total(once.values())[0], "iteration")
    how = f"were trained once, in {duration(own_seconds)}," if own else "had been trained by an earlier sweep"
    return (
        f"Shared trunk: the first {shared}, before the contrast, {how} and not by every trial, which saved "
        f"{count(iterations - own_iterations, 'iteration')} and {duration(seconds - own_seconds)} of training."
    )


def _total(forks: Iterable[TrunkFork]) -> tuple[int, float]:
    forks = list(forks)
    return sum(fork.iterations for fork in forks), sum(fork.seconds for fork in forks)


def _trained_by(folder: Path) -> str:
    with contextlib.suppress(OSError, ValueError):
        return str(json.loads((folder / _TRAINED_BY).read_text())["sweep"])
    return ""
