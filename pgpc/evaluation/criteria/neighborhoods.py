"""Criteria of a fixed number of pixels of each image: soft neighborhood density and the nuclear norm."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pgpc.runtime import distributed

PIXELS = 256
"""Pixels of an image that are compared with one another, all where it has fewer at the output's stride. Values of SND
are comparable only between equal numbers, for they grow with their logarithm."""

TEMPERATURE = 0.05
"""That cosine similarities are divided by; the value of SND's authors."""


def draw_positions(pixels: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the pixels of an image that stand for it, without replacement.

    Args:
        pixels: Number of pixels that the image has at the output's stride.
        rng: Generator of this image.

    Returns:
        ``(min(PIXELS, pixels),)`` int64 numbers of pixels, row by row.
    """
    return rng.choice(pixels, size=min(PIXELS, pixels), replace=False)


def neighborhood_entropies(p: Tensor) -> Tensor:
    """Return, for each pixel, the entropy in nats of its similarities to the others.

    Probabilities are scaled to length 1; a pixel's similarities are its cosines with the other pixels over
    :data:`TEMPERATURE`, and of their softmax the entropy is taken (Saito et al., "Tune it the Right Way", ICCV 2021,
    section 3.2). It is largest, log(n - 1), where all pixels have the same probabilities.

    Args:
        p: Class probabilities ``(n, C)``, n >= 2.

    Returns:
        ``(n,)``.
    """
    n = len(p)
    directions = F.normalize(p, dim=1)
    similarities = directions @ directions.T / TEMPERATURE
    # Without the diagonal: behind its first element it comes first in each of n - 1 rows of n + 1.
    others = similarities.flatten()[1:].view(n - 1, n + 1)[:, :-1].reshape(n, n - 1)
    log_q = others.log_softmax(dim=1)
    return -(log_q.exp() * log_q).sum(dim=1)


class Neighborhoods:
    """Sums over sampled pixels, in double precision: memory does not grow with the images.

    - ``snd`` is the mean of :func:`neighborhood_entropies` over the sampled pixels, each among those of its image. The
      same prediction everywhere is the maximum, log(n - 1); k classes found for sure and equally often give about
      log(n / k). That density is good news is the criterion's assumption, which collapse breaks.
    - ``bnm`` is ||P||_* / sqrt(N min(N, C)), with P the ``(N, C)`` probabilities of the sampled pixels of all images
      (Cui et al., "Towards Discriminability and Diversity: Batch Nuclear-norm Maximization", CVPR 2020): 1 where the
      network is sure and finds all classes equally often, 1 / sqrt(C) where it is sure of one class everywhere, 1 / C
      where every class is equally probable. The singular values are roots of the eigenvalues of P^T P, a C x C matrix.

    Args:
        num_classes: C.
        device: Where the sums are taken.
    """

    def __init__(self, num_classes: int, device: torch.device) -> None:
        self._sums = torch.zeros(3, dtype=torch.float64, device=device)  # entropies, their number, pixels
        self._products = torch.zeros(num_classes, num_classes, dtype=torch.float64, device=device)

    def add(self, logits: Tensor, rng: np.random.Generator) -> None:
        """Add the sampled pixels of an image.

        Args:
            logits: ``(C, h, w)``.
            rng: Generator of this image, for the pixels.
        """
        flat = logits.flatten(1)
        positions = torch.from_numpy(draw_positions(flat.shape[1], rng)).to(flat.device)
        p = flat[:, positions].softmax(dim=0).T
        if len(p) > 1:
            self._sums[0] += neighborhood_entropies(p).double().sum()
            self._sums[1] += len(p)
        self._sums[2] += len(p)
        exact = p.double()
        self._products += exact.T @ exact

    def values(self) -> dict[str, float]:
        """Return the criteria over the images of all processes, each of which must call this; none without pixels."""
        entropies, compared, pixels = distributed.all_reduce_sum(self._sums.clone()).tolist()
        products = distributed.all_reduce_sum(self._products.clone())
        found = {}
        if compared:
            found["snd"] = entropies / compared
        if pixels and torch.isfinite(products).all():  # else there are no eigenvalues
            norm = torch.linalg.eigvalsh(products).clamp(min=0).sqrt().sum().item()
            found["bnm"] = norm / (pixels * min(pixels, len(products))) ** 0.5
        return found
