"""Pixels of the target counted by class: what the teacher says of them, what is selected, and what is true."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from pgpc.bases.losses import at_cells_of
from pgpc.bases.teacher_forward import TargetPixels
from pgpc.classes import IGNORE_INDEX
from pgpc.contrast import rank_negatives


class PixelCounts:
    """Counts of each class over some steps, ``(C,)`` each, double.

    Args:
        num_classes: C, the number of classes.
        ranks: The values of r whose target negatives are counted.
    """

    def __init__(self, num_classes: int, ranks: tuple[int, ...] = ()) -> None:
        self.ranks = tuple(r for r in ranks if r < num_classes)
        self.num_classes = num_classes
        self.pixels = 0
        names = ["predicted", "labeled", "judged", "right", "anchors", "anchors_judged", "anchors_right"]
        names += ["compared", "own", "other"]
        self._counts = {name: torch.zeros(num_classes, dtype=torch.double) for name in names}
        for r in self.ranks:
            for name in (f"negatives {r}", f"false negatives {r}"):
                self._counts[name] = torch.zeros(num_classes, dtype=torch.double)

    def of(self, name: str) -> Tensor:
        """Return a count by its name."""
        return self._counts[name]

    def share(self, name: str, of: str) -> list[float | None]:
        """Return one count in percent of another, None where that is 0."""
        return [100 * a / b if b else None for a, b in zip(self.of(name).tolist(), self.of(of).tolist(), strict=True)]

    def add_labels(self, labels: Tensor, truth: Tensor | None) -> None:
        """Count pseudo-labels ``(B, H, W)`` at the size of the images, and the true labels where there are some."""
        self.pixels += labels.numel()
        self._add("predicted", labels)
        if truth is not None:
            judged = truth != IGNORE_INDEX
            self._add("labeled", truth[judged])
            self._add("judged", labels[judged])
            self._add("right", labels[judged & (labels == truth)])

    def add_anchors(self, pixels: TargetPixels, features: Tensor, prototypes: Tensor, truth: Tensor | None) -> None:
        """Count the candidates for anchors, and how they lie to the prototypes.

        Args:
            pixels: What the teacher says of the target.
            features: Unit vectors ``(B, D, h, w)`` of the student.
            prototypes: Means ``(C, D)`` of the classes; of length 0 where a class has none, which is then passed over.
            truth: True labels ``(B, H, W)`` at the size of the images, or None.
        """
        labels, sure = pixels.labels, pixels.reliable
        known = prototypes.norm(dim=1) > 0
        cosines = torch.einsum("bdhw,cd->bchw", features, F.normalize(prototypes, dim=1))
        own = cosines.gather(1, labels[:, None])[:, 0]
        foreign = (F.one_hot(labels, self.num_classes).movedim(3, 1) > 0) | ~known[None, :, None, None]
        other = cosines.masked_fill(foreign, -1.0).amax(dim=1)
        self._add("anchors", labels[sure])
        compared = sure & known[labels]
        self._add("compared", labels[compared])
        self._add("own", labels[compared], own[compared])
        self._add("other", labels[compared], other[compared])
        if truth is None:
            return
        truth = at_cells_of(features, truth, truth.shape[-1])
        judged = sure & (truth != IGNORE_INDEX)
        self._add("anchors_judged", labels[judged])
        self._add("anchors_right", labels[judged & (labels == truth)])
        usable = pixels.usable & (truth != IGNORE_INDEX)
        for r in self.ranks:
            negative_of = rank_negatives(pixels.logits, r) & usable[:, None]
            self._counts[f"negatives {r}"] += negative_of.sum(dim=(0, 2, 3)).double().cpu()
            is_own = negative_of.gather(1, truth.where(usable, 0)[:, None])[:, 0]
            self._add(f"false negatives {r}", truth[is_own & usable])

    def _add(self, name: str, ids: Tensor, weights: Tensor | None = None) -> None:
        weights = None if weights is None else weights.flatten().double()
        self._counts[name] += torch.bincount(ids.flatten(), weights, minlength=self.num_classes).double().cpu()
