"""The network that is trained: a segmenter and, where pixels are contrasted, a projection head beside its decoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pgpc.config import Config
from pgpc.models import ProjectionHead, Segmenter, build_model


class Outputs(NamedTuple):
    """What one forward pass gives; None where it was not asked for.

    Attributes:
        features: the encoder's four maps, ``(B, C_i, h_i, w_i)`` at strides 4 to 32.
        logits: ``(B, C, h_1, w_1)``.
        projections: ``(B, D, h_1, w_1)``, L2-normalised.
    """

    features: Sequence[Tensor]
    logits: Tensor | None
    projections: Tensor | None


class Student(nn.Module):
    """Segmenter and projection head over one encoder. The teacher has the same structure.

    Args:
        config: the model, and whether and how pixels are projected.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.segmenter: Segmenter = build_model(config.model)
        self._low_precision = config.training.precision == "bfloat16"
        contrast = config.contrast
        self.projection: ProjectionHead | None = None
        if contrast.enabled:
            self.projection = ProjectionHead(self.segmenter.encoder_channels, contrast.hidden, contrast.dim)

    def autocast(self, device: torch.device) -> torch.autocast:
        """The context in which the networks compute in the config's precision."""
        return torch.autocast(device.type, torch.bfloat16, enabled=self._low_precision)

    def forward(self, images: Tensor, *, decode: bool = True, project: bool = False) -> Outputs:
        """Images ``(B, 3, H, W)`` to what is asked for: logits (`decode`), projections (`project`), or both."""
        with self.autocast(images.device):
            features = self.segmenter.encoder(images)
            logits = self.segmenter.decode(features) if decode else None
            projections = self.projection(features) if project else None
        if logits is not None and torch.is_grad_enabled() and self.projection is not None and not project:
            # Gradients are averaged over processes in the last backward pass of a step, which must therefore reach
            # every parameter; the projection head takes part with factor 0 where it is not used.
            logits = logits + 0.0 * sum(p.sum() for p in self.projection.parameters())
        return Outputs(features, logits, projections)
