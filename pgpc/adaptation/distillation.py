"""Features held near those of a larger frozen encoder, behind a small head (Englert et al., VFM-UDA++, ICCVW 2025).

Its paper calls this a feature distance for vision foundation models; unlike DAFormer's it is to another network than
the one that training starts from, takes in all pixels, and images of both domains.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pgpc.models.vit.pyramid import ChannelNorm
from pgpc.runtime.precision import at_least_float32

_SMOOTH_L1, _COSINE = 0.1, 0.9  # shares of the two distances


class DistillationHead(nn.Module):
    """What makes a student's features comparable with those of another encoder.

    Args:
        width: Channels of the student's features.
        wanted: Channels of the other encoder's.
    """

    def __init__(self, width: int, wanted: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, 4 * width, kernel_size=1),
            ChannelNorm(4 * width),
            nn.GELU(),
            nn.Conv2d(4 * width, wanted, kernel_size=1),
        )

    def forward(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        """Map features ``(B, width, h, w)`` to ``(B, wanted, *size)``."""
        return F.interpolate(self.layers(features), size=size, mode="bilinear", align_corners=False)


class Distillation(nn.Module):
    """The head, which learns, and the frozen encoder, which follows from the config and is no part of checkpoints.

    Args:
        encoder: A network that maps images to a list with one map.
        width: Channels of the student's features.
        wanted: Channels of the encoder's map.
        side: Side of the square that the encoder sees images as, in pixels.
    """

    def __init__(self, encoder: nn.Module, *, width: int, wanted: int, side: int) -> None:
        super().__init__()
        self.head = DistillationHead(width, wanted)
        self.frozen = encoder.requires_grad_(False).eval()
        self._side = side
        self.register_state_dict_post_hook(_drop_frozen)
        self.register_load_state_dict_pre_hook(_add_frozen)

    def train(self, mode: bool = True) -> Distillation:
        """Set the mode of the head; the frozen encoder stays in evaluation mode."""
        super().train(mode)
        self.frozen.eval()
        return self

    def wanted(self, images: Tensor) -> Tensor:
        """Return the frozen encoder's map of normalized images ``(B, 3, H, W)``, without gradient."""
        with torch.no_grad():
            square = F.interpolate(images, size=(self._side, self._side), mode="bilinear", align_corners=False)
            found: Tensor = self.frozen(square)[0]
        return found

    def loss(self, features: Tensor, wanted: Tensor) -> Tensor:
        """Return the distance of a student's features ``(B, width, h, w)`` from those of :meth:`wanted`, a scalar."""
        return feature_loss(self.head(features, (wanted.shape[2], wanted.shape[3])), wanted)


def feature_loss(features: Tensor, wanted: Tensor) -> Tensor:
    """Return 0.1 times the smooth L1 distance plus 0.9 times (1 - cosine), averaged over cells.

    Args:
        features: ``(B, D, h, w)``.
        wanted: ``(B, D, h, w)``.
    """
    ours, theirs = at_least_float32(features), at_least_float32(wanted)
    distance = F.smooth_l1_loss(ours, theirs, reduction="none").mean(dim=1)
    return (_SMOOTH_L1 * distance + _COSINE * (1 - F.cosine_similarity(ours, theirs, dim=1))).mean()


def _drop_frozen(module: nn.Module, entries: dict[str, Tensor], prefix: str, *_: object) -> None:
    for name in [name for name in entries if name.startswith(f"{prefix}frozen.")]:
        del entries[name]


def _add_frozen(module: Distillation, entries: dict[str, Tensor], prefix: str, *_: object) -> None:
    entries |= {f"{prefix}frozen.{name}": value for name, value in module.frozen.state_dict().items()}
