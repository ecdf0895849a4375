"""Where a run begins: afresh, at its own last checkpoint, at that of another run, or at the end of a trunk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Fresh:
    """Begin at iteration 0."""


@dataclass(frozen=True)
class Resume:
    """Resume the same run, as if it had not been interrupted; its last report is given once more.

    Attributes:
        folder: Folder, or address on S3, of the run's checkpoint.
        accept_changed_data: Whether the run goes on although the contents of its data are others than before; every
            report says so from then on. Other classes are refused all the same.
    """

    folder: Path | str
    accept_changed_data: bool = False


@dataclass(frozen=True)
class ForkParent:
    """Fork another run at its checkpoint, with settings of one's own.

    The settings may differ in those that a running trial may change (:func:`pgpc.config.adjustable_keys`). Where none
    does, the run comes to what the parent comes to, bit for bit. The parent's last report is given first.

    Attributes:
        folder: Folder, or address on S3, of the parent's checkpoint.
        accept_changed_data: See :class:`Resume`.
    """

    folder: Path | str
    accept_changed_data: bool = False


@dataclass(frozen=True)
class ForkTrunk:
    """Fork a trunk at its end: the iterations that several runs have in common.

    The run comes to what it would have come to by itself, bit for bit. The trunk's reports are given first, and its
    curves are copied; see :mod:`pgpc.training.trunk`.

    Attributes:
        folder: Folder of a run that was stopped with ``train(.., until=..)``.
    """

    folder: Path | str


Begin = Fresh | Resume | ForkParent | ForkTrunk

FRESH = Fresh()
