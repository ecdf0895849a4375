"""What a run writes for people to look at: TensorBoard curves, pictures and hyperparameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pgpc.classes import ClassSet, colourise
from pgpc.config import Config, flatten
from pgpc.data.transforms import MEAN, STD
from pgpc.training.evaluation import predict

_METRIC = "eval/mIoU"
_HPARAM_GROUPS = ("contrast.", "adaptation.", "optimizer.", "training.", "model.", "seed")


class Tracker:
    """Writes the TensorBoard run of one training. Only process 0 has one.

    Hyperparameters are written at the start and refer to the curve of the metric, so that the final score of a run
    stands beside them also when the run was stopped half-way.

    Args:
        folder: receives the event file.
        config: its values become the run's hyperparameters.
        classes: whose colours labels are painted in.
        step: the iteration that the run goes on from; points of an earlier try beyond it are dropped.
        samples: (image ``(1, 3, h, w)``, label ``(H, W)``, name) of the pictures shown at each evaluation.
    """

    def __init__(
        self, folder: Path, config: Config, classes: ClassSet, *, step: int,
        samples: Sequence[tuple[Tensor, np.ndarray, str]],
    ) -> None:  # fmt: skip
        from torch.utils.tensorboard import SummaryWriter  # slow to import
        from torch.utils.tensorboard.summary import hparams

        self._samples, self._classes, self._evaluation = samples, classes, config.evaluation
        # Points of an earlier try that lie beyond the checkpoint are dropped; the one at the checkpoint stays.
        self._writer = SummaryWriter(str(folder), purge_step=step + 1)
        values = {
            key: value if isinstance(value, (bool, int, float)) else str(value)
            for key, value in flatten(config).items()
            if key.startswith(_HPARAM_GROUPS)
        }
        for summary in hparams(values, {_METRIC: 0.0}):
            self._writer.file_writer.add_summary(summary)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Add one point to each named curve."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def pictures(self, model: nn.Module, step: int) -> None:
        """Add input, label and prediction of the pictured samples, one under the other."""
        device = next(model.parameters()).device
        was_training = model.training
        model.eval()
        for image, label, name in self._samples:
            prediction = predict(model, image.to(device), label.shape, evaluation=self._evaluation).cpu().numpy()
            painted = [colourise(ids, self._classes) for ids in (label, prediction)]
            picture = np.concatenate([_photo(image, label.shape), *painted])
            self._writer.add_image(f"input, label, prediction/{name}", picture, step, dataformats="HWC")
        model.train(was_training)
        self._writer.flush()  # an evaluation's points outlive a process that is killed

    def close(self) -> None:
        """Flush and close the event file."""
        self._writer.close()


def _photo(image: Tensor, size: tuple[int, int]) -> np.ndarray:
    """A normalised image as ``(H, W, 3)`` uint8 of the given size."""
    resized = torch.nn.functional.interpolate(image, size, mode="bilinear", align_corners=False)[0]
    return (resized.permute(1, 2, 0).numpy() * STD + MEAN).round().clip(0, 255).astype(np.uint8)
