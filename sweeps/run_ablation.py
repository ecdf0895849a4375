"""The sweep: Ray Tune and Optuna over trials that are distributed trainings of PGPC. See --help."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

import optuna
import ray
from ray import tune

from pgpc.config import to_dict
from pgpc.data.domains import check_pair
from pgpc.models import check_model
from pgpc.training.state import check_feature_distance
from sweeps import algorithms, cluster, flags, results, search
from sweeps.space import own_values, trial_config
from sweeps.sweep import Sweep, new_sweep, own_folder, resumed_sweep, write_sweep
from sweeps.terminal import Terminal, silence
from sweeps.trial import RESTARTS, TRIAL_RESOURCES, Workers, run_trial


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0, 1 if every trial failed, 2 for a user's error, 130 after Ctrl-C."""
    given = vars(flags.build_parser().parse_args(argv))
    silence()
    with contextlib.ExitStack() as stack:
        stack.callback(ray.shutdown)
        try:
            sweep, workers, concurrency = prepare(given, stack)
        except (ValueError, OSError) as error:
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
    check_model(config.model)
    check_feature_distance(config)
    algorithms.make_sampler(chosen["search"], seed=config.seed, num_trials=chosen["trials"])
    stack.enter_context(own_folder(sweep))
    check_pair(config.data)
    cluster.connect(chosen["address"])
    nodes = cluster.nodes()
    workers = cluster.default_workers(nodes, chosen["workers"], chosen["cpus_per_worker"], chosen["gpus_per_worker"])
    if 0 < workers.gpus < 1 and workers.count > 1:
        raise ValueError(
            f"Workers of one trial cannot share a GPU, but got --gpus-per-worker {workers.gpus:g} with "
            f"--workers {workers.count}. Use --workers 1, or whole GPUs."
        )
    slots = cluster.trial_slots(nodes, workers)
    if (chosen["concurrency"] or 0) > slots:
        raise ValueError(f"--concurrency must be at most {slots}, which is what fits, but got {chosen['concurrency']}.")
    write_sweep(sweep)
    return sweep, workers, chosen["concurrency"] or min(slots, chosen["trials"])


def run(sweep: Sweep, workers: Workers, concurrency: int) -> int:
    """Runs what is left of the sweep and writes its results; returns the exit code."""
    chosen, config = sweep.flags, sweep.config
    url = search.study_url(sweep.folder)
    # Each driver continues the random numbers elsewhere, or a resumed search would suggest again what it has tried.
    sampler = algorithms.make_sampler(
        chosen["search"], seed=config.seed + 1000 * len(sweep.runs), num_trials=chosen["trials"]
    )
    pruner = algorithms.make_pruner(chosen["scheduler"], config)
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
        f"Sweep {sweep.folder.name}: {chosen['trials']} trials of {chosen['preset']}, "
        f"{config.training.iterations} iterations each, {workers}, {concurrency} at a time; "
        f"search {chosen['search']}, scheduler {chosen['scheduler']}\n"
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
        try:
            results.keep_best(best, sweep.folder / "best")
        except FileNotFoundError as error:
            print(error, file=sys.stderr)
            best = None
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
