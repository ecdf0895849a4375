"""Pseudo-label guided pixel contrast: the paper's own contribution (Eqs. 5-11).

===========  =======================  ====================================
Equation     What                     Where
===========  =======================  ====================================
Eq. 5        InfoNCE                  :func:`~pgpc.contrast.loss.info_nce`
Eq. 7        entropy                  :func:`~pgpc.contrast.reliability.entropy`
Eq. 8        anchors                  :func:`~pgpc.contrast.reliability.reliable`, drawn in ``PixelContrast.loss``
Eq. 9        prototypes               ``PrototypeBank.prototypes``
Eq. 10       source negatives         :func:`~pgpc.contrast.sampling.draw_other_classes`
Eq. 11       target negatives         :func:`~pgpc.contrast.reliability.rank_negatives`
Fig. 1       families of contrast     ``PixelContrast.loss``
===========  =======================  ====================================
"""

from pgpc.contrast.loss import info_nce
from pgpc.contrast.memory import FeatureBank, PrototypeBank
from pgpc.contrast.pixel_contrast import PixelContrast
from pgpc.contrast.reliability import entropy, rank_negatives, reliable

__all__ = ["FeatureBank", "PixelContrast", "PrototypeBank", "entropy", "info_nce", "rank_negatives", "reliable"]
