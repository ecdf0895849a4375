"""What is learned beside the contrast, and how a step of it goes.

``base.py`` is the protocol of bases. ``self_training.py`` has Algorithm 1 on one screen, together with the bases
source-only, DACS, DAFormer, HRDA and MIC; ``proca`` is a base with stages of its own.
"""

from pgpc.bases.base import Base
from pgpc.bases.registry import base_names, make_base
from pgpc.bases.state import TrainingState

__all__ = ["Base", "TrainingState", "base_names", "make_base"]
