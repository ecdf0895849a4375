"""Calibration: whether of the pixels that a network is 80 % sure of, 80 % are right."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from pgpc.runtime import distributed

NUM_BINS = 15
"""Bins of confidence, of equal width, as in Guo et al."""


class Calibration:
    """Pixels counted by the network's confidence, the probability of the class that it finds.

    Bin m of M holds the n_m pixels whose confidence lies in ((m - 1) / M, m / M]; acc_m is the share of them that are
    right, and conf_m their mean confidence. The expected calibration error is

        ECE = sum over m of n_m / n * |acc_m - conf_m|

    (Naeini et al., "Obtaining Well Calibrated Probabilities Using Bayesian Binning", AAAI 2015; with 15 bins Guo et
    al., "On Calibration of Modern Neural Networks", ICML 2017). 0 is best. All labeled pixels of all images are one
    set, so that memory does not grow with their number, and processes add up their counts. A network that is bad and
    knows it has a small error, too: it stands beside the scores and not for them.

    Args:
        device: Where the counts are kept: that of the network, or the CPU, as for a Mac's GPU, which has no double
            precision.
        num_bins: M, at least 1.
    """

    def __init__(self, device: torch.device | str = "cpu", num_bins: int = NUM_BINS) -> None:
        self._pixels = torch.zeros(num_bins, dtype=torch.long, device=device)
        self._right = torch.zeros(num_bins, dtype=torch.long, device=device)
        self._confidence = torch.zeros(num_bins, dtype=torch.float64, device=device)

    def add(self, confidence: Tensor, right: Tensor) -> None:
        """Count pixels.

        Args:
            confidence: The probability of the class that was found, of every pixel, ``(N,)`` in (0, 1].
            right: Whether that is the pixel's label, ``(N,)`` bool.
        """
        num_bins, device = len(self._pixels), self._pixels.device
        confidence, right = confidence.to(device).double(), right.to(device)
        bins = ((confidence * num_bins).ceil().long() - 1).clamp(0, num_bins - 1)
        self._pixels += torch.bincount(bins, minlength=num_bins)
        self._right += torch.bincount(bins[right], minlength=num_bins)
        self._confidence += torch.bincount(bins, weights=confidence, minlength=num_bins)

    def gather(self) -> None:
        """Add up what all processes have counted; each must call this once, when all is counted."""
        for counts in (self._pixels, self._right, self._confidence):
            counts.copy_(distributed.all_reduce_sum(counts))

    @property
    def pixels(self) -> np.ndarray:
        """Number of pixels of each bin, ``(M,)`` int64."""
        return self._pixels.cpu().numpy()

    @property
    def accuracy(self) -> np.ndarray:
        """Share of a bin's pixels that are right, ``(M,)`` in [0, 1]; NaN where there are none."""
        return _share(self._right.cpu().numpy(), self.pixels)

    @property
    def confidence(self) -> np.ndarray:
        """Mean confidence of a bin's pixels, ``(M,)`` in (0, 1]; NaN where there are none."""
        return _share(self._confidence.cpu().numpy(), self.pixels)

    @property
    def ece(self) -> float:
        """The expected calibration error in percent; NaN if no pixel was counted."""
        filled = self.pixels > 0
        gaps = np.abs(self.accuracy - self.confidence)[filled]
        return float(100 * _share(np.sum(self.pixels[filled] * gaps), self.pixels.sum()))

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON, in percent: ECE, mean confidence, accuracy, and each bin; None for no value."""
        total, percent = self.pixels.sum(), _percent
        edges = np.linspace(0, 1, len(self.pixels) + 1)
        bins = zip(edges[:-1], edges[1:], self.pixels, self.confidence, self.accuracy, strict=True)
        return {
            "ECE": percent(self.ece / 100),
            "mean_confidence": percent(_share(self._confidence.cpu().numpy().sum(), total)),
            "accuracy": percent(_share(self._right.cpu().numpy().sum(), total)),
            "bins": [
                {
                    "above": percent(low),
                    "to": percent(high),
                    "pixels": int(pixels),
                    "confidence": percent(confidence),
                    "accuracy": percent(accuracy),
                }
                for low, high, pixels, confidence, accuracy in bins
            ],
        }


def _share(part: np.ndarray | np.generic, whole: np.ndarray | np.generic) -> np.ndarray:
    return np.asarray(np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole) > 0))


def _percent(share: float | np.ndarray) -> float | None:
    return None if np.isnan(share) else 100 * float(share)
