"""The training loop: batches in, steps, evaluations, checkpoints and reports out."""

from __future__ import annotations

import itertools
import json
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pgpc.bases.proca.stages import images_per_step
from pgpc.bases.proca.step import prepare, proca_step
from pgpc.bases.self_training import train_step
from pgpc.bases.state import TrainingState
from pgpc.config import Config, to_dict
from pgpc.data.domains import Domains, check_classes, open_shards
from pgpc.data.loader import Batch, evaluation_samples, training_batches
from pgpc.data.shards.reader import Shards
from pgpc.evaluation.segmentation import evaluate
from pgpc.runtime import distributed
from pgpc.runtime.checks import check
from pgpc.runtime.malloc import keep_freed_memory
from pgpc.runtime.storage import is_url
from pgpc.training import remote
from pgpc.training import trunk as warm_ups
from pgpc.training.averages import Averages, Progress
from pgpc.training.tracking import Tracker

log = logging.getLogger(__name__)

NUM_PICTURES = 3

OnReport = Callable[[dict[str, float], "Path | None"], None]


class NonFiniteLoss(RuntimeError):
    """A loss became infinite or NaN. The last checkpoint is from before."""


@dataclass(frozen=True)
class Result:
    """What a finished run leaves behind.

    Attributes:
        metrics: the last report, as given to ``on_report``.
        out: the run's folder, or its address on S3.
    """

    metrics: Mapping[str, float]
    out: Path | str


def train(
    config: Config,
    *,
    out: Path | str,
    resume: Path | str | None = None,
    parent: Path | str | None = None,
    warm_up: Path | str | None = None,
    until: int | None = None,
    compared: Sequence[str] | None = None,
    on_report: OnReport | None = None,
    save_now: Callable[[], bool] | None = None,
) -> Result:
    """Train one network. The same call runs in a single process, under torchrun, and in a worker of Ray Train.

    Args:
        config: what to train, and how.
        out: folder for ``config.json`` and the TensorBoard event file, which process 0 writes; or an address on S3, to
            which they are copied after each report.
        resume: folder, or address on S3, of the checkpoint to go on from; its last report is given to `on_report` once
            more.
        parent: folder, or address on S3, of the checkpoint of another run: this one goes on from there, with its own
            settings of the contrast, of which those of :data:`pgpc.bases.state.ADJUSTABLE` may differ. Where none
            does, it comes to what the parent comes to, bit for bit. The parent's last report is given to `on_report`
            first. Ignored when resuming.
        warm_up: folder of a run that was stopped with `until`: this one goes on from there, and comes to what it would
            have come to by itself, bit for bit. That run's reports are given to `on_report` first, its curves are
            copied. Ignored when resuming, and where there is a parent.
        until: stop after this many iterations, so that other runs can take `out` as their `warm_up`; the learning rate
            is that of the whole run. Where no evaluation falls on it, the last call of `on_report` has only
            ``iteration`` and ``seconds``.
        compared: dotted keys of `config` that TensorBoard shows as the run's hyperparameters, under the last part of
            their names; None for all keys that bear on the result.
        on_report: called on every process after each evaluation with the metrics, equal on all processes, and, on
            process 0, with a folder that holds the checkpoint (None on the others). The folder vanishes when the
            call returns. Without a callback the checkpoint is kept in `out`.
        save_now: whether to write a checkpoint between two evaluations, because the machine is about to be taken away,
            say. Called on every process every ``training.log_interval`` iterations, and the answer must be the same on
            all. `on_report` then has only ``iteration`` and ``seconds``. A run that goes on from there comes to the
            reports of one that was not interrupted.

    Returns:
        The last metrics and the folder.

    Raises:
        ValueError: a batch that the processes cannot share evenly; data, a checkpoint, a parent or a warm-up that does
            not fit the config; `until` is not before the contrast, or `out` is then on S3.
        NonFiniteLoss: a loss became infinite or NaN; nothing was saved since the last checkpoint.
    """
    url = str(out) if is_url(out) else None
    if until is not None:
        warm_ups.check_until(config, until)
        check(url is None, "out must be a folder of this machine when until is given", url)
    out = Path(out) if url is None else remote.working_folder(url)
    device = distributed.local_device()
    if device.type == "cpu":
        keep_freed_memory()
    with distributed.process_group(device):
        rank, world_size = distributed.rank(), distributed.world_size()
        source = open_shards(config.data.source, config.data, "train")
        target = open_shards(config.data.target, config.data, "train") if config.adaptation.enabled else None
        scored = None
        if config.data.eval_split is not None:
            scored = open_shards(config.data.target, config.data, config.data.eval_split)
            check_classes(source, scored)
        if rank == 0 and not config.model.pretrained and not config.data.source.startswith("streets:"):
            log.warning(
                "The encoder starts from random weights. Published figures need those of ImageNet: "
                "--set model.pretrained=FILE."
            )
        state = TrainingState(config, device, source.classes)
        progress = Progress(state.classes.names)
        start = parent if resume is None else resume
        if start is not None:
            with remote.fetched(start) as folder:
                state.load(folder, adjust=resume is None)
            if state.progress is not None:
                progress.load_state_dict(state.progress, device)
            else:
                progress.seconds = state.metrics.get("seconds", 0.0)
            if on_report is not None and state.metrics:  # a warm-up may be shorter than the first interval
                on_report(dict(state.metrics), None)
        elif warm_up is not None:
            _fork(state, progress, Path(warm_up), device, on_report)
        batches = training_batches(config, source, target, rank=rank, world_size=world_size, start_step=state.step)

        tracker = None
        if rank == 0:
            if url is not None:
                remote.clear(out)
            out.mkdir(parents=True, exist_ok=True)
            (out / "config.json").write_text(json.dumps(to_dict(config), indent=2) + "\n")
            samples = evaluation_samples(scored, config.data) if scored is not None else []
            pictured = list(itertools.islice(samples, NUM_PICTURES))
            forked = warm_up is not None and start is None
            # What an earlier try to fork has copied is dropped, too.
            first = -1 if forked else state.step
            tracker = Tracker(out, config, state.classes, step=first, samples=pictured, compared=compared)
            if forked:
                tracker.copy_curves(Path(warm_up))
        record = warm_ups.begin_record(out, state, device) if until is not None else None
        places = _Places(out, url, tracker, on_report, save_now, record)
        end = config.training.iterations if until is None else until
        try:
            _run(state, progress, batches, Domains(source, target, scored), device, places, end)
            if tracker is not None and until is None:
                tracker.succeeded()
        finally:
            if tracker is not None:
                tracker.close()
        if url is not None and rank == 0:
            remote.copy_up(out, url, last=True)
    return Result(state.metrics, out if url is None else url)


def _fork(
    state: TrainingState, progress: Progress, folder: Path, device: torch.device, on_report: OnReport | None
) -> None:
    """Go on from a warm-up, and report what it reported."""
    record = warm_ups.fork(state, folder, device)
    progress.load_state_dict(record.progress, device)
    for report in record.reports:
        # Which memories there are depends on settings that the warm-up is not about.
        kept = {name: value for name, value in report.items() if not name.startswith("memory/")}
        state.metrics = {**kept, **_memory(state)}
        if on_report is not None:
            on_report(dict(state.metrics), None)


@dataclass(frozen=True)
class _Places:
    """Where a run's results go.

    Attributes:
        out: the folder.
        url: the address on S3 that it is copied to, or None.
        tracker: process 0's, None on the others.
        on_report: of the caller, or None.
        save_now: of the caller, or None.
        record: of a warm-up, or None.
    """

    out: Path
    url: str | None
    tracker: Tracker | None
    on_report: OnReport | None
    save_now: Callable[[], bool] | None
    record: warm_ups.Record | None


def _run(
    state: TrainingState,
    progress: Progress,
    batches: Iterator[Batch],
    domains: Domains,
    device: torch.device,
    places: _Places,
    end: int,
) -> None:
    """Step until iteration `end`."""
    training, tracker = state.config.training, places.tracker
    step = train_step if state.proca is None else proca_step
    while state.step < end:
        if state.proca is not None:
            prepare(state, domains.source, domains.target)
        began = time.perf_counter()
        progress.add(step(state, next(batches).to(device)))
        report_due = state.step % training.eval_interval == 0 or state.step == training.iterations
        point_due = report_due or state.step % training.log_interval == 0
        if point_due or state.step == end:
            _check_finite(progress.curve, state.step)
        if report_due or state.step == end:
            _check_parameters(state)
        progress.took(time.perf_counter() - began)

        if point_due:
            point = {
                **progress.curve.result(),
                **_gauges(state),
                "images_per_second": _images_per_second(progress.curve, state),
            }
            if tracker is not None:
                tracker.scalars({f"train/{name}": value for name, value in point.items()}, state.step)
                losses = "  ".join(f"{k.removeprefix('loss/')} {v:.3f}" for k, v in point.items() if "loss/" in k)
                log.info(
                    "iteration %d/%d  %s  %.1f images/s",
                    state.step,
                    training.iterations,
                    losses,
                    point["images_per_second"],
                )
            progress.end_curve_point()

        if report_due:
            scores = _evaluate(state, domains.scored) if domains.scored is not None else {}
            averages = progress.since_report
            state.metrics = {
                "iteration": state.step,
                **scores,
                **averages.result(),
                **_gauges(state),
                "images_per_second": _images_per_second(averages, state),
                "seconds": progress.seconds,
                **_gpu_memory(state, device),
            }
            progress.end_report()
            if tracker is not None:
                tracker.scalars({f"eval/{name}": value for name, value in scores.items()}, state.step)
                if scores:
                    tracker.pictures(state.student, state.teacher, state.step)
                    log.info("iteration %d/%d  mIoU %.2f", state.step, training.iterations, scores["mIoU"])
            if places.record is not None:
                places.record.reports.append(state.metrics)
                _write_record(places)
            _report(state, state.metrics, places)
        elif point_due and state.step < end and places.save_now is not None and places.save_now():
            now = {"iteration": state.step, "seconds": progress.seconds}
            _report(state, now, places, progress.state_dict())
    if places.record is not None:
        _complete(state, progress, places)


def _complete(state: TrainingState, progress: Progress, places: _Places) -> None:
    """End a warm-up: all that a run needs which goes on from here."""
    record = places.record
    if record.progress is None:  # else this run was resumed at its end
        record.iterations, record.progress = state.step, progress.state_dict()
        _write_record(places)
    if state.metrics.get("iteration") != state.step:
        _report(state, {"iteration": state.step, "seconds": record.seconds}, places)


def _write_record(places: _Places) -> None:
    if distributed.rank() == 0:
        places.record.write(places.out)


def _check_finite(averages: Averages, step: int) -> None:
    name = averages.first_non_finite()
    if name is not None:
        raise NonFiniteLoss(
            f"{name} became infinite or NaN in the {averages.steps} iterations before {step}. "
            "Lower optimizer.lr or the weight of that loss; the last checkpoint is from before."
        )


def _check_parameters(state: TrainingState) -> None:
    """What the last step did to the network shows in no loss yet, and must not reach a checkpoint."""
    if not all(torch.isfinite(p).all() for p in state.student.parameters()):
        raise NonFiniteLoss(
            f"The network's weights became infinite or NaN before iteration {state.step}. "
            "Lower optimizer.lr; the last checkpoint is from before."
        )


def _images_per_second(averages: Averages, state: TrainingState) -> float:
    """Source and target images that the training steps of all processes took in, per second."""
    images = sum(images_per_step(state.step - 1, state.config))
    return images * averages.steps / max(averages.seconds, 1e-9)


def _gauges(state: TrainingState) -> dict[str, float]:
    """What is read off the state itself: learning rate and how full the memory is."""
    return {"learning_rate": state.optimizer.param_groups[0]["lr"], **_memory(state)}


def _memory(state: TrainingState) -> dict[str, float]:
    """How full the memory is, mean over classes, in [0, 1]."""
    if state.contrast is None:
        return {}
    size, filled = state.config.contrast.bank_size, {}
    for name in ("source", "target_negatives"):
        bank = getattr(state.contrast, name)
        if bank is not None:  # which memories there are depends on the config
            filled[f"memory/{name}"] = bank.filled.float().mean().item() / size
    return filled


def _gpu_memory(state: TrainingState, device: torch.device) -> dict[str, float]:
    """On a GPU the most memory, in GiB, that tensors of one process have occupied so far; earlier reports count."""
    if device.type != "cuda":
        return {}
    peak = torch.tensor(torch.cuda.max_memory_allocated(device) / 2**30, device=device)
    return {"gpu_memory": max(distributed.all_gather(peak).max().item(), state.metrics.get("gpu_memory", 0.0))}


def _evaluate(state: TrainingState, scored: Shards) -> dict[str, float]:
    distributed.broadcast_buffers(state.student)
    config = state.config
    samples = evaluation_samples(scored, config.data, rank=distributed.rank(), world_size=distributed.world_size())
    metrics = evaluate(state.student.segmenter, samples, state.classes, evaluation=config.evaluation)
    return metrics.as_dict()


def _report(
    state: TrainingState, metrics: Mapping[str, float], places: _Places, progress: dict[str, Any] | None = None
) -> None:
    """Save the state, the curves up to it, and hand the metrics over."""
    if places.tracker is not None:
        places.tracker.flush()
    if places.on_report is None:
        if distributed.rank() == 0:
            state.save(places.out, progress)
    elif distributed.rank() == 0:
        with tempfile.TemporaryDirectory(prefix="pgpc-checkpoint-") as folder:
            state.save(Path(folder), progress)
            places.on_report(dict(metrics), Path(folder))
    else:
        places.on_report(dict(metrics), None)
    if places.url is not None and distributed.rank() == 0:
        remote.copy_up(places.out, places.url, last=False)
