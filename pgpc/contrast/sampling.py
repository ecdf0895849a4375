"""Drawing pixels and rows of the memory bank: which become anchors, which are enqueued, which are negatives.

Candidates are given as one boolean mask per class. All shapes are fixed by the configuration, never by how many
candidates there are, so nothing here makes the host wait for the device.

With several processes each holds some of the images of the global batch. Draws are made among the candidates of *all*
processes, by generators that are equal on all of them: W processes with B/W images draw what one with B images draws.

Letters of shapes: C classes, B images of this process, P of its pixels, D numbers of a feature, N draws of each class,
S rows of the memory bank per class.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from pgpc.runtime import distributed
from pgpc.runtime.precision import at_least_float32

Projection = Callable[[Tensor], Tensor]
"""Function that makes unit vectors ``(..., D)`` of the features ``(..., F)`` of pixels."""


class Draw(NamedTuple):
    """Pixels drawn for each class from the global batch.

    Attributes:
        pixel: Index ``(C, N)`` into this process's pixels; meaningless where `mine` is False.
        mine: Mask ``(C, N)``, bool: whether this process holds the pixel.
        total: Number of candidates that the class has over all processes, ``(C,)``.
    """

    pixel: Tensor
    mine: Tensor
    total: Tensor

    def among(self, first: int, num: int) -> Draw:
        """Return the draw as it looks to one who holds `num` of this process's pixels, from number `first` on."""
        pixel = self.pixel - first
        return Draw(pixel.clamp(0, num - 1), self.mine & (pixel >= 0) & (pixel < num), self.total)


def draw_with_replacement(candidates: Tensor, num: int, generator: torch.Generator) -> Draw:
    """Draw `num` candidates per class, uniformly and independently.

    Args:
        candidates: Mask ``(C, P)``, bool, over this process's pixels.
        num: N, how many to draw per class.
        generator: Generator on the candidates' device, in the same state on all processes.
    """
    first, total = _share_of_candidates(candidates)
    u = torch.rand(candidates.shape[0], num, generator=generator, device=candidates.device)
    # Clamped, since u * total may round up to total.
    ordinal = (u * total[:, None]).long().clamp(max=(total[:, None] - 1).clamp(min=0))
    return _locate(candidates, ordinal, total[:, None].expand_as(ordinal) > 0, first, total)


def draw_quota(candidates: Tensor, quota: int, generator: torch.Generator) -> Draw:
    """Draw up to `quota` candidates per class, spread evenly over the batch: all of them where there are fewer.

    The candidates of a class, in order, are cut into `quota` stretches of equal length, and one is drawn from each.
    The result is without replacement up to neighbors at a cut, which may coincide. The first
    ``min(total, quota)`` draws of a class are the meant ones; ``mine`` is False for the rest.

    Args:
        candidates: Mask ``(C, P)``, bool, over this process's pixels.
        quota: N, the most draws per class.
        generator: Generator on the candidates' device, in the same state on all processes.
    """
    first, total = _share_of_candidates(candidates)
    j = torch.arange(quota, device=candidates.device)
    u = torch.rand(candidates.shape[0], quota, generator=generator, device=candidates.device)
    # In double precision: a float32 cannot tell neighboring ordinals of a large batch apart.
    stretch = ((j + u.double()) * (total[:, None].double() / quota)).long().clamp(max=(total[:, None] - 1).clamp(min=0))
    ordinal = torch.where(total[:, None] <= quota, j, stretch)
    return _locate(candidates, ordinal, j < total[:, None], first, total)


def take_pixels(features: Tensor, pixel: Tensor, project: Projection | None = None) -> Tensor:
    """Return the features of some pixels.

    They are read where they lie: a matrix of all pixels' rows would be a copy of everything.

    Args:
        features: Features ``(B, D, h, w)`` of this process's pixels.
        pixel: Index ``(C, N)`` into them in the order of ``labels.flatten()``, labels being ``(B, h, w)``.
        project: Function that makes of their features, ``(C, N, F)``, the unit vectors that are contrasted; None where
            `features` has these already.

    Returns:
        ``(C, N, D)``.
    """
    h, w = features.shape[2:]
    by_image = features.flatten(2).mT  # (B, h * w, D)
    rows = by_image[pixel.div(h * w, rounding_mode="floor"), pixel % (h * w)]
    return rows if project is None else project(rows)


def gather_rows(features: Tensor, draw: Draw, project: Projection | None = None) -> Tensor:
    """Bring the features of drawn pixels together from all processes, by one collective of fixed size.

    Args:
        features: Features ``(B, D, h, w)`` of this process's pixels, without gradient.
        draw: N drawn pixels per class.
        project: Function that makes the result of `features`, see :func:`take_pixels`.

    Returns:
        ``(C, N, D)``, at least float32, equal on all processes; zero where nothing was drawn.
    """
    rows = torch.where(draw.mine[..., None], at_least_float32(take_pixels(features, draw.pixel, project)), 0.0)
    return distributed.all_reduce_sum(rows)  # each row comes from one process only, so the sum is exact


def draw_other_classes(filled: Tensor, size: int, num: int, generator: torch.Generator) -> Tensor:
    """Draw rows of *other* classes, for each class (Eq. 10: source pixels whose label is not c).

    Args:
        filled: Number of rows in use of each class, ``(C,)``.
        size: S, the number of rows that the memory bank has per class.
        num: N, how many to draw for each class, with replacement, uniformly over all rows of all other classes.
        generator: Generator on `filled`'s device.

    Returns:
        Index ``(C, N)`` into the bank flattened to ``(C * S, D)``; row 0 where no other class has any.
    """
    num_classes = filled.shape[0]
    before = filled.cumsum(0) - filled
    others = filled.sum() - filled
    u = torch.rand(num_classes, num, generator=generator, device=filled.device, dtype=torch.double)
    k = (u * others[:, None]).long().clamp(max=(others[:, None] - 1).clamp(min=0))
    k = torch.where(k >= before[:, None], k + filled[:, None], k)  # step over the class's own rows
    owner = torch.searchsorted(filled.cumsum(0), k, right=True).clamp(max=num_classes - 1)
    row = owner * size + k - before[owner]
    return torch.where(others[:, None] > 0, row, 0)


def draw_other_classes_by_pixels(
    filled: Tensor, pixels: Tensor, size: int, num: int, generator: torch.Generator
) -> Tensor:
    """Draw rows of *other* classes in proportion to the pixels that those have (Eq. 10, read as it is written).

    Args:
        filled: Number of rows in use of each class, ``(C,)``.
        pixels: Number of source pixels of each class, ``(C,)``, int64; a class without rows in use is not drawn.
        size: S, the number of rows that the memory bank has per class.
        num: N, how many to draw for each class, with replacement: a pixel of the other classes, uniformly, and for it a
            row of its class, uniformly.
        generator: Generator on `filled`'s device.

    Returns:
        Index ``(C, N)`` into the bank flattened to ``(C * S, D)``; row 0 where no other class has any.
    """
    num_classes = filled.shape[0]
    pixels = torch.where(filled > 0, pixels, 0)
    before = pixels.cumsum(0) - pixels
    others = pixels.sum() - pixels
    u = torch.rand(2, num_classes, num, generator=generator, device=filled.device, dtype=torch.double)
    k = (u[0] * others[:, None]).long().clamp(max=(others[:, None] - 1).clamp(min=0))
    k = torch.where(k >= before[:, None], k + pixels[:, None], k)  # step over the class's own pixels
    owner = torch.searchsorted(pixels.cumsum(0), k, right=True).clamp(max=num_classes - 1)
    row = (u[1] * filled[owner]).long().clamp(max=(filled[owner] - 1).clamp(min=0))
    return torch.where(others[:, None] > 0, owner * size + row, 0)


def draw_own_class(filled: Tensor, size: int, num: int, generator: torch.Generator) -> Tensor:
    """Draw rows of the class itself, for each class, with replacement.

    Args:
        filled: Number of rows in use of each class, ``(C,)``.
        size: S, the number of rows that the memory bank has per class.
        num: N, how many to draw for each class.
        generator: Generator on `filled`'s device.

    Returns:
        Index ``(C, N)`` into the bank flattened to ``(C * S, D)``.
    """
    u = torch.rand(filled.shape[0], num, generator=generator, device=filled.device, dtype=torch.double)
    k = (u * filled[:, None]).long().clamp(max=(filled[:, None] - 1).clamp(min=0))
    return torch.arange(filled.shape[0], device=filled.device)[:, None] * size + k


def _share_of_candidates(candidates: Tensor) -> tuple[Tensor, Tensor]:
    """Return the ordinal of this process's first candidate and the number over all processes, ``(C,)`` each."""
    counts = distributed.all_gather(candidates.sum(dim=1))  # (W, C)
    return counts[: distributed.rank()].sum(dim=0), counts.sum(dim=0)


def _locate(candidates: Tensor, ordinal: Tensor, wanted: Tensor, first: Tensor, total: Tensor) -> Draw:
    """Find the pixels that hold the candidates with the given global ordinals."""
    local = ordinal - first[:, None]
    seen = candidates.cumsum(dim=1)  # (C, P): how many candidates up to and including each pixel
    mine = wanted & (local >= 0) & (local < seen[:, -1:])
    pixel = torch.searchsorted(seen, (local + 1).contiguous()).clamp(0, candidates.shape[1] - 1)
    return Draw(pixel, mine, total)
