"""The loop around the training step: where a run begins, what it reports, and where its results go."""

from pgpc.training.begin import FRESH, Begin, ForkParent, ForkTrunk, Fresh, Resume
from pgpc.training.callbacks import Callbacks
from pgpc.training.loop import Result, train
from pgpc.training.metrics import NonFiniteLoss

__all__ = [
    "FRESH",
    "Begin",
    "Callbacks",
    "ForkParent",
    "ForkTrunk",
    "Fresh",
    "NonFiniteLoss",
    "Result",
    "Resume",
    "train",
]
