"""The sweep: Ray Tune and Optuna over trials that are distributed trainings of PGPC. See --help."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.metadata
import json
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any

import optuna
import ray
from optuna.distributions import distribution_to_json, json_to_distribution
from ray import tune

import pgpc
from pgpc.config import Config, flatten, from_dict, to_dict
from pgpc.data.domains import check_pair
from sweeps import cluster, flags, results, search
from sweeps.space import Space, own_values, search_space, trial_config
from sweeps.terminal import Terminal, silence
from sweeps.trial import RESTARTS, TRIAL_RESOURCES, Workers, run_trial

PATHS = ("data.source", "data.target", "model.pretrained")
"""Config keys that name files or folders."""


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """All that determines a sweep; written to sweep.json when it starts and read back when it is resumed."""

    folder: Path
    flags: dict[str, Any]
    config: Config
    space: Space
    runs: list[dict[str, Any]]
    """Command line, time and versions of each driver."""

    @property
    def file(self) -> Path:
        """sweep.json."""
        return self.folder / "sweep.json"

    @property
    def resume_command(self) -> str:
        """What to type to go on."""
        storage = self.flags["storage"]
        extra = [] if storage == flags.DEFAULTS["storage"] else ["--storage", storage]
        return shlex.join(["python", "sweeps/run_ablation.py", "--resume", self.folder.name, *extra])


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0, 1 if every trial failed, 2 for a user's error, 130 after Ctrl-C."""
    given = vars(flags.build_parser().parse_args(argv))
    silence()
    with contextlib.ExitStack() as stack:
        stack.callback(ray.shutdown)
        try:
            sweep, workers, concurrency = prepare(given, stack)
        except ValueError as error:
            print(f"run_ablation.py: error: {error}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            return 130
        return run(sweep, workers, concurrency)


def prepare(given: dict[str, Any], stack: contextlib.ExitStack) -> tuple[Sweep, Workers, int]:
    """Checks all that can be checked before a worker starts, cheap things first, and writes sweep.json.

    Raises:
        ValueError: the user must change something; the message says what.
    """
    sweep = resumed_sweep(given) if "resume" in given else new_sweep(given)
    chosen, config = sweep.flags, sweep.config
    if config.training.batch_size % chosen["workers"]:
        raise ValueError(
            f"training.batch_size ({config.training.batch_size}) must be divisible by --workers, "
            f"but got {chosen['workers']}. Change --workers or --set training.batch_size=..."
        )
    search.make_sampler(chosen["search"], seed=config.seed, num_trials=chosen["trials"])
    stack.enter_context(own_folder(sweep))
    check_pair(config.data)
    cluster.connect(chosen["address"])
    nodes = cluster.nodes()
    workers = cluster.default_workers(nodes, chosen["workers"], chosen["cpus_per_worker"], chosen["gpus_per_worker"])
    slots = cluster.trial_slots(nodes, workers)
    if (chosen["concurrency"] or 0) > slots:
        raise ValueError(f"--concurrency must be at most {slots}, which is what fits, but got {chosen['concurrency']}.")
    write_sweep(sweep)
    return sweep, workers, chosen["concurrency"] or min(slots, chosen["trials"])


def new_sweep(given: dict[str, Any]) -> Sweep:
    """The sweep that the flags describe."""
    chosen = flags.merge(given, None)
    changes = flags.parse_changes(chosen["set"])
    if chosen["seed"] is not None:
        changes["seed"] = chosen["seed"]
    config = _absolute(pgpc.override(pgpc.preset(chosen["preset"]), changes))
    chosen["seed"] = config.seed
    name = chosen["name"] or f"{chosen['preset'].replace('/', '-')}-{datetime.now():%Y%m%d-%H%M%S}"
    if Path(name).name != name:
        raise ValueError(
            f"--name must be a plain name without folders, but got {name!r}. Use --storage for the folder."
        )
    folder = Path(chosen["storage"]).expanduser().absolute() / name
    if (folder / "sweep.json").exists():
        raise ValueError(
            f"The sweep {name!r} exists in {folder.parent}. Go on with --resume {name}, or choose another --name."
        )
    return Sweep(folder=folder, flags=chosen, config=config, space=search_space(config, fixed=changes), runs=[])


def resumed_sweep(given: dict[str, Any]) -> Sweep:
    """The sweep that `--resume` names (by name, or by its folder), or the newest."""
    storage = Path(given.get("storage", flags.DEFAULTS["storage"])).expanduser().absolute()
    name = given["resume"] or given.get("name")
    if name and given.get("name", name) != name:
        raise ValueError(f"--resume names {name!r}, but --name {given['name']!r}. Give one of them.")
    files = [storage / name / "sweep.json"] if name else list(storage.glob("*/sweep.json"))
    files = [file for file in files if file.is_file()]
    if not files:
        known = ", ".join(sorted(file.parent.name for file in storage.glob("*/sweep.json"))) or "none"
        raise ValueError(
            f"There is no sweep {name or 'to resume'!r} in {storage} (there: {known}). See --storage and --name."
        )
    file = max(files, key=lambda f: f.stat().st_mtime)
    stored = json.loads(file.read_text())
    chosen = flags.merge(given, stored["flags"])
    # The folder may have been moved since; and what was said for one run does not hold for the next.
    chosen.update(storage=given.get("storage", flags.DEFAULTS["storage"]), name=file.parent.name, resume=None)
    chosen["time_budget"] = given.get("time_budget")
    return Sweep(
        folder=file.parent,
        flags=chosen,
        config=from_dict(stored["config"]),
        space={key: json_to_distribution(json.dumps(d)) for key, d in stored["space"].items()},
        runs=stored["runs"],
    )


def _absolute(config: Config) -> Config:
    """The config with its files named in a way that holds in the workers, whose working directory is another."""
    paths = {key: value for key, value in flatten(config).items() if key in PATHS and value}
    return pgpc.override(
        config,
        {
            key: value if value.startswith("streets:") else str(Path(value).expanduser().absolute())
            for key, value in paths.items()
        },
    )


@contextlib.contextmanager
def own_folder(sweep: Sweep) -> Iterator[None]:
    """Makes the sweep's folder and holds its lock; removes the folder again if the sweep has not started by the end.

    Raises:
        ValueError: it cannot be written, or another driver holds it.
    """
    try:
        results.trials_folder(sweep.folder).mkdir(parents=True, exist_ok=True)
        lock = open(sweep.folder / ".lock", "w")
    except OSError as error:
        raise ValueError(
            f"The results folder must be writable, but {sweep.folder} is not ({error.strerror}). Choose another --storage."
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ValueError(
                f"Another process is running the sweep in {sweep.folder}. Wait for it, or end it."
            ) from None
        try:
            yield
        finally:
            if not sweep.file.exists():
                shutil.rmtree(sweep.folder, ignore_errors=True)


def write_sweep(sweep: Sweep) -> None:
    """Adds this driver to sweep.json."""
    this = {
        "command": shlex.join(["python", *sys.argv]),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "versions": versions(),
    }
    text = json.dumps(
        {
            "runs": [*sweep.runs, this],
            "seed": sweep.config.seed,
            "flags": sweep.flags,
            "space": {key: json.loads(distribution_to_json(d)) for key, d in sweep.space.items()},
            "config": to_dict(sweep.config),
        },
        indent=2,
    )
    partial = sweep.file.with_suffix(".partial")
    partial.write_text(text + "\n")
    os.replace(partial, sweep.file)


def versions() -> dict[str, str]:
    """Of Python, the packages that matter, and the code (git revision, where there is one)."""
    found = {"python": platform.python_version()}
    for package in ("pgpc", "torch", "timm", "ray", "optuna"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
        found["revision"] = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    return found


def run(sweep: Sweep, workers: Workers, concurrency: int) -> int:
    """Runs what is left of the sweep and writes its results; returns the exit code."""
    chosen, config = sweep.flags, sweep.config
    url = search.study_url(sweep.folder)
    # Each driver continues the random numbers elsewhere, or a resumed search would suggest again what it has tried.
    sampler = search.make_sampler(
        chosen["search"], seed=config.seed + 1000 * len(sweep.runs), num_trials=chosen["trials"]
    )
    pruner = search.make_pruner(chosen["scheduler"], config)
    study, reference = search.open_studies(url, sweep.folder.name, sampler, pruner)

    def rows() -> list[results.Row]:
        return results.collect(study, reference, results=sweep.folder, seed=config.seed)

    def on_event(event: str, trial: search.Run) -> None:
        terminal.event(event, trial)
        if event in ("complete", "pruned", "failed"):
            results.write_parquet(rows(), sweep.folder / "results.parquet")

    def make_spec(label: str, params: dict[str, Any]) -> dict[str, Any]:
        return {
            "label": label,
            "config": json.dumps(to_dict(trial_config(config, params))),
            "directory": str(results.trials_folder(sweep.folder) / label),
            "workers": asdict(workers),
        }

    found = results.best(rows())
    terminal = Terminal(config.training.iterations, best=(found["trial"], found[search.METRIC]) if found else None)
    print(
        f"Sweep {sweep.folder.name}: {chosen['trials']} trials of {chosen['preset']}, {config.training.iterations} iterations "
        f"each, {workers}, {concurrency} at a time; search {chosen['search']}, scheduler {chosen['scheduler']}\n"
        f"Results in {sweep.folder}\nTo watch: tensorboard --logdir {results.trials_folder(sweep.folder)}",
        flush=True,
    )
    interruption = search.Interruption(chosen["time_budget"])
    searcher = search.StudySearcher(
        study,
        reference,
        space=sweep.space,
        initial=own_values(config, sweep.space),
        num_trials=chosen["trials"],
        iterations=config.training.iterations,
        make_spec=make_spec,
        on_event=on_event,
    )
    signals: list[int] = []
    with stop_gracefully(interruption, terminal, signals):
        execute(searcher, interruption, concurrency, sweep.folder)
    return finish(sweep, study, rows(), signals)


def execute(searcher: search.StudySearcher, interruption: search.Interruption, concurrency: int, folder: Path) -> None:
    """Tune runs the searcher's trials. What Tune itself writes is of no use afterwards and is removed."""
    shutil.rmtree(folder / "tune", ignore_errors=True)
    tune.Tuner(
        tune.with_resources(run_trial, TRIAL_RESOURCES),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            scheduler=search.PrunerScheduler(searcher),
            num_samples=-1,
            max_concurrent_trials=concurrency,
            trial_name_creator=lambda trial: trial.config["label"],
            trial_dirname_creator=lambda trial: f"{trial.config['label']}_{trial.trial_id}",
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(folder),
            stop=interruption,
            failure_config=tune.FailureConfig(max_failures=RESTARTS),
            verbose=0,
        ),
    ).fit()
    shutil.rmtree(folder / "tune", ignore_errors=True)


@contextlib.contextmanager
def stop_gracefully(interruption: search.Interruption, terminal: Terminal, received: list[int]) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM asks the sweep to stop; the second one leaves at once."""

    def handle(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if interruption.requested:
            raise KeyboardInterrupt
        interruption.requested = True
        terminal.say("stopping; once more to leave at once")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def finish(sweep: Sweep, study: optuna.Study, rows: list[results.Row], signals: list[int]) -> int:
    """Writes the last results and says where everything is; returns the exit code."""
    results.write_parquet(rows, sweep.folder / "results.parquet")
    best = results.best(rows)
    if best:
        results.keep_best(best, sweep.folder / "best")
    searched = [row for row in rows if row["kind"] == "search"]
    failed = [row for row in rows if row["status"] == "failed"]
    unfinished = len(searched) < sweep.flags["trials"] or any(row["status"] == "interrupted" for row in rows)
    print(f"\n{results.table(rows, list(sweep.space))}\n")
    for row in failed:
        print(f"{row['trial']} failed: {row['error']}")
    places = {
        "rows": sweep.folder / "results.parquet",
        "curves": f"tensorboard --logdir {results.trials_folder(sweep.folder)}",
        "study": search.study_url(sweep.folder),
        "best": sweep.folder / "best" / "checkpoint.pt" if best else None,
        "resume": sweep.resume_command if unfinished else None,
    }
    print("\n".join(f"{name:<7} {place}" for name, place in places.items() if place), flush=True)
    if signals:
        return 128 + signals[0]
    return 1 if searched and all(row["status"] == "failed" for row in searched) else 0


if __name__ == "__main__":
    sys.exit(main())
