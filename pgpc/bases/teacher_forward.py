"""What the EMA teacher says of the images of a step: pseudo-labels, reliable pixels, and features to remember."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from pgpc.adaptation.config import AdaptationConfig
from pgpc.adaptation.pseudo_labels import PseudoLabels, pseudo_labels
from pgpc.adaptation.teacher import teacher_mode
from pgpc.bases.losses import at_cells_of, upsample
from pgpc.contrast import reliable
from pgpc.contrast.config import ContrastConfig
from pgpc.data.batch import SourceImages, TargetImages
from pgpc.models.student import ForwardRequest, Student
from pgpc.runtime.precision import at_least_float32


class TargetPixels(NamedTuple):
    """What the contrast takes from the teacher's outputs of the target images, at the stride of what is projected.

    Attributes:
        hidden: ``(B, hidden, h, w)``, the projection head's hidden features, to be projected where they are read.
        logits: ``(B, C, h, w)``.
        labels: ``(B, h, w)`` pseudo-labels.
        usable: ``(B, h, w)`` bool, neither padding nor in the margins.
        reliable: ``(B, h, w)`` bool, usable and of low entropy: the candidates of Eq. 8.
    """

    hidden: Tensor
    logits: Tensor
    labels: Tensor
    usable: Tensor
    reliable: Tensor


class SourcePixels(NamedTuple):
    """What the memory bank takes from the source images, at the stride of what is projected.

    Attributes:
        hidden: ``(B, hidden, h, w)``, the projection head's hidden features.
        labels: ``(B, h, w)`` train ids.
    """

    hidden: Tensor
    labels: Tensor


class TeacherOutput(NamedTuple):
    """What the teacher gives in one step.

    Attributes:
        pseudo: Labels and weights of the target, at the size of the images.
        target: The target's part in the contrast; None while the memory bank does not fill.
        source: The source's part; None also where the memory bank takes source pixels from the student.
    """

    pseudo: PseudoLabels
    target: TargetPixels | None
    source: SourcePixels | None


@torch.no_grad()
def teacher_forward(
    teacher: Student,
    target: TargetImages,
    source: SourceImages | None,
    *,
    adaptation: AdaptationConfig,
    contrast: ContrastConfig | None,
) -> TeacherOutput:
    """Show the teacher the clean target images (Eqs. 2, 3 and 7) and, where they are given, the source images.

    Args:
        teacher: The EMA teacher; it is put into the mode of a teacher.
        target: Unlabeled images.
        source: Labeled images whose features the memory bank is to take from the teacher, or None.
        adaptation: Confidence and margins of pseudo-labels.
        contrast: How reliable pixels are selected; None while the memory bank does not fill.
    """
    teacher_mode(teacher)
    requests = [ForwardRequest(target.images, project=contrast is not None)]
    if source is not None:
        requests.append(ForwardRequest(source.images, decode=False, project=True))
    output, *others = teacher(*requests)
    size, align_corners = target.images.shape[2:], teacher.segmenter.align_corners
    scores = output.require_logits()
    logits = upsample(scores, size, align_corners)
    if adaptation.mirrored_teacher:
        (mirrored,) = teacher(ForwardRequest(target.images.flip(-1)))
        scores = logits = mean_of_mirrored(logits, upsample(mirrored.require_logits(), size, align_corners))
    pseudo = pseudo_labels(
        logits,
        target.valid,
        confidence=adaptation.confidence,
        ignore_top=adaptation.ignore_top,
        ignore_bottom=adaptation.ignore_bottom,
    )
    if contrast is None:
        return TeacherOutput(pseudo, None, None)
    sure = pseudo.usable & reliable(logits, contrast.eta, by=contrast.reliable_by, per=contrast.reliable_per)
    hidden = output.require_hidden()
    maps = (scores, pseudo.labels, pseudo.usable, sure)
    pixels = TargetPixels(hidden, *(at_cells_of(hidden, x, target.images.shape[-1]) for x in maps))
    if source is None:
        return TeacherOutput(pseudo, pixels, None)
    return TeacherOutput(pseudo, pixels, source_pixels(others[0].require_hidden(), source.labels))


def mean_of_mirrored(logits: Tensor, mirrored: Tensor) -> Tensor:
    """Return logits whose probabilities are the mean of those of images and of their mirror images (VFM-UDA).

    Args:
        logits: ``(B, C, h, w)`` of the images.
        mirrored: ``(B, C, h, w)`` of the mirror images, not yet mirrored back.
    """
    ours, theirs = (at_least_float32(x).log_softmax(dim=1) for x in (logits, mirrored.flip(-1)))
    return torch.logaddexp(ours, theirs) - math.log(2)


def source_pixels(hidden: Tensor, labels: Tensor) -> SourcePixels:
    """Return hidden features ``(B, hidden, h, w)`` with the labels ``(B, H, W)`` brought to their stride."""
    return SourcePixels(hidden, at_cells_of(hidden, labels, labels.shape[-1]))
