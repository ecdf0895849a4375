"""The network that is trained: a segmenter and, where pixels are contrasted, a projection head beside its decoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pgpc.config import Config
from pgpc.models import ProjectionHead, Segmenter, build_model
from pgpc.runtime.checks import check


class View(NamedTuple):
    """Images, and what is asked for of them.

    Attributes:
        images: ``(B, 3, H, W)`` normalized.
        decode: whether logits are asked for.
        project: whether the pixels that are to be projected are asked for.
        box: top and left of HRDA's high-resolution crop; None covers the image with overlapping crops.
    """

    images: Tensor
    decode: bool = True
    project: bool = False
    box: tuple[int, int] | None = None


class Outputs(NamedTuple):
    """What one view gives; None where it was not asked for.

    Attributes:
        features: the encoder's four maps, ``(B, C_i, h_i, w_i)``.
        logits: ``(B, C, H/4, W/4)``; of DeepLabV2 ``(B, C, H/8, W/8)``.
        detail: ``(B, C, side/4, side/4)``, the logits that HRDA's high-resolution crop gives by itself.
        hidden: ``(B, hidden, h, w)`` of the projection head, at the size of the finest map that is projected; what
            :meth:`Student.unit_vectors` makes the L2-normalized projections of.
    """

    features: Sequence[Tensor]
    logits: Tensor | None
    detail: Tensor | None
    hidden: Tensor | None


class Student(nn.Module):
    """Segmenter and projection head over one encoder. The teacher has the same structure.

    Args:
        config: the model, and whether and how pixels are projected.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.segmenter: Segmenter = build_model(config.model)
        if config.training.merge_passes:
            _check_merging(self.segmenter.encoder, config.model.encoder)
        self._merges_views = config.training.merge_passes
        self._low_precision = config.training.precision == "bfloat16"
        contrast = config.contrast
        self.projection: ProjectionHead | None = None
        if contrast.enabled:
            self.projection = ProjectionHead(self.segmenter.projected_channels, contrast.hidden, contrast.dim)

    def autocast(self, device: torch.device) -> torch.autocast:
        """The context in which the networks compute in the config's precision."""
        return torch.autocast(device.type, torch.bfloat16, enabled=self._low_precision)

    def forward(self, *views: View) -> list[Outputs]:
        """What is asked for of each view: logits, pixels to be projected, or both.

        With ``training.merge_passes`` images of one size go through the encoder as one batch. The decoder and the
        projection head see each view by itself, so that batch statistics are those of one domain.
        """
        with self.autocast(views[0].images.device):
            outputs = [self._outputs(features, view) for features, view in zip(self._encode(views), views, strict=True)]
        if self.projection is not None and torch.is_grad_enabled() and not any(view.project for view in views):
            # Gradients are averaged over processes in the last backward pass of a step, which must therefore reach
            # every parameter; the projection head takes part with factor 0 where it is not used.
            last = outputs[-1]
            outputs[-1] = last._replace(logits=last.logits + 0.0 * sum(p.sum() for p in self.projection.parameters()))
        return outputs

    def _encode(self, views: Sequence[View]) -> list[Sequence[Tensor]]:
        """The encoder's maps of each view."""
        images = [view.images for view in views]
        if not self._merges_views or len({x.shape[1:] for x in images}) > 1:
            return [self.segmenter.encode(x) for x in images]
        maps = [map_.split([len(x) for x in images]) for map_ in self.segmenter.encode(torch.cat(images))]
        return list(zip(*maps, strict=True))

    def _outputs(self, features: Sequence[Tensor], view: View) -> Outputs:
        segmenter = self.segmenter
        logits, detail = segmenter.decode(features, view.images, view.box) if view.decode else (None, None)
        hidden = self.projection.hidden(segmenter.projected(features)) if view.project else None
        return Outputs(features, logits, detail, hidden)

    def unit_vectors(self, hidden: Tensor) -> Tensor:
        """Projections of pixels: ``(..., hidden)`` to ``(..., D)`` float32, L2-normalized; needs a projection head."""
        with self.autocast(hidden.device):
            return self.projection.unit_vectors(hidden)


def _check_merging(encoder: nn.Module, name: str) -> None:
    check(
        not any(isinstance(module, _BatchNorm) for module in encoder.modules()),
        "training.merge_passes must be False for an encoder with batch norm, whose statistics are those of one domain",
        name,
        "Choose a transformer, for example 'mit_b5', or training.merge_passes=false.",
    )
