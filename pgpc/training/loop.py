"""The training loop: batches in, steps, evaluations, checkpoints and reports out."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pgpc.bases import Base, TrainingState, make_base
from pgpc.config import Config
from pgpc.data.band_numbers import pixel_notes, with_normalization
from pgpc.data.batch import Batch
from pgpc.data.domains import open_domains
from pgpc.data.loader import evaluation_samples
from pgpc.data.on_device import on_device
from pgpc.data.run_splits import Domains, check_image_sizes, label_notes
from pgpc.evaluation.names import CRITERIA_PREFIX
from pgpc.evaluation.scores import over_classes
from pgpc.models import shortest_side
from pgpc.models.checkpoint import fetched
from pgpc.models.encoder import check_centered
from pgpc.runtime import distributed
from pgpc.runtime.checks import check
from pgpc.runtime.cpus import limit_threads
from pgpc.runtime.device import arithmetic, check_trainable
from pgpc.runtime.malloc import keep_freed_memory
from pgpc.runtime.storage import is_url
from pgpc.training import remote, trunk
from pgpc.training.averages import BANK_FILL, Progress
from pgpc.training.begin import FRESH, Begin, ForkParent, ForkTrunk, Fresh, Resume
from pgpc.training.best import Best, BestKeeper, check_best
from pgpc.training.callbacks import NO_CALLBACKS, Callbacks, OnReport
from pgpc.training.curves import COSTS
from pgpc.training.metrics import (
    bank_fill,
    check_losses,
    check_parameters,
    check_scale,
    curve_point,
    measure_criteria,
    report,
    scalars_of,
    score,
)
from pgpc.training.outputs import OutputPlace, RunOutputs, open_tracker
from pgpc.training.provenance import check_same_run, note_start
from pgpc.training.step_memory import merges_passes

log = logging.getLogger(__name__)

NUM_PICTURES = 3


@dataclass(frozen=True)
class Result:
    """What a finished run leaves behind.

    Attributes:
        metrics: The last report, as given to ``on_report``.
        out: The run's folder, or its address on S3.
        best: What is known of the network in ``best.pt``, on process 0; None where ``training.keep_best`` keeps none.
    """

    metrics: Mapping[str, float]
    out: Path | str
    best: Best | None = None


def train(
    config: Config,
    *,
    out: Path | str,
    begin: Begin = FRESH,
    callbacks: Callbacks = NO_CALLBACKS,
    until: int | None = None,
    patience: float = 0.0,
) -> Result:
    """Train one network. The same call runs in a single process, under torchrun, and in a worker of Ray Train.

    Args:
        config: What to train, and how.
        out: Folder for ``config.json`` and the TensorBoard event file, which process 0 writes; or an address on S3, to
            which they are copied after each report.
        begin: Where the run begins: ``Fresh()``, ``Resume(folder)``, ``ForkParent(folder)`` or ``ForkTrunk(folder)``.
        callbacks: What the caller wants to be told and asked.
        until: Stop after this many iterations, so that other runs can begin with ``ForkTrunk(out)``; the learning rate
            is that of the whole run. Where no evaluation falls on it, the last report has only ``iteration`` and
            ``seconds``.
        patience: Seconds to wait for another process that still writes into `out`, because it is about to end, say.

    Returns:
        The last metrics and the folder.

    Raises:
        ValueError: A base that does not exist; a batch that the processes cannot share evenly; data, a checkpoint, a
            parent or a trunk that does not fit the config; data that have changed since the run was begun; `until` is
            not before the contrast, or `out` is then on S3.
        FolderInUseError: Another process writes into `out`.
        NonFiniteLoss: A loss became infinite or NaN; nothing was saved since the last checkpoint.
    """
    url = str(out) if is_url(out) else None
    config = dataclasses.replace(config, data=with_normalization(config.data))
    base = make_base(config)
    if until is not None:
        trunk.check_until(base, until)
        check(url is None, "out must be a folder of this machine when until is given", url)
    folder = Path(out) if url is None else remote.working_folder(url)
    device = distributed.local_device()
    check_trainable(device)
    if device.type == "cpu":
        keep_freed_memory()
    limit_threads()
    with (
        distributed.process_group(device),
        arithmetic(device, exact=config.training.exact),
        remote.sole_writer(folder, url, patience) as lease,
    ):
        check_same_run(config, str(out), device)
        domains = _open_domains(base, begin)
        state = base.new_state(device, domains.source.classes)
        if merges_passes(state, base):
            state.merge_passes()
        _check_encoder(state, begin)
        progress = Progress(state.classes.names)
        _go_on(state, progress, base, begin, callbacks.on_report)
        batches = base.batches(
            domains.source,
            domains.target,
            domains.labeled,
            rank=distributed.rank(),
            world_size=distributed.world_size(),
            start_step=state.step,
            as_bytes=device.type == "cuda",
        )
        batches = on_device(batches, device, config.data.normalization)
        place = OutputPlace(folder, url, lease)
        with _open_outputs(state, base, place, domains, begin, callbacks, trains_trunk=until is not None) as outputs:
            end = config.training.iterations if until is None else until
            _run(state, base, progress, batches, domains, outputs, end)
            if outputs.tracker is not None and until is None:
                outputs.tracker.succeeded()
            best = outputs.best.best if outputs.best is not None else None
        if url is not None and distributed.rank() == 0:
            remote.copy_up(folder, url, lease, last=True)
    return Result(state.metrics, folder if url is None else url, best)


def _open_domains(base: Base, begin: Begin) -> Domains:
    """Open the splits that a run reads; warn of absent classes, and of random weights that start on real images."""
    config = base.config
    data, evaluation = config.data, config.evaluation
    domains = open_domains(
        data,
        adapts=config.adaptation.enabled,
        report_share=evaluation.report_share,
        measures=evaluation.criteria_images > 0,
    )
    check_image_sizes(domains, data, shortest_side(config.model), evaluation.scales)
    check_best(config, domains)
    if distributed.rank() == 0:
        for note in label_notes(domains, keeps_things=config.adaptation.keeps_things):
            log.warning("%s", note)
        for note in pixel_notes(data, jitters=base.changes_colors):
            log.warning("%s", note)
    if distributed.rank() == 0 and config.training.precision == "float16" and distributed.local_device().type == "cpu":
        log.warning("training.precision=float16 is for GPUs: on a CPU a step takes many times as long as in float32.")
    is_random = config.model.pretrained is None and isinstance(begin, Fresh)
    if distributed.rank() == 0 and is_random and not data.source.startswith("streets:"):
        log.warning(
            "The encoder starts from random weights, as model.pretrained=none says. Published figures need those of "
            "ImageNet: --set model.pretrained=imagenet."
        )
    return domains


def _check_encoder(state: TrainingState, begin: Begin) -> None:
    """Refuse to begin with features that lie beside their pixels; warn where a run that was begun so goes on."""
    model = state.config.model
    if model.architecture != "deeplabv2":
        return
    try:
        check_centered(state.student.segmenter.encoder, model.encoder)
    except ValueError as error:
        if begin == FRESH:
            raise
        if distributed.rank() == 0:
            log.warning("The run goes on with its encoder, with which none can be begun. %s", error)


def _go_on(state: TrainingState, progress: Progress, base: Base, begin: Begin, on_report: OnReport | None) -> None:
    """Bring the state to where the run begins, and give again what was reported up to there."""
    if isinstance(begin, Resume | ForkParent):
        with fetched(begin.folder) as folder:
            if isinstance(begin, Resume):
                state.load(folder, extends=base.extends)
            else:
                state.load(folder, adjust=True)
        note_start(state, begin)
        if state.progress is not None:
            progress.load_state_dict(state.progress, state.device)
        else:
            progress.seconds = state.metrics.get("seconds", 0.0)
        if on_report is not None and state.metrics:  # a trunk may be shorter than the first interval
            on_report(dict(state.metrics), None)
    elif isinstance(begin, ForkTrunk):
        record = trunk.fork(state, base, Path(begin.folder))
        note_start(state, begin)
        assert record.progress is not None, "a complete trunk has the means of its end"
        progress.load_state_dict(record.progress, state.device)
        for reported in record.reports:
            # Which parts of the memory bank there are depends on settings that the trunk is not about.
            kept = {name: value for name, value in reported.items() if not name.startswith(BANK_FILL)}
            state.metrics = {**kept, **bank_fill(state)}
            if on_report is not None:
                on_report(dict(state.metrics), None)
    else:
        note_start(state, begin)


@contextlib.contextmanager
def _open_outputs(
    state: TrainingState,
    base: Base,
    place: OutputPlace,
    domains: Domains,
    begin: Begin,
    callbacks: Callbacks,
    *,
    trains_trunk: bool,
) -> Iterator[RunOutputs]:
    """Open all that a run writes to; close it at the end."""
    tracker, best = None, None
    if distributed.rank() == 0:
        samples = evaluation_samples(domains.scored, state.config.data) if domains.scored is not None else iter(())
        pictured = list(itertools.islice(samples, NUM_PICTURES))
        tracker = open_tracker(state, place, begin=begin, samples=pictured, compared=callbacks.compared)
        best = BestKeeper(place.folder, place.url, begin, state)
    try:
        record = trunk.begin_record(place.folder, state, base) if trains_trunk else None
        yield RunOutputs(place=place, tracker=tracker, callbacks=callbacks, record=record, best=best)
    finally:
        if tracker is not None:
            tracker.close()


def _run(
    state: TrainingState,
    base: Base,
    progress: Progress,
    batches: Iterator[Batch],
    domains: Domains,
    outputs: RunOutputs,
    end: int,
) -> None:
    """Step until iteration `end`."""
    training = state.config.training
    while state.step < end:
        base.prepare(state, domains.source, domains.target)
        began = time.perf_counter()
        progress.add(scalars_of(state, base.step(state, next(batches))))
        report_due = state.step % training.eval_interval == 0 or state.step == training.iterations
        point_due = report_due or state.step % training.log_interval == 0
        if point_due or state.step == end:
            check_losses(progress.curve, state.step)
            check_scale(state)
        if report_due or state.step == end:
            check_parameters(state)
        progress.took(time.perf_counter() - began)

        if point_due:
            _add_curve_point(state, base, progress, outputs)
        if report_due:
            _report(state, base, progress, domains, outputs)
        elif point_due and state.step < end and _should_checkpoint(outputs):
            check_parameters(state)
            outputs.hand_over(state, {"iteration": state.step, "seconds": progress.seconds}, progress)
    outputs.end_trunk(state, progress)


def _add_curve_point(state: TrainingState, base: Base, progress: Progress, outputs: RunOutputs) -> None:
    """Add a point to the training curves, and say how the losses are."""
    point = curve_point(state, base, progress)
    if outputs.tracker is not None:
        outputs.tracker.scalars({f"train/{name}": value for name, value in point.items()}, state.step)
        losses = "  ".join(f"{k.removeprefix('loss/')} {v:.3f}" for k, v in point.items() if "loss/" in k)
        log.info(
            "iteration %d/%d  %s  %.1f images/s",
            state.step,
            state.config.training.iterations,
            losses,
            point["images_per_second"],
        )
        if outputs.callbacks.on_point is not None:
            outputs.callbacks.on_point({"iteration": state.step, **point})
    progress.end_curve_point()


def _report(state: TrainingState, base: Base, progress: Progress, domains: Domains, outputs: RunOutputs) -> None:
    """Score and measure the student, save the state, and hand the metrics over."""
    scores, criteria = score(state, domains), measure_criteria(state, domains)
    state.metrics = report(state, base, progress, {**scores, **criteria})
    progress.end_report()
    if outputs.tracker is not None:
        costs = {f"train/{name}": state.metrics[name] for name in COSTS if name in state.metrics}
        evaluated = {f"eval/{name}": value for name, value in scores.items()}
        outputs.tracker.scalars(evaluated | criteria | costs, state.step)
        if scores:
            outputs.tracker.pictures(state.student, state.teacher, state.step)
        _log_report(state, scores, criteria)
    outputs.keep_report(state)
    outputs.keep_best(state)  # before the checkpoint, with which it is copied to S3
    outputs.hand_over(state, state.metrics)


def _log_report(state: TrainingState, scores: Mapping[str, float], criteria: Mapping[str, float]) -> None:
    """Say how the student scores; without labels, what the criteria are."""
    if scores:
        found = f"mIoU {scores['mIoU']:.2f} {over_classes(scores, len(state.classes.names))}"
    else:
        found = "  ".join(f"{name.removeprefix(CRITERIA_PREFIX)} {value:.3g}" for name, value in criteria.items())
    if found:
        log.info("iteration %d/%d  %s", state.step, state.config.training.iterations, found)


def _should_checkpoint(outputs: RunOutputs) -> bool:
    ask = outputs.callbacks.should_checkpoint
    return ask is not None and ask()
