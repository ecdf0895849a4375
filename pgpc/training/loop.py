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

import torch
from torch import Tensor

from pgpc import distributed
from pgpc.adaptation.proca_stages import images_per_step
from pgpc.config import Config, to_dict
from pgpc.data.domains import Domains, check_classes, open_shards
from pgpc.data.loader import Batch, evaluation_samples, training_batches
from pgpc.data.shards import Shards
from pgpc.storage import is_url
from pgpc.training import remote
from pgpc.training.evaluation import evaluate
from pgpc.training.proca import prepare, proca_step
from pgpc.training.state import TrainingState
from pgpc.training.step import train_step
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
    config: Config, *, out: Path | str, resume: Path | str | None = None, on_report: OnReport | None = None
) -> Result:
    """Train one network. The same call runs in a single process, under torchrun, and in a worker of Ray Train.

    Args:
        config: what to train, and how.
        out: folder for ``config.json`` and the TensorBoard event file, which process 0 writes; or an address on S3, to
            which they are copied after each report.
        resume: folder, or address on S3, of the checkpoint to go on from; its last report is given to `on_report` once
            more.
        on_report: called on every process after each evaluation with the metrics, equal on all processes, and, on
            process 0, with a folder that holds the checkpoint (None on the others). The folder vanishes when the
            call returns. Without a callback the checkpoint is kept in `out`.

    Returns:
        The last metrics and the folder.

    Raises:
        ValueError: a batch that the processes cannot share evenly, data or a checkpoint that does not fit the config.
        NonFiniteLoss: a loss became infinite or NaN; nothing was saved since the last checkpoint.
    """
    url = str(out) if is_url(out) else None
    out = Path(out) if url is None else remote.working_folder(url)
    device = distributed.local_device()
    with distributed.process_group(device):
        rank, world_size = distributed.rank(), distributed.world_size()
        source = open_shards(config.data.source, config.data, "train")
        target = open_shards(config.data.target, config.data, "train") if config.adaptation.enabled else None
        scored = open_shards(config.data.target, config.data, config.data.eval_split)
        check_classes(source, scored)
        if rank == 0 and not config.model.pretrained and not config.data.source.startswith("streets:"):
            log.warning(
                "The encoder starts from random weights. Published figures need those of ImageNet: "
                "--set model.pretrained=FILE."
            )
        state = TrainingState(config, device, source.classes)
        if resume is not None:
            with remote.fetched(resume) as folder:
                state.load(folder)
            if on_report is not None:
                on_report(dict(state.metrics), None)
        batches = training_batches(
            config, source, target, rank=rank, world_size=world_size, start_step=state.step
        )

        tracker = None
        if rank == 0:
            if url is not None:
                remote.clear(out)
            out.mkdir(parents=True, exist_ok=True)
            (out / "config.json").write_text(json.dumps(to_dict(config), indent=2) + "\n")
            pictured = list(itertools.islice(evaluation_samples(scored, config.data), NUM_PICTURES))
            tracker = Tracker(out, config, state.classes, step=state.step, samples=pictured)
        try:
            _run(state, batches, Domains(source, target, scored), device, tracker, out, url, on_report)
        finally:
            if tracker is not None:
                tracker.close()
        if url is not None and rank == 0:
            remote.copy_up(out, url, last=True)
    return Result(state.metrics, out if url is None else url)


def _run(
    state: TrainingState,
    batches: Iterator[Batch],
    domains: Domains,
    device: torch.device,
    tracker: Tracker | None,
    out: Path,
    url: str | None,
    on_report: OnReport | None,
) -> None:
    """Step until the config's number of iterations is reached."""
    training = state.config.training
    names = state.classes.names
    curve, since_report = Averages(names), Averages(names)
    seconds = state.metrics.get("seconds", 0.0)
    step = train_step if state.proca is None else proca_step
    while state.step < training.iterations:
        if state.proca is not None:
            prepare(state, domains.source, domains.target)
        began = time.perf_counter()
        values = step(state, next(batches).to(device))
        curve.add(values)
        since_report.add(values)
        report_due = state.step % training.eval_interval == 0 or state.step == training.iterations
        if state.step % training.log_interval == 0 or report_due:
            _check_finite(curve, state.step)
        if report_due:
            _check_parameters(state)
        elapsed = time.perf_counter() - began
        for averages in (curve, since_report):
            averages.seconds += elapsed
        seconds += elapsed

        if state.step % training.log_interval == 0 or report_due:
            point = {**curve.result(), **_gauges(state), "images_per_second": _images_per_second(curve, state)}
            if tracker is not None:
                tracker.scalars({f"train/{name}": value for name, value in point.items()}, state.step)
                losses = "  ".join(f"{k.removeprefix('loss/')} {v:.3f}" for k, v in point.items() if "loss/" in k)
                log.info(
                    "iteration %d/%d  %s  %.1f images/s", state.step, training.iterations, losses,
                    point["images_per_second"],
                )  # fmt: skip
            curve = Averages(names)

        if report_due:
            scores = _evaluate(state, domains.scored)
            state.metrics = {
                "iteration": state.step, **scores, **since_report.result(), **_gauges(state),
                "images_per_second": _images_per_second(since_report, state), "seconds": seconds,
            }  # fmt: skip
            since_report = Averages(names)
            if tracker is not None:
                tracker.scalars({f"eval/{name}": value for name, value in scores.items()}, state.step)
                tracker.pictures(state.student, state.teacher, state.step)
                log.info("iteration %d/%d  mIoU %.2f", state.step, training.iterations, scores["mIoU"])
            _report(state, out, on_report)
            if url is not None and distributed.rank() == 0:
                remote.copy_up(out, url, last=False)


class Averages:
    """Running means of a step's scalars, kept on the device so that no step waits for the host.

    Args:
        names: of the classes.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._sums: dict[str, Tensor] = {}
        self._steps: dict[str, int] = {}
        self.steps = 0
        self.seconds = 0.0

    def add(self, values: Mapping[str, Tensor]) -> None:
        """Take in the scalars of one step; ``anchors``, one number per class, becomes one scalar per class."""
        self.steps += 1
        for name, value in values.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value.clone()
            self._steps[name] = self._steps.get(name, 0) + 1

    def result(self) -> dict[str, float]:
        """The means over the steps that had the scalar, and over processes."""
        processes = distributed.world_size()
        means = {
            name: (distributed.all_reduce_sum(value / self._steps[name]) / processes).tolist()
            for name, value in self._sums.items()
        }
        anchors = means.pop("anchors", [])
        return {**means, **{f"anchors/{name}": number for name, number in zip(self._names, anchors)}}

    def first_non_finite(self) -> str | None:
        """Name of a scalar whose sum is infinite or NaN on any process, if there is one."""
        for name, value in self._sums.items():
            # A non-finite summand makes the sum non-finite, on whichever process it was.
            if not torch.isfinite(distributed.all_reduce_sum(value.double().sum())):
                return name
        return None


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
    gauges = {"learning_rate": state.optimizer.param_groups[0]["lr"]}
    if state.contrast is not None:
        size = state.config.contrast.bank_size
        for name in ("source", "target_negatives"):
            bank = getattr(state.contrast, name)
            if bank is not None:  # which memories there are depends on the config
                gauges[f"memory/{name}"] = bank.filled.float().mean().item() / size
    return gauges


def _evaluate(state: TrainingState, scored: Shards) -> dict[str, float]:
    distributed.broadcast_buffers(state.student)
    config = state.config
    samples = evaluation_samples(scored, config.data, rank=distributed.rank(), world_size=distributed.world_size())
    metrics = evaluate(
        state.student.segmenter, samples, state.classes, evaluation=config.evaluation
    )
    return metrics.as_dict()


def _report(state: TrainingState, out: Path, on_report: OnReport | None) -> None:
    """Save the state and hand the metrics over."""
    if on_report is None:
        if distributed.rank() == 0:
            state.save(out)
    elif distributed.rank() == 0:
        with tempfile.TemporaryDirectory(prefix="pgpc-checkpoint-") as folder:
            state.save(Path(folder))
            on_report(dict(state.metrics), Path(folder))
    else:
        on_report(dict(state.metrics), None)
