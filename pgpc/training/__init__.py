"""The training step, the loop around it, and the state that crosses steps."""

from pgpc.training.evaluation import Metrics, evaluate
from pgpc.training.loop import NonFiniteLoss, Result, train
from pgpc.training.state import TrainingState, read_checkpoint

__all__ = ["Metrics", "NonFiniteLoss", "Result", "TrainingState", "evaluate", "read_checkpoint", "train"]
