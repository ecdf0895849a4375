"""The network that is trained: a segmenter and, where pixels are contrasted, a projection head beside its decoder."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pgpc.models import build_model
from pgpc.models.batch_norm import frozen_statistics
from pgpc.models.config import ModelConfig
from pgpc.models.encoder import mit_stages
from pgpc.models.finetuning import freeze, frozen_names, leave_out, merge_lora, pretrained_part
from pgpc.models.low_precision import Slot, cast_weights, show_in_type_of_weights, weight_slots, weights_in
from pgpc.models.projection import ProjectionHead
from pgpc.models.segmenter import Segmenter
from pgpc.models.token_masks import TokenMask
from pgpc.models.vit.plain import PlainEncoder, require_plain
from pgpc.runtime.checks import check

_LOW_PRECISIONS = {"bfloat16": torch.bfloat16, "float16": torch.float16}


class ForwardRequest(NamedTuple):
    """Images, and what is asked for of them.

    Attributes:
        images: ``(B, bands, H, W)``, normalized.
        decode: Whether logits are asked for.
        project: Whether the projection head's hidden features are asked for.
        box: Top and left of HRDA's high-resolution crop in pixels; None covers the image with overlapping crops.
        detached: Whether the gradient of the hidden features stops at the projection head.
        frozen_statistics: Whether the encoder's batch norms keep their running statistics as they are; not where passes
            are merged, for which an encoder has no batch norm.
        hidden: ``(B, h, w)`` bool, the patches that the mask token stands in for; h and w as :meth:`Student.grid` has
            them. None hides none.
    """

    images: Tensor
    decode: bool = True
    project: bool = False
    box: tuple[int, int] | None = None
    detached: bool = False
    frozen_statistics: bool = False
    hidden: Tensor | None = None


class Outputs(NamedTuple):
    """What one request gives; None where it was not asked for.

    Attributes:
        features: The encoder's four maps, ``(B, C_i, h_i, w_i)``.
        logits: ``(B, C, H/4, W/4)``; of DeepLabV2 ``(B, C, H/8, W/8)``.
        detail: ``(B, C, side/4, side/4)``, the logits that HRDA's high-resolution crop gives by itself.
        hidden: ``(B, hidden, h, w)`` of the projection head, at the size of the finest map that is projected;
            :meth:`Student.unit_vectors` makes L2-normalized projections of it.
    """

    features: Sequence[Tensor]
    logits: Tensor | None
    detail: Tensor | None
    hidden: Tensor | None

    def require_logits(self) -> Tensor:
        """Return the logits of a request that asked for them."""
        assert self.logits is not None, "the request did not ask for logits"
        return self.logits

    def require_hidden(self) -> Tensor:
        """Return the hidden features of a request that asked for them."""
        assert self.hidden is not None, "the request did not ask for the projection head"
        return self.hidden


class Student(nn.Module):
    """Segmenter and projection head over one encoder. The teacher has the same structure.

    Args:
        model: The segmenter.
        projection: Width of the projection head's hidden layer and length of its unit vectors; None has no head.
        project_last: Only the map of the encoder's last block is projected, not all.
        merge_passes: Images of one size go through the encoder as one batch; can be changed later.
        precision: Type of the activations, "float32", "bfloat16" or "float16".
        classes: Names of the classes, see :func:`pgpc.models.build.build_model`.
        bands: Bands of the images.
        masks_tokens: Whether patches can be hidden from it, which takes a plain vision transformer and HRDA's two
            scales not.

    Raises:
        ValueError: Patches are to be hidden from another encoder; or see :func:`pgpc.models.build.build_model`.
    """

    def __init__(
        self,
        model: ModelConfig,
        *,
        projection: tuple[int, int] | None = None,
        project_last: bool = False,
        merge_passes: bool = False,
        precision: str = "float32",
        classes: Sequence[str] | None = None,
        bands: int = 3,
        masks_tokens: bool = False,
    ) -> None:
        super().__init__()
        self.segmenter: Segmenter = build_model(model, classes, bands=bands)
        freeze(self.segmenter.encoder, model)
        self.frozen_entries = {f"segmenter.encoder.{name}" for name in frozen_names(self.segmenter.encoder, model)}
        """Names of the entries of the state that are never trained."""
        self._keeps_encoder = model.finetuning == "frozen"
        if model.leaves_out:
            leave_out(self, self.frozen_entries)
        if merge_passes:
            _check_merging(self.segmenter.encoder, model.encoder)
        self.merges_passes = merge_passes
        self._low_precision = _LOW_PRECISIONS.get(precision)
        self._projects_last = project_last
        self.projection: ProjectionHead | None = None
        self.mask_token: nn.Parameter | None = None
        if masks_tokens:
            # Zero, as in the public code where the encoder is timm's; it learns at the encoder's rate.
            self.mask_token = nn.Parameter(torch.zeros(require_plain(self.segmenter.encoder, model.encoder).width))
            self.mask_token.requires_grad_(not self._keeps_encoder)
        if projection is not None:
            self.projection = ProjectionHead(self._projected_channels, *projection)
        # Elsewhere some layer may need another type than its input's, or weights when only autocast knows: timm's
        # encoders, and blocks that are computed again in the backward pass.
        self._casts_weights = (
            precision == "bfloat16" and not model.checkpointing and bool(mit_stages(self.segmenter.encoder))
        )
        self._slots: list[Slot] | None = None
        if self._casts_weights:
            show_in_type_of_weights(self.segmenter.encoder)

    def in_precision(self, device: torch.device) -> contextlib.AbstractContextManager[object]:
        """Return the context in which the network, or parts of it, compute in the configured precision.

        MiT and the decoders on it compute in bfloat16 throughout, see :mod:`pgpc.models.low_precision`; all else, and
        float16, under torch.autocast.

        Args:
            device: Where the network lives.
        """
        if self._low_precision is None:
            return contextlib.nullcontext()
        if not self._casts_weights:
            return torch.autocast(device.type, self._low_precision)
        if self._slots is None:
            self._slots = weight_slots(self)
        return weights_in(self._low_precision, self._slots)

    def fixed_in_precision(self, encoder: nn.Module) -> nn.Module:
        """Return a copy of the encoder that is not trained, with its weights in the configured precision for good.

        Args:
            encoder: The copy; it is changed.
        """
        if self._casts_weights:
            assert self._low_precision is not None, "weights are cast to something"
            cast_weights(encoder, self._low_precision)
        return encoder

    def autocast(self, device: torch.device) -> torch.autocast:
        """Return the context of networks that :meth:`fixed_in_precision` gave, and of a few layers by themselves."""
        enabled = self._low_precision is not None and not self._casts_weights
        return torch.autocast(device.type, self._low_precision or torch.bfloat16, enabled=enabled)

    def train(self, mode: bool = True) -> Student:
        """Set the mode; an encoder that is frozen stays in evaluation mode, without stochastic depth."""
        super().train(mode)
        if self._keeps_encoder:
            pretrained_part(self.segmenter.encoder).eval()
        return self

    def merge(self) -> Student:
        """Merge low-rank matrices beside layers into these, for a network that is not trained any more."""
        merge_lora(self.segmenter)
        return self

    def forward(self, *requests: ForwardRequest) -> list[Outputs]:
        """Compute what is asked for of each request: logits, hidden features of the projection head, or both.

        Where passes are merged, images of one size go through the encoder as one batch. The decoder and the projection
        head see each request by itself, so that batch statistics are those of one domain.
        """
        with self.in_precision(requests[0].images.device):
            outputs = [
                self._outputs(features, request)
                for features, request in zip(self._encode(requests), requests, strict=True)
            ]
        uses_head = any(request.project for request in requests)
        if self.projection is not None and torch.is_grad_enabled() and not uses_head and requests[-1].decode:
            # Gradients are averaged over processes in the last backward pass of a step, which must therefore reach
            # every parameter; the projection head takes part with factor 0 where it is not used.
            last = outputs[-1]
            nothing = 0.0 * torch.stack([p.sum() for p in self.projection.parameters()]).sum()
            outputs[-1] = last._replace(logits=last.require_logits() + nothing)
        return outputs

    def _encode(self, requests: Sequence[ForwardRequest]) -> list[Sequence[Tensor]]:
        """Return the encoder's maps of each request."""
        images = [request.images for request in requests]
        if not self.merges_passes or len({x.shape[1:] for x in images}) > 1:
            return [self._encode_alone(request) for request in requests]
        mask = self._mask(requests)
        maps = [map_.split([len(x) for x in images]) for map_ in self.segmenter.encode(torch.cat(images), mask)]
        return list(zip(*maps, strict=True))

    def _mask(self, requests: Sequence[ForwardRequest]) -> TokenMask | None:
        """Return which patches of the images of all requests are hidden; None where none is."""
        if all(request.hidden is None for request in requests):
            return None
        assert self.mask_token is not None, "the network has no mask token"
        hidden = [
            torch.zeros((len(r.images), *self.grid(r.images)), dtype=torch.bool, device=r.images.device)
            if r.hidden is None
            else r.hidden
            for r in requests
        ]
        return TokenMask(torch.cat(hidden), self.mask_token)

    def grid(self, images: Tensor) -> tuple[int, int]:
        """Return the rows and columns of patches of images ``(B, bands, H, W)`` that can be hidden."""
        encoder = self.segmenter.encoder
        assert isinstance(encoder, PlainEncoder), "only a plain vision transformer has patches to be hidden"
        return encoder.grid(images.shape[2:])

    def _encode_alone(self, request: ForwardRequest) -> Sequence[Tensor]:
        if not request.frozen_statistics:
            return self.segmenter.encode(request.images, self._mask([request]))
        with frozen_statistics(self.segmenter.encoder):
            return self.segmenter.encode(request.images)

    def _outputs(self, features: Sequence[Tensor], request: ForwardRequest) -> Outputs:
        segmenter = self.segmenter
        logits, detail = segmenter.decode(features, request.images, request.box) if request.decode else (None, None)
        hidden = None
        if request.project:
            projected = self._projected(features)
            projected = [map_.detach() for map_ in projected] if request.detached else projected
            hidden = self.require_projection().hidden(projected)
        return Outputs(features, logits, detail, hidden)

    @property
    def _projected_channels(self) -> Sequence[int]:
        segmenter = self.segmenter
        return (
            (segmenter.encoder_channels[segmenter.last_block],) if self._projects_last else segmenter.projected_channels
        )

    def _projected(self, features: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return, of an encoder's maps, those that the projection head reads."""
        segmenter = self.segmenter
        return (features[segmenter.last_block],) if self._projects_last else segmenter.projected(features)

    def hidden_of(self, features: Sequence[Tensor]) -> Tensor:
        """Return what the projection head makes of an encoder's maps, ``(B, hidden, h, w)``."""
        with self._projection_in_precision(features[0].device):
            return self.require_projection().hidden(self._projected(features))

    def unit_vectors(self, hidden: Tensor) -> Tensor:
        """Return projections of pixels: ``(..., hidden)`` to ``(..., D)`` float32, L2-normalized."""
        with self._projection_in_precision(hidden.device):
            return self.require_projection().unit_vectors(hidden)

    def _projection_in_precision(self, device: torch.device) -> contextlib.AbstractContextManager[object]:
        """Return the context in which the projection head by itself computes in the configured precision."""
        if self._casts_weights and self._low_precision is not None:
            return weights_in(self._low_precision, weight_slots(self.require_projection()))
        return self.autocast(device)

    def require_projection(self) -> ProjectionHead:
        """Return the projection head of a network that has one."""
        assert self.projection is not None, "the network has no projection head"
        return self.projection


def has_batch_norm(encoder: nn.Module) -> bool:
    """Return whether an encoder has batch norm, whose statistics depend on what is shown at a time."""
    return any(isinstance(module, _BatchNorm) for module in encoder.modules())


def _check_merging(encoder: nn.Module, name: str) -> None:
    check(
        not has_batch_norm(encoder),
        "training.merge_passes must be False for an encoder with batch norm, whose statistics are those of one domain",
        name,
        "Choose a transformer, for example 'mit_b5', or training.merge_passes=false.",
    )
