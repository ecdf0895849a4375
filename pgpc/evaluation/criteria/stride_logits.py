"""Logits at the stride of the network's output, which all criteria are computed at."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

from pgpc.data.config import EvaluationConfig
from pgpc.evaluation.segmentation import plain_logits
from pgpc.models.segmenter import STRIDES
from pgpc.runtime.precision import at_least_float32


def stride_logits(model: nn.Module, image: Tensor, evaluation: EvaluationConfig) -> Tensor:
    """Compute the logits of one image at the stride of the output, without test-time augmentation.

    Args:
        model: A network as :func:`pgpc.evaluation.segmentation.predict` takes it.
        image: One normalized image ``(1, 3, H, W)``, on the model's device.
        evaluation: Whether the image is segmented in windows. The mean of their logits has the size of the image and
            is brought back to stride 4, bilinearly.

    Returns:
        ``(C, ~H/4, ~W/4)``, of DeepLabV2 segmenting whole images ``(C, ~H/8, ~W/8)``; at least float32.
    """
    if evaluation.window is None:
        segment: Callable[[Tensor], Tensor] = getattr(model, "segment", model)  # not yet resized, see DeepLabV2
        return at_least_float32(segment(image))[0]
    size = [-(-extent // STRIDES[0]) for extent in image.shape[2:]]
    whole = plain_logits(model, image, evaluation=evaluation)
    return F.interpolate(whole, size, mode="bilinear", align_corners=bool(model.align_corners))[0]
