"""One iteration of Algorithm 1, together with the base it is built on: self-training, HRDA's detail, MIC's masks."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor

from pgpc import distributed
from pgpc.adaptation.feature_distance import feature_distance
from pgpc.adaptation.masking import Masked, every_second, mask_blocks
from pgpc.adaptation.mixing import Mixed, choose_classes, class_mix, perturb
from pgpc.adaptation.pseudo_labels import PseudoLabels
from pgpc.adaptation.teacher import update_teacher
from pgpc.data.loader import Batch
from pgpc.training.optimization import learning_rate, projection_factor, set_learning_rate
from pgpc.training.passes import at_stride_of, contrast_loss, detail_box, look, remember, segmentation_loss
from pgpc.training.seeding import numpy_generator, seed_everything, torch_generator
from pgpc.training.state import TrainingState


def train_step(state: TrainingState, batch: Batch) -> dict[str, Tensor]:
    """Advance `state` by one optimiser step (Algorithm 1; the loss is Eq. 6 plus the losses of the base).

    Each loss is back-propagated as soon as it is there, which frees its graph. Gradients add up; they are averaged over
    processes in the last backward pass only.

    Args:
        state: changed in place.
        batch: this process's share of the images.

    Returns:
        Scalars by name, detached and on the device: the losses, the pseudo-label weight, and ``anchors``, ``(C,)``.
    """
    config, adaptation, step = state.config.contrast, state.config.adaptation, state.step
    student, log = state.replica, {}
    contrasting = config.enabled and step >= config.start
    remembering = config.enabled and step >= config.start - config.fill
    mixing = adaptation.target_weight > 0 or (config.enabled and config.anchor_view == "mixed")
    masking = adaptation.masked_weight > 0
    _begin(state)

    if state.teacher is None:  # source-only: nothing but Eq. 1
        _source_loss(state, batch, log).backward()
        return _finish(state, log)

    update_teacher(state.teacher, state.student, step, adaptation.ema_decay)
    if mixing or masking:  # labelled source images: Eq. 1, and the feature distance
        with distributed.no_sync(student):
            _source_loss(state, batch, log).backward()

    view = look(state, batch, project=remembering)  # pseudo-labels and reliable pixels: Eqs. 2, 3 and 7
    log["pseudo_label_weight"] = view.pseudo.weight.amax()
    draws = torch_generator(batch.target_images.device, state.config.seed, "contrast", step)
    if remembering:  # the material of positives and negatives: Eqs. 9, 10 and 11
        remember(state, batch, view.pixels, draws)

    if contrasting and config.anchor_view == "target":  # anchors on the clean target images: Eqs. 5 and 8
        with distributed.no_sync(student):
            hidden = student(batch.target_images, decode=False, project=True).hidden
            contrast_loss(state, hidden, view.pixels, view.pixels.reliable, draws, log).backward()

    if mixing:  # ClassMix: Eq. 4
        with distributed.no_sync(student) if masking else contextlib.nullcontext():
            mixed = _mix(state, batch, view.pseudo)
            box = detail_box(state, mixed.images, "mixed")
            output = student(mixed.images, project=contrasting and config.anchor_view == "mixed", box=box)
            log["loss/target"] = segmentation_loss(state, output, mixed.labels, mixed.weight, box)
            loss = adaptation.target_weight * log["loss/target"]
            if output.hidden is not None:  # anchors on the mixed images, where these show the target
                shown = view.pixels.reliable & ~at_stride_of(output.hidden, mixed.pasted)
                loss = loss + contrast_loss(state, output.hidden, view.pixels, shown, draws, log)
            loss.backward()

    if masking:  # images with holes (MIC)
        masked = _mask(state, batch, view.pseudo)
        box = detail_box(state, masked.images, "masked")
        log["loss/masked"] = segmentation_loss(
            state, student(masked.images, box=box), masked.labels, masked.weight, box
        )
        (adaptation.masked_weight * log["loss/masked"]).backward()

    if not (mixing or masking):  # source-only with the contrast: no image of the target may reach the decoder
        _source_loss(state, batch, log).backward()

    if not contrasting and state.student.projection is not None:
        # It took part in the averaging with gradients of zero. With these the optimiser would count steps that were
        # none, and move the head several times too fast once the contrast starts; without any it leaves it alone.
        for parameter in state.student.projection.parameters():
            parameter.grad = None
    return _finish(state, log)


def _begin(state: TrainingState) -> None:
    seed_everything(state.config.seed, "dropout", state.step, distributed.rank())
    rate = learning_rate(state.step, state.config.optimizer, state.config.training.iterations)
    set_learning_rate(state.optimizer, rate, projection_factor(state.step, state.config))
    state.optimizer.zero_grad()


def _finish(state: TrainingState, log: dict[str, Tensor]) -> dict[str, Tensor]:
    state.optimizer.step()
    state.step += 1
    return {name: value.detach() for name, value in log.items()}


def _source_loss(state: TrainingState, batch: Batch, log: dict[str, Tensor]) -> Tensor:
    """Cross-entropy on the labelled images (Eq. 1), plus the feature distance where it is on."""
    box = detail_box(state, batch.source_images, "source")
    output = state.replica(batch.source_images, box=box)
    log["loss/source"] = segmentation_loss(state, output, batch.source_labels, None, box)
    if state.initial_encoder is None:
        return log["loss/source"]
    adaptation = state.config.adaptation
    with torch.no_grad(), state.student.autocast(batch.source_images.device):
        initial = state.initial_encoder(state.student.segmenter.context(batch.source_images))[-1]
    log["loss/feature_distance"] = feature_distance(
        output.features[-1], initial, batch.source_labels, things=state.classes.things,
        share=adaptation.feature_distance_share, num_classes=state.config.model.num_classes,
    )  # fmt: skip
    return log["loss/source"] + adaptation.feature_distance_weight * log["loss/feature_distance"]


def _mix(state: TrainingState, batch: Batch, pseudo: PseudoLabels) -> Mixed:
    """The mixed images of this process, drawn per image of the global batch."""
    rngs = _generators(state, "mix", len(pseudo.labels))
    chosen = choose_classes(batch.source_labels, state.config.model.num_classes, rngs)
    mixed = class_mix(
        batch.source_images, batch.source_labels, batch.target_images, pseudo.labels, pseudo.weight, chosen
    )
    return mixed._replace(images=_augment(state, mixed.images, "augmentation", rngs))


def _mask(state: TrainingState, batch: Batch, pseudo: PseudoLabels) -> Masked:
    """The masked images of this process."""
    adaptation = state.config.adaptation
    rngs = _generators(state, "mask", len(pseudo.labels))
    images, labels, weight = batch.target_images, pseudo.labels, pseudo.weight
    if adaptation.masked_images == "target":
        images = _augment(state, images, "augmentation before masking", rngs)
    else:
        # Counted over all steps, so that a batch of one image is of both domains in turn.
        first = (state.step * distributed.world_size() + distributed.rank()) * len(labels)
        images = every_second(batch.source_images, images, first)
        labels = every_second(batch.source_labels, labels, first)
        weight = every_second(torch.ones_like(weight), weight, first)
    images = mask_blocks(images, block=adaptation.mask_block, share=adaptation.mask_share, rngs=rngs)
    return Masked(images, labels, weight)


def _augment(state: TrainingState, images: Tensor, purpose: str, rngs: list) -> Tensor:
    """Colour jitter and blur, each on or off for the whole batch."""
    adaptation = state.config.adaptation
    jitter, blur = numpy_generator(state.config.seed, purpose, state.step).random(2)
    return perturb(
        images,
        jitter=adaptation.jitter_strength if jitter < adaptation.jitter_probability else 0.0,
        blur=blur < adaptation.blur_probability,
        rngs=rngs,
    )


def _generators(state: TrainingState, purpose: str, num: int) -> list:
    """One generator for each image of this process, by its number in the global batch."""
    first = distributed.rank() * num
    return [numpy_generator(state.config.seed, purpose, state.step, first + i) for i in range(num)]
