"""The numbers of a run: points of its curves and reports, and the checks that they are finite."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor

from pgpc.bases.base import Base
from pgpc.bases.state import TrainingState
from pgpc.data.loader import evaluation_samples
from pgpc.data.run_splits import Domains
from pgpc.data.shards.reader import Shards
from pgpc.evaluation.criteria.measure import measure
from pgpc.evaluation.criteria.target import Networks
from pgpc.evaluation.names import CRITERIA_PREFIX, REPORT_PREFIX
from pgpc.evaluation.scores import Metrics
from pgpc.evaluation.scoring import evaluate
from pgpc.runtime import distributed
from pgpc.training.averages import BANK_FILL, Averages, Progress

_LEAST_SCALE = 1.0
"""Least factor on losses in float16: of 65,536 that it begins with sixteen skipped steps in a row leave so much."""

SKIPPED = "skipped_steps"
"""Name of the share of steps that were skipped, in float16."""


class NonFiniteLoss(RuntimeError):
    """A loss became infinite or NaN. The last checkpoint is from before."""


def curve_point(state: TrainingState, base: Base, progress: Progress) -> dict[str, float]:
    """Return a point of the training curves: means since the last one, and what is read off the state.

    Args:
        state: The state after the step.
        base: What tells how many images a step takes.
        progress: The run's means; every process must call this.
    """
    averages = progress.curve
    return {
        **averages.result(),
        **gauges(state),
        "images_per_second": _images_per_second(averages, state, base),
    }


def report(state: TrainingState, base: Base, progress: Progress, scores: dict[str, float]) -> dict[str, float]:
    """Return the metrics of a report: what was measured, means since the last report, what is read off the state.

    Args:
        state: The state after the step.
        base: What tells how many images a step takes.
        progress: The run's means; every process must call this.
        scores: What the evaluation has given, criteria included; empty where nothing is evaluated.
    """
    averages = progress.since_report
    return {
        "iteration": state.step,
        **scores,
        **averages.result(),
        **gauges(state),
        "images_per_second": _images_per_second(averages, state, base),
        "seconds": progress.seconds,
        **_gpu_memory(state),
        **_data_changes(state),
    }


def score(state: TrainingState, domains: Domains) -> dict[str, float]:
    """Return the scores of the student on labeled images; every process must call this.

    Args:
        state: The state, whose student is scored.
        domains: The run's images. Those that are only reported give ``report/mIoU`` and the like; without labeled
            images there is no score at all.
    """
    if domains.scored is None:
        return {}
    distributed.broadcast_buffers(state.student)
    with torch.no_grad(), state.student.in_precision(state.device):
        scores = _evaluate(state, domains.scored).as_dict()
        if domains.reported is not None:
            means = _evaluate(state, domains.reported).means
            scores |= {f"{REPORT_PREFIX}{name}": value for name, value in means.items()}
    return scores


def measure_criteria(state: TrainingState, domains: Domains) -> dict[str, float]:
    """Return the criteria of the student by their names in a report; every process must call this.

    They leave no trace in the state: a run that is measured learns the same, bit for bit, as one that is not.

    Args:
        state: The state, whose student is measured, and compared with its teacher where it has one.
        domains: The run's images.
    """
    config, teacher = state.config, state.teacher
    networks = Networks(state.student.segmenter, None if teacher is None else teacher.segmenter)
    with torch.no_grad(), contextlib.ExitStack() as stack:
        for network in (state.student, teacher):
            if network is not None:
                stack.enter_context(network.in_precision(state.device))
        found = measure(
            networks,
            target=domains.measured,
            held_out=domains.held_out,
            data=config.data,
            classes=state.classes,
            evaluation=config.evaluation,
        )
    return {f"{CRITERIA_PREFIX}{name}": value for name, value in found.items()}


def _evaluate(state: TrainingState, scored: Shards) -> Metrics:
    config = state.config
    samples = evaluation_samples(scored, config.data, rank=distributed.rank(), world_size=distributed.world_size())
    return evaluate(state.student.segmenter, samples, state.classes, evaluation=config.evaluation)


def check_losses(averages: Averages, step: int) -> None:
    """Refuse to go on after a loss that is not finite.

    Args:
        averages: Means of the last iterations; every process must call this.
        step: Iterations done.

    Raises:
        NonFiniteLoss: A scalar was infinite or NaN on any process.
    """
    name = averages.first_non_finite()
    if name is not None:
        first = step - averages.steps + 1
        where = f"iteration {step}" if first == step else f"iterations {first} to {step}"
        raise NonFiniteLoss(
            f"{name} became infinite or NaN in {where}. "
            "Lower optimizer.lr or the weight of that loss; the last checkpoint is from before."
        )


def check_scale(state: TrainingState) -> None:
    """Refuse to go on where gradients of float16 overflow however small the losses are made.

    Raises:
        NonFiniteLoss: Each of many steps was skipped, until losses were scaled down.
    """
    if state.scaler.is_enabled() and state.scaler.get_scale() < _LEAST_SCALE:
        raise NonFiniteLoss(
            f"The gradients of the steps before iteration {state.step} were infinite or NaN in float16 on every scale. "
            "Lower optimizer.lr, or set training.precision=float32; the last checkpoint is from before."
        )


def check_parameters(state: TrainingState) -> None:
    """Refuse weights and memories that are not finite: what the last step did to them shows in no loss yet.

    Activations that overflow in float16 spoil running statistics, which evaluation alone reads, and the memory bank for
    good, although the step itself is skipped.

    Raises:
        NonFiniteLoss: A weight of the student, a running statistic or a vector in the memory bank is infinite or NaN.
    """
    networks = [state.student] if state.teacher is None else [state.student, state.teacher]
    checked: dict[str, list[Tensor]] = {
        "The network's weights": [*state.student.parameters()],
        "Running statistics": [buffer for network in networks for buffer in network.buffers()],
        "The memory bank's vectors": [] if state.contrast is None else [*state.contrast.buffers()],
    }
    finite = torch.stack([_all_finite(tensors, state.device) for tensors in checked.values()]).tolist()
    for what, fine in zip(checked, finite, strict=True):
        if not fine:
            half = ", or set training.precision=float32" if state.scaler.is_enabled() else ""
            raise NonFiniteLoss(
                f"{what} became infinite or NaN before iteration {state.step}. "
                f"Lower optimizer.lr{half}; the last checkpoint is from before."
            )


@torch.no_grad()
def _all_finite(tensors: list[Tensor], device: torch.device) -> Tensor:
    """Return whether all numbers are finite, a bool on the device: one operator for all tensors of a type."""
    by_type: dict[torch.dtype, list[Tensor]] = {}
    for x in tensors:
        if x.is_floating_point() and x.numel():
            by_type.setdefault(x.dtype, []).append(x)
    # The largest number in size: infinite or NaN where any number is, and no sum that could overflow.
    largest = [torch.stack(torch._foreach_norm(group, float("inf"))).isfinite().all() for group in by_type.values()]
    return torch.stack([torch.ones((), dtype=torch.bool, device=device), *largest]).all()


def scalars_of(state: TrainingState, values: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return what curves and reports take in of the step that was done.

    Of a step that was skipped for an overflow in float16 that is not its losses, which may have overflown too: nothing
    was learned from them, and the run has not diverged.

    Args:
        state: The state after the step.
        values: The step's scalars.
    """
    if not state.scaler.is_enabled():
        return values
    return {**({} if state.skipped else values), SKIPPED: torch.tensor(float(state.skipped), device=state.device)}


def gauges(state: TrainingState) -> dict[str, float]:
    """Return what is read off the state itself: the learning rate, and how full the memory bank is."""
    return {"learning_rate": state.optimizer.param_groups[0]["lr"], **bank_fill(state)}


def bank_fill(state: TrainingState) -> dict[str, float]:
    """Return how full each part of the memory bank is, the mean over classes in [0, 1]."""
    if state.contrast is None:
        return {}
    size = state.config.contrast.bank_size
    # Which parts there are depends on the config.
    banks = {"source": state.contrast.source, "target_negatives": state.contrast.target_negatives}
    return {
        f"{BANK_FILL}{name}": bank.filled.float().mean().item() / size
        for name, bank in banks.items()
        if bank is not None
    }


def _data_changes(state: TrainingState) -> dict[str, float]:
    """Return how often the run has gone on with other data than before, which was accepted; nothing for never."""
    number = sum(bool(start.changed) for start in state.starts)
    return {"data_changes": float(number)} if number else {}


def _images_per_second(averages: Averages, state: TrainingState, base: Base) -> float:
    """Return the source and target images that the training steps of all processes took in, per second."""
    images = sum(base.images_per_step(state.step - 1)) + base.labeled_per_step()
    return images * averages.steps / max(averages.seconds, 1e-9)


def _gpu_memory(state: TrainingState) -> dict[str, float]:
    """Return, on a GPU, the most memory in GiB that tensors of one process have occupied, earlier reports included."""
    if state.device.type != "cuda":
        return {}
    peak = torch.tensor(torch.cuda.max_memory_allocated(state.device) / 2**30, device=state.device)
    return {"gpu_memory": max(distributed.all_gather(peak).max().item(), state.metrics.get("gpu_memory", 0.0))}
