"""What comes before a sweep is run: all checks that need no worker, cheap ones first, and a description of it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pgpc.bases import make_base
from pgpc.bases.checkpoint_size import checkpoint_bytes
from pgpc.bases.state import check_feature_distance
from pgpc.data.band_numbers import pixel_notes, with_normalization
from pgpc.data.domains import check_pair
from pgpc.data.run_splits import check_image_sizes, label_notes
from pgpc.data.target_labels import without_labeled
from pgpc.evaluation.names import CRITERIA_PREFIX
from pgpc.models import check_model, shortest_side, weights_file
from pgpc.models.timm_names import needs_timm
from pgpc.runtime.checks import all_at_once, check, noted
from pgpc.runtime.device import VARIABLE
from sweeps.common.names import METRIC, REFERENCE_LABEL
from sweeps.common.private_optuna import reopen_failed
from sweeps.common.surroundings import Surroundings
from sweeps.common.words import count, listed
from sweeps.comparability import look_around
from sweeps.definition.confirmation import confirmation_of
from sweeps.definition.folder import is_running, own_folder
from sweeps.definition.objectives import check_workers
from sweeps.definition.options import SweepOptions
from sweeps.definition.planning import found_sweep, new_sweep, resumed_sweep
from sweeps.definition.selection import DEFAULT_SELECTION
from sweeps.definition.space import complete_params
from sweeps.definition.sweep import Sweep
from sweeps.execution import resources, trunk
from sweeps.execution.capacity.disk import DiskNeed, describe_need
from sweeps.execution.capacity.workers import concurrency, default_workers, trial_slots
from sweeps.execution.joining.shared_folder import check_shared, local_places
from sweeps.execution.joining.weights import fetch_everywhere
from sweeps.execution.slots.fork_server import ADDRESS, ForkServer
from sweeps.results.outcome import Results
from sweeps.search import replicates, schedulers
from sweeps.search.population import check_population
from sweeps.search.samplers import check_sampler
from sweeps.search.study import LOCK_PATIENCE, begun_points, check_study, reference_file, study_file, study_names
from sweeps.search.suggestions import points
from sweeps.search.trial_spec import Workers
from sweeps.search.warm_start import check_warm_start, open_earlier, read_params
from sweeps.streams.stream import check_package, make_tracker
from sweeps.streams.tracker import Tracker

_MANY = 6  # rungs that are too many to be listed
_SIZED = 12  # configs, of tables with many rows, whose checkpoints are computed


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A sweep that has been checked and can be run.

    Attributes:
        sweep: The sweep; its sweep.json is written.
        workers: The workers of every run.
        concurrency: The number of runs at the same time.
        points: Parameters of the trials that are to be begun next, which need no search.
        notes: Sentences on what is done otherwise than it was asked for, or than before.
        surroundings: What the runs depend on beside their configs.
        tracker: The client of the tracking server that the sweep is logged to; None for a sweep that is not.
        disk: What the checkpoints will take of the disk, and what is free; "" where that is not known.
    """

    sweep: Sweep
    workers: Workers
    concurrency: int
    points: list[dict[str, Any]]
    notes: list[str] = dataclasses.field(default_factory=list)
    surroundings: Surroundings = dataclasses.field(default_factory=Surroundings)
    tracker: Tracker | None = None
    disk: str = ""


def prepare(given: Mapping[str, Any], stack: contextlib.ExitStack, *, is_own_process: bool) -> Setup:
    """Check all that can be checked before a worker starts, cheap things first, and write sweep.json.

    Args:
        given: The options that the user has given, by the names of the fields of `SweepOptions`.
        stack: Holds the lock on the sweep's folder, and the process that trainings are forked from, until the sweep is
            over.
        is_own_process: Whether this process does nothing else, and has done nothing before, such as compute with torch.

    Raises:
        ValueError: The user must change something; the message says what.
        OSError: A file cannot be read.
    """
    sweep = _described_sweep(given)
    options = sweep.options
    check_package(options.log_to)
    server = None
    encoders_of_timm = any(needs_timm(model.encoder) for config in sweep.configs for model in config.networks)
    if options.cluster is None and is_own_process:  # now, before anything is computed here
        as_fork = ForkServer(as_fork=True, encoders_of_timm=encoders_of_timm)
        server = stack.enter_context(contextlib.closing(as_fork))
    with all_at_once():
        _check_configs(sweep)
        with noted():
            _check_scheduler(sweep)
        notes: list[str] = []
        with noted():
            notes = check_data(sweep)
    enqueued = complete_params(read_params(options.enqueue), sweep.config, sweep.space, sweep.when)
    if options.population is not None:
        num_enqueued = len(enqueued) + len(sweep.known)
        check_population(options, sweep.config, sweep.space, sweep.when, num_enqueued)
    if options.warm_start:
        check_warm_start(sweep.selection)
        open_earlier(options.warm_start, sweep.objectives)
    stack.enter_context(own_folder(sweep.folder))
    if sweep.file.is_file():  # else it is new; a confirmation is, too, though it resumes another sweep
        check_study(sweep.folder, sweep.origin)
    models = list({model for config in sweep.configs for model in config.networks})
    for model in models:
        weights_file(model)  # fetched here where need be, so that it is known to be there before anything starts
    tracker = make_tracker(sweep)
    if options.cluster is None and server is None:
        server = stack.enter_context(contextlib.closing(ForkServer(encoders_of_timm=encoders_of_timm)))
    resources.connect(options.cluster, {ADDRESS: server.address} if server else {})
    check_shared(sweep.folder, local_places(sweep.configs))
    fetch_everywhere(models)
    nodes = resources.nodes()
    batch_sizes = [config.training.batch_size // config.training.accumulate for config in sweep.configs]
    workers = default_workers(
        nodes, options.workers, options.cpus_per_worker, options.gpus_per_worker, batch_sizes=batch_sizes
    )
    check_workers(sweep.objectives, workers.gpus)
    _check_device(os.environ.get(VARIABLE, ""), workers)
    slots, runs = trial_slots(nodes, workers), sweep.num_trials * len(sweep.seeds)
    num_runs, memory_note = concurrency(options.concurrency, slots, runs, resources.head_memory())
    surroundings = look_around(sweep, workers)
    workers = dataclasses.replace(workers, threads=surroundings.threads)
    sweep = dataclasses.replace(sweep, options=dataclasses.replace(options, workers=workers.count))
    disk = _disk(sweep, num_runs)
    notes += _reopen(sweep) if given.get("resume") is not None else []
    begun, exhaustive = begun_points(sweep.folder), sweep.is_search and options.search == "grid"
    agenda = points.plan(begun, sweep.known, enqueued, sweep.num_trials, exhaustive=exhaustive)
    if sweep.is_search:
        sweep = dataclasses.replace(sweep, options=dataclasses.replace(sweep.options, trials=agenda.num_trials))
    sweep.save(surroundings)
    return Setup(
        sweep=sweep,
        workers=workers,
        concurrency=num_runs,
        points=agenda.points,
        notes=[*sweep.notes, *surroundings.changes, *notes, *agenda.notes, *[memory_note] * bool(memory_note)],
        surroundings=surroundings,
        tracker=tracker,
        disk=disk,
    )


def check_data(sweep: Sweep) -> list[str]:
    """Check the data of all runs of a sweep; return a sentence for each thing that a class without labels decides."""
    settings = {(config.data, config.evaluation, shortest_side(config.model)) for config in sweep.configs}
    on_target = {name.removeprefix(CRITERIA_PREFIX) for name in sweep.selection.metrics} - {METRIC, "source_mIoU"}
    keeps_things = any(config.adaptation.keeps_things for config in sweep.configs)
    notes: dict[str, None] = {}
    for data, evaluation, least in settings:
        domains = check_pair(data, evaluation.report_share)
        assert domains.target is not None, "a pair has both domains"
        unlabeled = domains.target if domains.labeled is None else without_labeled(domains.target, domains.labeled)
        check(
            unlabeled is not None or not on_target,
            "--select-by must not name criteria on the target where data.target_labels has labels of all images of its "
            "train split, since criteria are about images whose labels nobody knows",
            sweep.selection.text,
            f"Choose by {METRIC}, or have fewer labels.",
        )
        measured = unlabeled if evaluation.criteria_images else None
        check_image_sizes(domains._replace(measured=measured), data, least, evaluation.scales)
        notes |= dict.fromkeys(label_notes(domains, keeps_things=keeps_things))
        notes |= dict.fromkeys(pixel_notes(with_normalization(data), jitters=True))
    return list(notes)


def _check_device(wanted: str, workers: Workers) -> None:
    """Refuse a device of the environment that is not the workers' own, by which they talk and are compared.

    Raises:
        ValueError: It is another one.
    """
    own = "cuda" if workers.gpus else "cpu"
    check(
        wanted in ("", own),
        f"{VARIABLE} must be unset in a sweep or name what its workers have ({own})",
        wanted,
        "Unset it; --gpus-per-worker 0 trains on CPUs.",
    )


def _disk(sweep: Sweep, num_runs: int) -> str:
    """Return what the checkpoints of a sweep will take of the disk, and what is free; "" where that is not known.

    Raises:
        ValueError: Not even one run can be trained.
    """
    try:
        size = max(checkpoint_bytes(config) for config in sweep.configs[:_SIZED])
    except RuntimeError:  # a network of timm that cannot be made without memory
        return ""
    return describe_need(DiskNeed.of(sweep, size, num_runs), sweep)


def _check_scheduler(sweep: Sweep) -> None:
    """Check what the scheduler of a search is to do with its trials."""
    options, first = sweep.options, sweep.options.first_rung
    schedulers.make_pruner(options, sweep.config, sweep.selection)
    early = first is not None and first <= sweep.config.contrast.start
    if early and trunk.refusal(sweep.config, list(sweep.space)) is None:
        raise ValueError(
            f"--first-rung must be more than {sweep.config.contrast.start}, contrast.start, because the trials of this "
            f"search are alike until then, but got {first}. Give more, or change contrast.start with --set."
        )
    if options.retry_failed and options.population is not None:
        raise ValueError(
            "--retry-failed trains failed trials again, but with --scheduler pbt others have taken their places. Leave "
            "it out."
        )


def _reopen(sweep: Sweep) -> list[str]:
    """Have a failed base trained again, and the failed trials if that is asked for; return what to say about it."""
    name, reference = study_names(sweep.folder)
    wanted = {"base": (reference_file(sweep.folder), reference)} if sweep.is_search else {}
    wanted |= {"trials": (study_file(sweep.folder), name)} if sweep.options.retry_failed else {}
    found = {
        what: reopen_failed(*study, replicates.is_of_failure, patience=LOCK_PATIENCE) for what, study in wanted.items()
    }
    labels = [*["base"] * bool(found.get("base")), *(f"{number:04d}" for number in found.get("trials", ()))]
    return [f"Failed before, and trained again: {listed(labels)}."] if labels else []


def _described_sweep(given: Mapping[str, Any]) -> Sweep:
    """Return the sweep that the options describe, or the one that they resume."""
    if given.get("resume") is not None:
        return _confirmation(given) if given.get("confirm") is not None else resumed_sweep(given)
    options = schedulers.settle_scheduler(SweepOptions.from_given(given))
    check_sampler(options)
    return new_sweep(options)


def _confirmation(given: Mapping[str, Any]) -> Sweep:
    """Return the confirmation of the sweep that the options name, a new one or one that was begun."""
    sweep = found_sweep(given)
    if sweep.confirms:
        return resumed_sweep(given)
    if is_running(sweep.folder):
        raise ValueError(f"--confirm must name a sweep that has ended, but {sweep.folder.name!r} runs. Wait for it.")
    trials = [trial for trial in Results.read(sweep.folder).trials if trial.is_ranked and trial.score is not None]
    trials.sort(key=lambda trial: -(trial.score or 0.0))
    return confirmation_of(sweep, {trial.label: trial.params for trial in trials}, given)


def _check_configs(sweep: Sweep) -> None:
    """Check that every config of the sweep can be trained by its workers."""
    for config in sweep.configs:
        size, parts = config.training.batch_size, config.training.accumulate
        check(
            size % ((sweep.options.workers or 1) * parts) == 0,
            f"training.batch_size ({size}) must be divisible by --workers"
            f"{f' times training.accumulate ({parts})' if parts > 1 else ''}",
            sweep.options.workers,
            "Change --workers or --set training.batch_size=...",
        )
        check(
            config.training.keep_best is None,
            "training.keep_best must be none in a sweep, which keeps the checkpoints of its best trials by itself",
            config.training.keep_best,
            "Set training.keep_best=none.",
        )
        with noted():
            make_base(config)
        with noted():
            check_feature_distance(config)
    for model, bands, masks in {(c.model, c.data.bands, c.adaptation.masks_tokens) for c in sweep.configs}:
        with noted():
            check_model(model, bands=bands, masks_tokens=masks)
    check_sampler(sweep.options)


def describe(setup: Setup) -> str:
    """Return what the sweep is going to do, and where, in a few lines."""
    sweep, options = setup.sweep, setup.sweep.options
    if sweep.is_search:
        what = f"a search of {count(sweep.num_trials, 'trial')} around {options.start}"
        how = f"\nHow: search {options.search}, scheduler {schedulers.in_words(options)}{_places(sweep)}"
        if len(sweep.objectives) > 1:
            how += f", objectives {listed(sweep.objectives)}"
    elif sweep.confirms:
        best = listed([label for label in sweep.confirms if label != REFERENCE_LABEL])
        what, how = f"the confirmation of {sweep.report_folder.name}, its base and its best trials {best} anew", ""
    else:
        numbers = [str(number) for number in options.table or ()]
        of = f"the paper's tables {listed(numbers)}" if numbers else "what adaptation adds on encoders"
        what = f"the {count(sweep.num_trials, 'config')} of {of} around {options.start}"
        how = ""
    lengths = " or ".join(str(n) for n in sorted({config.training.iterations for config in sweep.configs}))
    seeds = f", with each of the seeds {listed([str(s) for s in sweep.seeds])}" if len(sweep.seeds) > 1 else ""
    disk = f"Disk: {setup.disk}\n" if setup.disk else ""
    stream = f"\nLogged to {setup.tracker.name}: {setup.tracker.place}" if setup.tracker else ""
    return (
        f"Sweep {sweep.folder.name}: {what}, {lengths} iterations each{seeds}{how}\n"
        f"On: {setup.workers} per run, {count(setup.concurrency, 'run')} at a time\n"
        f"Chosen by: {_chosen_by(sweep)}\n"
        f"Results in {sweep.folder}\n{disk}To watch: {sweep.watch_command}{stream}"
    )


def _chosen_by(sweep: Sweep) -> str:
    """Return what the trials of a sweep are chosen by, and what that means."""
    selection = sweep.selection
    trained = "; those that data.target_labels names are trained on" * sweep.trains_on_target_labels
    if selection.needs_labels:
        return (
            f"{selection.text}, which takes labels of the target: as the paper and the field do, and optimistic. "
            f"--select-by names criteria without{trained}"
        )
    default = ", the default where the target has no labels" if selection.text == DEFAULT_SELECTION else ""
    return f"{selection.text}{default}; no label of the target is used{' in the choice' if trained else ''}{trained}"


def _places(sweep: Sweep) -> str:
    """Return at which iterations the scheduler of a search compares trials."""
    rungs = [str(rung) for rung in schedulers.rungs(sweep.options, sweep.config)]
    if rungs:
        return f" at {listed(rungs if len(rungs) < _MANY else [rungs[0], '..', rungs[-1]])}"
    if schedulers.find_scheduler(sweep.options.scheduler).options:
        return " (which stops no trial: there is no evaluation between contrast.start and the end)"
    return ""
