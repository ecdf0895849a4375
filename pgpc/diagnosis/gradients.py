"""What each loss of a step asks of the encoder, and whether the contrast asks for what the true labels would."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pgpc.bases import TrainingState
from pgpc.bases.losses import cross_entropy
from pgpc.bases.passes import Pass
from pgpc.models.student import ForwardRequest

CONTRAST = "contrast"
"""Name of the contrast among the losses."""


def gradient_of(loss: Tensor, parameters: Sequence[nn.Parameter]) -> Tensor:
    """Return the gradient of a scalar as one vector; its graph is kept."""
    found = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    pairs = zip(found, parameters, strict=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).flatten().float() for g, p in pairs])


def encoder_gradients(state: TrainingState, passes: Sequence[Pass], log: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the encoder's gradient of each pass, called after its first loss, and that of the contrast apart.

    Args:
        state: The state, which is left as it is but for running statistics.
        passes: The student's passes, see :meth:`pgpc.bases.base.Base.passes`.
        log: The scalars that the passes add their losses to.
    """
    encoder = [p for p in state.student.segmenter.encoder.parameters() if p.requires_grad]
    gradients: dict[str, Tensor] = {}
    for pass_ in passes:
        before = set(log)
        (output,) = state.student(pass_.request)
        gradient = gradient_of(pass_.loss(output), encoder)
        added = [name.removeprefix("loss/") for name in log if name not in before and name.startswith("loss/")]
        if CONTRAST in added:
            gradients[CONTRAST] = gradient_of(state.config.contrast.weight * log[f"loss/{CONTRAST}"], encoder)
            gradient = gradient - gradients[CONTRAST]
            added.remove(CONTRAST)
        if added:
            gradients[added[0]] = gradient
    return gradients


def true_gradient(state: TrainingState, images: Tensor, truth: Tensor) -> Tensor:
    """Return the encoder's gradient of the cross-entropy on clean target images with their true labels.

    Args:
        state: The state.
        images: Normalized images ``(B, 3, H, W)``.
        truth: Train ids ``(B, H, W)``.
    """
    encoder = [p for p in state.student.segmenter.encoder.parameters() if p.requires_grad]
    (output,) = state.student(ForwardRequest(images))
    return gradient_of(cross_entropy(output.require_logits(), truth, align_corners=state.align_corners), encoder)


def share_of_contrast(norms: dict[str, float]) -> float:
    """Return in percent what the contrast's norm has of the sum of all; 0 where nothing has a gradient."""
    total = sum(norms.values())
    return 100 * norms[CONTRAST] / total if total else 0.0


def cosine(a: Tensor, b: Tensor) -> float | None:
    """Return the cosine of two vectors; None where one has no length."""
    length = a.norm() * b.norm()
    return (a @ b / length).item() if length > 0 else None
