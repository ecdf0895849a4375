"""How sure a network is of its classes, and how many of them it uses: entropy, infomax and Corr-C."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pgpc.runtime import distributed


class Certainty:
    """Sums over the pixels of all images, in double precision: memory does not grow with the images.

    With p the class probabilities of a pixel, C classes, H the entropy in nats and P the matrix of all pixels' p:

    - ``entropy`` is - mean H(p) / log C (Morerio et al., "Minimal-Entropy Correlation Alignment", ICLR 2018): -1 where
      every class is equally probable at every pixel, 0 where the network is sure, also where it always finds one class.
    - ``infomax`` is (H(mean p) - mean H(p)) / log C: 0 where all pixels get the same p, 1 where the network is sure and
      finds all classes equally often.
    - ``corrc`` is - trace(P^T P) / ||P^T P||_F (Corr-C, Tu et al., 2023): -1, the maximum, where P^T P has rank 1, as
      where all pixels get the same p; -sqrt(C) where the network is sure and finds all classes equally often.

    Args:
        num_classes: C, at least 2.
        device: Where the sums are taken.
    """

    def __init__(self, num_classes: int, device: torch.device) -> None:
        self._sums = torch.zeros(num_classes + 2, dtype=torch.float64, device=device)
        self._products = torch.zeros(num_classes, num_classes, dtype=torch.float64, device=device)

    def add(self, logits: Tensor) -> None:
        """Add the pixels of an image.

        Args:
            logits: ``(C, h, w)``.
        """
        log_p = logits.flatten(1).log_softmax(dim=0)
        p = log_p.exp()
        exact = p.double()
        entropy = -(p * log_p).sum(dim=0)
        self._sums[0] += exact.shape[1]
        self._sums[1] += entropy.double().sum()
        self._sums[2:] += exact.sum(dim=1)
        self._products += exact @ exact.T

    def values(self) -> dict[str, float]:
        """Return the criteria over the images of all processes, each of which must call this; none without pixels."""
        sums = distributed.all_reduce_sum(self._sums.clone())
        products = distributed.all_reduce_sum(self._products.clone())
        pixels = sums[0]
        if pixels == 0:
            return {}
        scale = math.log(len(products))
        mean_entropy, mean = sums[1] / pixels, sums[2:] / pixels
        entropy_of_mean = -torch.xlogy(mean, mean).sum()
        return {
            "entropy": -mean_entropy.item() / scale,
            "infomax": (entropy_of_mean - mean_entropy).item() / scale,
            "corrc": -(products.trace() / torch.linalg.matrix_norm(products)).item(),
        }
