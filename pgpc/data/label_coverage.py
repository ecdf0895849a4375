"""Which classes labels show: what cannot be trained or scored on is refused, and what is absent is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pgpc.data.shards.manifest import Manifest, ShardError
from pgpc.data.shards.reader import Shards

_REMEDY = (
    "Look at what `pgpc pack` prints of the classes: pixels of other values than the description of the classes lists "
    '(255 where it has 1, say) are ignored by "ignore": "rest". Mend the description and pack again.'
)


@dataclass(frozen=True)
class Coverage:
    """The labeled pixels of one split, or of a part of it.

    Attributes:
        what: What the images are for, and where they lie, for messages.
        names: Names of the classes.
        pixels: Number of pixels of each class.
    """

    what: str
    names: Sequence[str]
    pixels: Sequence[int]

    @classmethod
    def of_shards(cls, role: str, shards: Shards) -> Coverage:
        """Count the labels of images.

        Args:
            role: What they are for.
            shards: The images.
        """
        what = f"{role} (split {shards.split!r} of {shards.folder})"
        return cls(what, shards.classes.names, np.sum(shards.class_pixels, axis=0).tolist())

    @classmethod
    def of_manifest(cls, role: str, where: object, manifest: Manifest, split: str) -> Coverage | None:
        """Return what the manifest has counted of a split; None where it has no such split, or one without labels."""
        found = manifest.splits.get(split)
        if found is None or not found.labeled:
            return None
        return cls(f"{role} (split {split!r} of {where})", manifest.classes.names, found.class_pixels)

    @property
    def absent(self) -> list[str]:
        """Names of the classes without a pixel."""
        return [name for name, pixels in zip(self.names, self.pixels, strict=True) if not pixels]

    @property
    def present(self) -> list[str]:
        """Names of the other classes."""
        return [name for name, pixels in zip(self.names, self.pixels, strict=True) if pixels]

    def check_labeled(self) -> None:
        """Raise an error if no pixel has a class.

        Raises:
            ShardError: All pixels of the labels are ignored.
        """
        if not self.present:
            raise ShardError(
                f"{self.what} must have labeled pixels, but all pixels of their labels are ignored: none is of "
                f"{_listed(self.names)}. {_REMEDY}"
            )

    def check_several(self) -> None:
        """Raise an error if fewer than two classes have pixels: there would be nothing to tell apart.

        Raises:
            ShardError: There are fewer.
        """
        self.check_labeled()
        if len(self.present) < 2:
            others = f"none of {_listed(self.absent)}" if self.absent else "there is no other class"
            raise ShardError(
                f"{self.what} must show at least two classes, or a network learns to say the same everywhere, but all "
                f"labeled pixels are of {self.present[0]!r}, and {others}. {_REMEDY} To find one class, list what is "
                "not it as a class, too, rather than ignore it."
            )


def coverage_notes(source: Coverage, scored: Coverage | None, reported: Coverage | None = None) -> list[str]:
    """Return a sentence for each thing that an absent class decides.

    Args:
        source: The images that are trained on.
        scored: Those that are scored; None where none are.
        reported: Those that are only reported; None where there are none.
    """
    notes = []
    if source.absent:
        notes.append(f"No pixel of {_listed(source.absent)} in {source.what}: no label teaches these classes.")
    for name, scores in (("mIoU", scored), ("report/mIoU", reported)):
        if scores is not None and scores.absent:
            notes.append(
                f"No pixel of {_listed(scores.absent)} in {scores.what}: {name} is the mean over the other "
                f"{len(scores.present)} of {len(scores.names)} classes, and over one of these too, as 0, as soon as it "
                "is predicted anywhere."
            )
    return notes


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names)
