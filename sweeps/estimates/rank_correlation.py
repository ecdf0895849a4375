"""Rank correlations of two lists of numbers, by Spearman and by Kendall, of all items and of resamples of groups.

Shapes: n items in g groups, b resamples. A resample says how often each group is in it, so that items that depend on
one another, such as the checkpoints of one training, are drawn together. Nothing is loaded but numpy.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

_BLOCK = 2_000_000
"""Numbers that are held at once, about: 16 MB of them."""


@dataclass(frozen=True)
class RankCorrelation:
    """Two numbers of each of n items, and the group that each item is in.

    Attributes:
        x: The first numbers (n,); no NaN.
        y: The second numbers (n,); no NaN.
        groups: Group of each item (n,), from 0 to `num_groups` - 1.
        num_groups: Number g of groups.
    """

    x: np.ndarray
    y: np.ndarray
    groups: np.ndarray
    num_groups: int

    @classmethod
    def of_items(cls, x: np.ndarray, y: np.ndarray) -> RankCorrelation:
        """Return what items are that do not depend on one another: each is a group of its own."""
        return cls(np.asarray(x, dtype=float), np.asarray(y, dtype=float), np.arange(len(x)), len(x))

    @property
    def all_once(self) -> np.ndarray:
        """The resample (1, g) that is the items themselves."""
        return np.ones((1, self.num_groups))

    def spearman(self, counts: np.ndarray) -> np.ndarray:
        """Return Spearman's correlation of each resample: Pearson's of the ranks, where equals share their mean rank.

        Args:
            counts: How often each group is in a resample, (b, g).

        Returns:
            Correlations (b,); NaN where one of the numbers does not vary.
        """
        rows = max(1, _BLOCK // max(1, len(self.x)))
        parts = [self._spearman(counts[i : i + rows]) for i in range(0, len(counts), rows)]
        return np.concatenate(parts) if parts else np.empty(0)

    def kendall(self, counts: np.ndarray) -> np.ndarray:
        """Return Kendall's correlation of each resample, tau-b, which makes allowance for ties.

        It is the excess of the pairs in the same order over those in opposite order, divided by the geometric mean of
        the numbers of pairs that are not tied in x, and in y.

        Args:
            counts: How often each group is in a resample, (b, g).

        Returns:
            Correlations (b,); NaN where one of the numbers does not vary.
        """
        excess, untied_x, untied_y = (((counts @ sums) * counts).sum(axis=1) for sums in self._sums.pairs)
        return _quotient(excess, np.sqrt(untied_x * untied_y))

    def _spearman(self, counts: np.ndarray) -> np.ndarray:
        """Return Spearman's correlation of each of a few resamples (b, g).

        The rank of an item less the mean rank is half the sum of the signs of its differences to all others.
        """
        rank_x, rank_y = counts @ self._sums.signs_x.T, counts @ self._sums.signs_y.T
        weighted = counts[:, self.groups] * rank_x
        product, square_x = (weighted * rank_y).sum(axis=1), (weighted * rank_x).sum(axis=1)
        square_y = (counts[:, self.groups] * rank_y * rank_y).sum(axis=1)
        return _quotient(product, np.sqrt(square_x * square_y))

    @functools.cached_property
    def _sums(self) -> _Sums:
        member = np.zeros((len(self.x), self.num_groups))
        member[np.arange(len(self.x)), self.groups] = 1
        pairs = tuple(np.zeros((self.num_groups, self.num_groups)) for _ in range(3))
        signs_x, signs_y = [], []
        rows = max(1, _BLOCK // max(1, len(self.x)))
        for i in range(0, len(self.x), rows):
            sign_x, sign_y = (np.sign(v[i : i + rows, None] - v[None, :]) for v in (self.x, self.y))
            signs_x.append(sign_x @ member)
            signs_y.append(sign_y @ member)
            for total, found in zip(pairs, (sign_x * sign_y, np.abs(sign_x), np.abs(sign_y)), strict=True):
                total += member[i : i + rows].T @ (found @ member)
        return _Sums(np.concatenate(signs_x), np.concatenate(signs_y), pairs)


@dataclass(frozen=True)
class _Sums:
    """Sums over items of the signs of their differences, from which those over any resample are products.

    An item and its copy in a resample are tied, as an item is with itself.

    Attributes:
        signs_x: Sum of the signs of an item's differences to the items of each group in the first number, (n, g).
        signs_y: The same in the second number.
        pairs: Over the pairs of items of each two groups, (g, g) each: of the product of both signs, of the size of the
            first and of the second.
    """

    signs_x: np.ndarray
    signs_y: np.ndarray
    pairs: tuple[np.ndarray, ...]


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Return Spearman's correlation of two lists of numbers (n,); NaN where one of them does not vary."""
    found = RankCorrelation.of_items(x, y)
    return float(found.spearman(found.all_once)[0])


def kendall(x: np.ndarray, y: np.ndarray) -> float:
    """Return Kendall's tau-b of two lists of numbers (n,); NaN where one of them does not vary."""
    found = RankCorrelation.of_items(x, y)
    return float(found.kendall(found.all_once)[0])


def _quotient(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return a / b, and NaN where b is 0."""
    found: np.ndarray = np.divide(a, b, out=np.full(len(a), np.nan), where=b > 1e-12)
    return found
