"""What a run writes for people to look at: TensorBoard curves, pictures and hyperparameters."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from pgpc.classes import ClassSet, colorize
from pgpc.config import Config, flatten, hyperparameter_keys, to_dict
from pgpc.evaluation.mode import evaluating
from pgpc.evaluation.names import Space
from pgpc.evaluation.overlay import paint, photo
from pgpc.evaluation.pixel_features import draw_pixels, feature_map, features_at
from pgpc.evaluation.segmentation import logits, predict
from pgpc.evaluation.selected_pixels import WAYS, selected
from pgpc.models.student import Student
from pgpc.training.averages import BANK_FILL
from pgpc.training.curves import PICTURES, charts, is_curve, tag_of

CURVES = "events.out.tfevents."
"""How the names of TensorBoard's files begin."""
_PROJECTED_PIXELS = 50  # of each class, in the embedding projector


class Tracker:
    """The TensorBoard run of one training. Only process 0 has one.

    Hyperparameters are written at the start and refer to the curve of the metric, so that the final score of a run
    stands beside them also when the run was stopped half-way; its status is unknown until it has come to its end.

    Args:
        folder: Folder that receives the event file.
        config: The config, whose values become the run's hyperparameters.
        classes: The classes, in whose colors labels are painted.
        step: The iteration that the run is resumed from; points of an earlier try beyond it are dropped.
        samples: (image ``(1, 3, h, w)``, label ``(H, W)``, name) of the pictures shown at each evaluation.
        metrics: Tags of the curves whose last values stand beside the hyperparameters.
        compared: Dotted keys of `config` that the run is compared with others by, its hyperparameters; None for all
            that bear on the result.
    """

    def __init__(
        self,
        folder: Path,
        config: Config,
        classes: ClassSet,
        *,
        step: int,
        samples: Sequence[tuple[Tensor, np.ndarray, str]],
        metrics: Sequence[str],
        compared: Sequence[str] | None = None,
    ) -> None:
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb
        from torch.utils.tensorboard import SummaryWriter  # slow to import
        from torch.utils.tensorboard.summary import hparams

        self._samples, self._classes, self._config = samples, classes, config
        # Points of an earlier try that lie beyond the checkpoint are dropped; the one at the checkpoint stays.
        self._writer = SummaryWriter(str(folder), purge_step=step + 1)
        own = _hyperparameters(config, compared)
        # What a run lacks has a column all the same: TensorBoard takes the columns from any one of the runs.
        values = {name: value for name, (value, _) in own.items()}
        experiment, _, self._success = hparams(values, dict.fromkeys(metrics, 0.0))
        played = {name: value for name, (value, plays) in own.items() if plays}
        # Without an id of its own it is called after the run, and stays apart from a namesake of another sweep.
        for summary in (experiment, hparams_pb(played, trial_id=""), charts()):
            self._add_summary(summary)
        self._writer.add_text("config", _config_text(config), max(step, 0))

    def _add_summary(self, summary: Any) -> None:
        writer = self._writer.file_writer
        assert writer is not None, "the event file is open until `close`"
        writer.add_summary(summary)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Add one point to each curve, whose names :func:`pgpc.training.curves.tag_of` takes."""
        for name, value in values.items():
            self._writer.add_scalar(tag_of(name), value, step)

    def copy_curves(self, folder: Path) -> None:
        """Add the curves that a run with its event files in `folder` has, but for the bank's, at their own times."""
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()  # all points
        for name in events.Tags()["scalars"]:
            tag = tag_of(name)
            # Which parts of the memory bank there are, all empty, depends on settings of the contrast.
            if is_curve(tag) and not tag.startswith(f"train/{BANK_FILL}"):
                for point in events.Scalars(name):
                    self._writer.add_scalar(tag, point.value, point.step, point.wall_time)

    def flush(self) -> None:
        """Write out what was added, so that it outlives a process that is killed."""
        self._writer.flush()

    def pictures(self, student: Student, teacher: Student | None, step: int) -> None:
        """Add, of each pictured sample: input, label and prediction, one under the other; and what is selected.

        The latter are the pixels that each way of Table 7 selects among the teacher's pseudo-labels with contrast.eta,
        in the order of their tag, one under the other; a run without a teacher has none. At the last iteration pixels
        of the samples, equally many of each class, are added to the embedding projector.

        Nothing here is random or asks other processes, and both networks are left as they were.

        Args:
            student: The network whose predictions are shown.
            teacher: The network whose pseudo-labels are shown.
            step: Optimizer steps done.
        """
        for image, label, name in self._samples:
            with evaluating(student):
                on_device = image.to(next(student.parameters()).device)
                ids = predict(student.segmenter, on_device, label.shape, evaluation=self._config.evaluation)
            painted = [colorize(shown, self._classes) for shown in (label, ids.cpu().numpy())]
            self._add_image(
                "input, label, prediction", name, [photo(image, label.shape, self._config.data), *painted], step
            )
            if teacher is not None:
                with evaluating(teacher):
                    scores = logits(teacher.segmenter, on_device, evaluation=self._config.evaluation)
                self._add_image(f"selected by {', '.join(WAYS)}", name, self._selected(image, scores), step)
        if step == self._config.training.iterations:
            self._embedding(student, step)

    def _selected(self, image: Tensor, scores: Tensor) -> list[np.ndarray]:
        below, ids = photo(image, image.shape[2:], self._config.data), scores[0].argmax(dim=0).byte().cpu().numpy()
        masks = selected(scores, self._config.contrast.eta).values()
        return [paint(below, ids, mask, self._classes) for mask in masks]

    def _add_image(self, tag: str, name: str, parts: Sequence[np.ndarray], step: int) -> None:
        self._writer.add_image(f"{PICTURES}{tag}/{name}", np.concatenate(parts), step, dataformats="HWC")

    def _embedding(self, student: Student, step: int) -> None:
        labels = [label for _, label, _ in self._samples]
        rng = np.random.default_rng(self._config.seed)
        pixels = draw_pixels(labels, len(self._classes.names), _PROJECTED_PIXELS, rng)
        if len(pixels.label) == 0:
            return
        space: Space = "projection" if student.projection is not None else "decoder"
        features = []
        with evaluating(student):
            for i, (image, label, _) in enumerate(self._samples):
                map_ = feature_map(student, image.to(next(student.parameters()).device), space)
                features.append(features_at(map_, *pixels.of_image(i), label.shape))
        # A run that was interrupted after this and before its last checkpoint comes here again.
        shutil.rmtree(Path(self._writer.log_dir, f"{step:05d}", space), ignore_errors=True)
        names = [self._classes.names[k] for k in pixels.label]
        self._writer.add_embedding(np.concatenate(features), metadata=names, global_step=step, tag=space)

    def succeeded(self) -> None:
        """Note that the run has come to its end."""
        self._add_summary(self._success)

    def close(self) -> None:
        """Flush and close the event file."""
        self._writer.close()


def _config_text(config: Config) -> str:
    """Return the config as Markdown from which it can be pasted into a file for ``--config``."""
    lines = json.dumps(to_dict(config), indent=2).splitlines()
    block = "\n".join(f"    {line}" for line in lines)  # indented: as it is
    return f"In a file config.json: `pgpc train --config config.json --out FOLDER`\n\n{block}"


def _hyperparameters(config: Config, compared: Sequence[str] | None) -> dict[str, tuple[float | str, bool]]:
    """Return by name the value of each, and whether it plays a part: without contrast, its settings do not.

    Names are what follows the last dot of the keys, where that tells them apart.
    """
    flat = flatten(config)
    keys = hyperparameter_keys() if compared is None else compared
    short = Counter(key.rpartition(".")[2] for key in keys)
    found = {}
    for key in keys:
        last = key.rpartition(".")[2]
        name = last if compared is not None and short[last] == 1 else key
        is_number = isinstance(flat[key], (int, float)) and not isinstance(flat[key], bool)
        plays = config.contrast.enabled or not key.startswith("contrast.") or key == "contrast.enabled"
        found[name] = flat[key] if is_number else str(flat[key]), plays
    return found
