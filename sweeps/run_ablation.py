"""The sweep: Ray Tune and Optuna over trials that are distributed trainings of PGPC. See --help."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, TextIO

import ray

from pgpc.bases.state import check_feature_distance
from pgpc.config import to_dict
from pgpc.data.domains import check_pair
from pgpc.models import check_model
from sweeps import report
from sweeps.common.faults import cannot_write, chain
from sweeps.definition import options as flags
from sweeps.definition.objectives import check_workers
from sweeps.definition.space import known_points
from sweeps.definition.sweep import Sweep, new_sweep, own_folder, resumed_sweep, write_sweep
from sweeps.execution import resources as cluster
from sweeps.execution import scheduling
from sweeps.execution import trunk as warmup
from sweeps.execution.storage_faults import STORAGE_ERRORS, StorageFault, first_line, remedy
from sweeps.execution.trial import Workers
from sweeps.execution.trunk import WarmUps
from sweeps.execution.tune_run import execute, stop_gracefully
from sweeps.finalize import finish
from sweeps.progress.plain import open_terminal, silence
from sweeps.progress.tensorboard import note_outcome
from sweeps.progress.throttle import Paced
from sweeps.results import rows as results
from sweeps.search import algorithms
from sweeps.search import searcher as search
from sweeps.search import warm_start as earlier
from sweeps.search.population import Population, check_population
from sweeps.search.study import check_study, open_studies, study_url


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code.

    It is 0, 1 if every trial failed, 2 for a user's error, 3 if the results could not be written, 130 after Ctrl-C.
    """
    given = vars(flags.build_parser().parse_args(argv))
    silence()
    try:
        return start(given)
    except KeyboardInterrupt:
        return 130


def start(given: dict[str, Any]) -> int:
    """The sweep, from its flags to its exit code."""
    answer = sys.stdout
    with contextlib.ExitStack() as stack:
        if given.get("json"):
            stack.enter_context(contextlib.redirect_stdout(sys.stderr))  # Ray, too, prints
        stack.callback(ray.shutdown)
        try:
            sweep, workers, concurrency = prepare(given, stack)
        except (ValueError, OSError) as error:
            print(f"run_ablation.py: error: {error}", file=sys.stderr)
            return 2
        try:
            return run(sweep, workers, concurrency, answer)
        except (StorageFault, *STORAGE_ERRORS) as error:
            if not (isinstance(error, StorageFault) or cannot_write(chain(error))):
                raise
            print(remedy(first_line(error), sweep.folder, sweep.resume_command), file=sys.stderr)
            return 3


def prepare(given: dict[str, Any], stack: contextlib.ExitStack) -> tuple[Sweep, Workers, int]:
    """Checks all that can be checked before a worker starts, cheap things first, and writes sweep.json.

    Raises:
        ValueError: the user must change something; the message says what.
    """
    sweep = resumed_sweep(given) if "resume" in given else new_sweep(given)
    chosen = sweep.flags
    for config in sweep.configs:
        if config.training.batch_size % chosen["workers"]:
            raise ValueError(
                f"training.batch_size ({config.training.batch_size}) must be divisible by --workers, "
                f"but got {chosen['workers']}. Change --workers or --set training.batch_size=..."
            )
        check_model(config.model)
        check_feature_distance(config)
    algorithms.make_sampler(chosen["search"], seed=sweep.config.seed, num_trials=sweep.num_trials)
    points = known_points(earlier.read_points(chosen["enqueue"]), sweep.config, sweep.space, sweep.when)
    algorithms.make_pruner(chosen["scheduler"], sweep.config, chosen["brackets"])
    if chosen["scheduler"] == "pbt":
        check_population(chosen, sweep.config, sweep.space, sweep.when, len(points) + len(sweep.known))
    if chosen["warm_start"]:
        earlier.open_earlier(chosen["warm_start"], sweep.objectives)
    stack.enter_context(own_folder(sweep))
    if "resume" in given:
        check_study(sweep.folder)
    for data in {config.data for config in sweep.configs}:
        check_pair(data)
    cluster.connect(chosen["address"])
    nodes = cluster.nodes()
    workers = cluster.default_workers(nodes, chosen["workers"], chosen["cpus_per_worker"], chosen["gpus_per_worker"])
    if 0 < workers.gpus < 1 and workers.count > 1:
        raise ValueError(
            f"Workers of one trial cannot share a GPU, but got --gpus-per-worker {workers.gpus:g} with "
            f"--workers {workers.count}. Use --workers 1, or whole GPUs."
        )
    check_workers(sweep.objectives, workers.gpus)
    slots = cluster.trial_slots(nodes, workers)
    if (chosen["concurrency"] or 0) > slots:
        raise ValueError(f"--concurrency must be at most {slots}, which is what fits, but got {chosen['concurrency']}.")
    write_sweep(sweep)
    return sweep, workers, chosen["concurrency"] or min(slots, sweep.num_trials * len(sweep.seeds))


def run(sweep: Sweep, workers: Workers, concurrency: int, answer: TextIO) -> int:
    """Runs what is left of the sweep and writes its results, with --json to `answer` too; returns the exit code."""
    chosen, config, is_search = sweep.flags, sweep.config, not sweep.points
    url = study_url(sweep.folder)
    # Each driver continues the random numbers elsewhere, or a resumed search would suggest again what it has tried.
    sampler = algorithms.make_sampler(
        chosen["search"], seed=config.seed + 1000 * len(sweep.runs), num_trials=sweep.num_trials
    )
    scheduler = chosen["scheduler"] if is_search else "none"
    pruner = algorithms.make_pruner(scheduler, config, chosen["brackets"])
    # The paper's tables have bases of their own.
    study, reference = open_studies(
        url, sweep.folder.name, sampler, pruner, objectives=sweep.objectives, reference=is_search
    )

    def rows(*, alive: bool = False) -> list[results.Row]:
        found = results.collect(study, reference, results=sweep.folder, seeds=sweep.seeds, alive=alive)
        return sweep.label_rows(found)

    def write_rows() -> None:
        try:
            results.write_parquet(rows(alive=True), sweep.folder / "results.parquet")
        except OSError as error:  # what matters is in the study; the next event tries again
            terminal.say_once(f"results.parquet could not be written: {error}")

    # Both take longer the more trials there are.
    written = [
        Paced(write_rows, share=0.05),
        Paced(lambda: report.attempt(sweep.folder, terminal.say_once, images=0), share=0.05, pause=30),
    ]

    def on_event(event: str, trial: search.Run) -> None:
        terminal.event(event, trial)
        if event in ("complete", "pruned", "failed"):
            note_outcome(results.trials_folder(sweep.folder) / trial.label, event, trial)
        for write in written:
            write(due=event in ("complete", "pruned", "failed", "outpaced"))

    warm_ups = WarmUps(sweep.folder.parent / "warmups", workers)

    def make_spec(label: str, params: dict[str, Any], seed: int) -> dict[str, Any]:
        config = sweep.trial_config(params, seed)
        return {
            "label": label,
            "config": json.dumps(to_dict(config)),
            "directory": str(results.trials_folder(sweep.folder) / label),
            "workers": asdict(workers),
            "warm_up": warm_ups.find(config) if chosen["warm_up"] else None,
            "compared": sweep.compared,
        }

    out = (sys.stderr if sys.stderr.isatty() else None) if chosen["json"] else sys.stdout
    terminal = open_terminal(out, sweep, rows())
    terminal.write(describe(sweep, workers, concurrency))
    population = None
    if scheduler == "pbt":
        population = Population(
            study,
            space=sweep.space,
            size=chosen["population"],
            rungs=algorithms.rungs("pbt", config),
            iterations=config.training.iterations,
            seed=config.seed,
            trials=results.trials_folder(sweep.folder),
        )
    searcher = search.StudySearcher(
        study,
        reference,
        space=sweep.space,
        known=sweep.known,
        num_trials=sweep.num_trials,
        iterations=sweep.iterations,
        make_spec=make_spec,
        on_event=on_event,
        seeds=sweep.seeds,
        side_by_side=not is_search,
        when=sweep.when,
        objectives=sweep.objectives,
        population=population,
    )
    if chosen["warm_start"]:
        old = earlier.open_earlier(chosen["warm_start"], sweep.objectives)
        fitting, complete = earlier.add_trials(study, old, sweep.space, sweep.when)
        terminal.write(f"Of {complete} complete trials of {chosen['warm_start']} {fitting} lie in the space")
    for point in known_points(earlier.read_points(chosen["enqueue"]), config, sweep.space, sweep.when):
        study.enqueue_trial(point, skip_if_exists=True)
    interruption = scheduling.Interruption(chosen["time_budget"])
    signals: list[int] = []
    with stop_gracefully(interruption, terminal, signals), terminal:
        if chosen["warm_up"]:
            warmup.provide(
                warm_ups,
                sweep,
                execute=lambda searcher: execute(searcher, interruption, concurrency, sweep.folder),
                stopped=interruption.stop_all,
                say=terminal.say,
            )
        if not interruption.stop_all():
            execute(searcher, interruption, concurrency, sweep.folder)
    if interruption.fault:
        raise StorageFault(interruption.fault)
    code = finish(sweep, rows(), signals, terminal, answer)
    if saved := warmup.summary(warm_ups, sweep.folder):
        terminal.write(saved)
    return code


def describe(sweep: Sweep, workers: Workers, concurrency: int) -> str:
    """What the sweep is going to do, and where."""
    chosen = sweep.flags
    if sweep.points:
        numbers = ", ".join(str(number) for number in chosen["table"])
        what = f"{sweep.num_trials} configs of the paper's tables {numbers} around {chosen['preset']}"
        how = ""
    else:
        what = f"{sweep.num_trials} trials of {chosen['preset']}"
        aims = f"; objectives {', '.join(sweep.objectives)}" if len(sweep.objectives) > 1 else ""
        how = f"{aims}; search {chosen['search']}, scheduler {algorithms.in_words(chosen)}"
    lengths = sorted({config.training.iterations for config in sweep.configs})
    seeds = f", seeds {', '.join(map(str, sweep.seeds))}" if len(sweep.seeds) > 1 else ""
    return (
        f"Sweep {sweep.folder.name}: {what}, {' or '.join(map(str, lengths))} iterations each{seeds}, {workers}, "
        f"{concurrency} at a time{how}\n"
        f"Results in {sweep.folder}\nTo watch: tensorboard --logdir {results.trials_folder(sweep.folder)}"
    )


if __name__ == "__main__":
    sys.exit(main())
