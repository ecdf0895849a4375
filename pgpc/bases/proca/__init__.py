"""ProCA: a base with a training step and three stages of its own.

Jiang et al., "Prototypical Contrast Adaptation for Domain Adaptive Semantic Segmentation", ECCV 2022, whose five
programs are one run here. On purpose different from the authors' code: stage "self_training" takes its pseudo-labels
from the network that "adapt" ends with, not from the one that scored best on the target's labels, which adaptation may
not look at; it computes them anew in each iteration, on the whole unchanged image, instead of storing them; and the
images of a class are drawn at random, not in the order of their files.

With the contrast of PGPC (an interpretation: its paper does not say how the two meet), stage "adapt" also has an EMA
teacher, a cross-entropy on its pseudo-labels, and, from `contrast.start` on, the contrastive loss; anchors are always
on the clean target images, since ProCA mixes none.
"""

from pgpc.bases.proca.proca import ProCA

BASE = ProCA

__all__ = ["BASE", "ProCA"]
