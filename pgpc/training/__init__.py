"""The training step, the loop around it, and the state that crosses steps."""

from pgpc.bases.state import TrainingState, read_checkpoint
from pgpc.evaluation.segmentation import Metrics, evaluate
from pgpc.training.loop import NonFiniteLoss, Result, train

__all__ = ["Metrics", "NonFiniteLoss", "Result", "TrainingState", "evaluate", "read_checkpoint", "train"]
