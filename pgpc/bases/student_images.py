"""The images that a step makes of a batch for the student: mixed (ClassMix) and masked (MIC)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pgpc.adaptation.masking import Masked, every_second, hidden_patches, mask_blocks
from pgpc.adaptation.mixing import Mixed, choose_classes, class_mix, perturb
from pgpc.adaptation.photometric import STRONG, WEAK, Photometric, change_colors
from pgpc.adaptation.pseudo_labels import PseudoLabels
from pgpc.bases.passes import image_generators
from pgpc.bases.state import TrainingState
from pgpc.data.batch import SourceImages, TargetImages
from pgpc.data.pixel_form import RGB
from pgpc.runtime import distributed
from pgpc.runtime.seeding import numpy_generator


def mix_images(state: TrainingState, source: SourceImages, target: TargetImages, pseudo: PseudoLabels) -> Mixed:
    """Return the mixed images of this process: classes of source images pasted onto target images, then perturbed.

    Args:
        state: The state, whose config, step and seed decide about every draw.
        source: Labeled images.
        target: Unlabeled images.
        pseudo: The teacher's labels of the target images.
    """
    rngs = image_generators(state, "mix", len(pseudo.labels))
    chosen = choose_classes(source.labels, state.config.model.num_classes, rngs)
    below = target.images
    if state.config.adaptation.source_colors != "unchanged":
        below = jittered(state, below, "colors below mixed classes")
    mixed = class_mix(source.images, source.labels, below, pseudo.labels, pseudo.weight, chosen)
    return mixed._replace(images=_augment(state, mixed.images, "augmentation", rngs))


def mask_images(state: TrainingState, source: SourceImages, target: TargetImages, pseudo: PseudoLabels) -> Masked:
    """Return the masked images of this process, target images or every second one a source image.

    Args:
        state: The state, whose config, step and seed decide about every draw.
        source: Labeled images, used with ``adaptation.masked_images=both`` only.
        target: Unlabeled images.
        pseudo: The teacher's labels of the target images.
    """
    adaptation = state.config.adaptation
    rngs = image_generators(state, "mask", len(pseudo.labels))
    images, labels, weight = target.images, pseudo.labels, pseudo.weight
    if adaptation.masked_images == "target":
        images = _augment(state, images, "augmentation before masking", rngs)
    else:
        # Counted over all steps, so that a batch of one image is of both domains in turn.
        first = (state.step * distributed.world_size() + distributed.rank()) * len(labels)
        images = every_second(source.images, images, first)
        labels = every_second(source.labels, labels, first)
        weight = every_second(torch.ones_like(weight), weight, first)
    if adaptation.mask_unit == "token":
        hidden = hidden_patches(state.student.grid(images), share=adaptation.mask_share, rngs=rngs)
        return Masked(images, labels, weight, hidden.to(images.device, non_blocking=True))
    images = mask_blocks(images, block=adaptation.mask_block, share=adaptation.mask_share, rngs=rngs)
    return Masked(images, labels, weight)


def source_images(state: TrainingState, images: Tensor) -> Tensor:
    """Return labeled source images as the student is shown them, with the colors that the config asks for."""
    how = {"unchanged": None, "weak": WEAK, "strong": STRONG}[state.config.adaptation.source_colors]
    return images if how is None else _recolored(state, images, how, "colors of the source")


def jittered(state: TrainingState, images: Tensor, purpose: str) -> Tensor:
    """Return all of this process's images of a domain with their colors jittered weakly, as VFM-UDA does it."""
    return _recolored(state, images, WEAK, purpose)


def _recolored(state: TrainingState, images: Tensor, how: Photometric, purpose: str) -> Tensor:
    data = state.config.data
    if data.pixels != RGB:
        return images
    return change_colors(images, how, image_generators(state, purpose, len(images)), data.normalization)


def _augment(state: TrainingState, images: Tensor, purpose: str, rngs: list[np.random.Generator]) -> Tensor:
    """Return the images with color jitter and blur, each on or off for the whole batch."""
    adaptation, data = state.config.adaptation, state.config.data
    jitter, blur = numpy_generator(state.config.seed, purpose, state.step).random(2)
    return perturb(
        images,
        jitter=adaptation.jitter_strength if data.pixels == RGB and jitter < adaptation.jitter_probability else 0.0,
        blur=blur < adaptation.blur_probability,
        rngs=rngs,
        normalization=data.normalization,
    )
