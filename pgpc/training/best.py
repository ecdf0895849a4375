"""The best network of a run: kept beside its checkpoint, by a score that the config names."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any, NamedTuple

import torch

from pgpc.bases.state import TrainingState
from pgpc.classes import classes_to_json
from pgpc.config import Config, from_text, to_dict
from pgpc.data.config import EvaluationConfig
from pgpc.data.run_splits import Domains
from pgpc.evaluation.names import CRITERIA_PREFIX
from pgpc.models.checkpoint import BEST
from pgpc.models.weight_files import check_archive
from pgpc.runtime import storage
from pgpc.runtime.checks import check
from pgpc.runtime.files import remove_unfinished, write_file
from pgpc.training.begin import Begin, Resume

log = logging.getLogger(__name__)


class Best(NamedTuple):
    """What is known of the network in ``best.pt``.

    Attributes:
        chosen_by: The score that it was chosen by, as ``training.keep_best`` names it.
        score: That score, higher being better.
        iteration: The number of optimizer steps that it had done.
    """

    chosen_by: str
    score: float
    iteration: int


def read_best(folder: Path) -> Best | None:
    """Return what is known of the network in ``folder/best.pt``; None where there is none that can be read."""
    return _read(folder / BEST)[0]


def _read(path: Path) -> tuple[Best | None, EvaluationConfig | None]:
    """Return what is known of the network in a file, and how its score was measured; twice None for no such file."""
    try:
        check_archive(path)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        found, config = content["best"], from_text(content["config"], path)
        return Best(str(found["chosen_by"]), float(found["score"]), int(found["iteration"])), config.evaluation
    except Exception:  # half a dozen types for a file that is cut short; the next best network replaces it
        return None, None


def check_best(config: Config, domains: Domains) -> None:
    """Refuse to keep the network that is best by a score which no evaluation of the run will have.

    Args:
        config: The config of the run.
        domains: Its images.

    Raises:
        ValueError: ``training.keep_best`` names a criterion, and there is no image to measure it on.
    """
    name = config.training.keep_best
    check(
        name in (None, "mIoU", "source_mIoU") or domains.measured is not None,
        "training.keep_best must be a score that evaluations have, and criteria on the target need images of its train "
        "split of which data.target_labels has no label",
        name,
        "Set training.keep_best=mIoU, or have fewer labels.",
    )


class BestKeeper:
    """Keeps the best network of a run in ``best.pt``; only process 0 has one.

    The file has both networks and all that ``pgpc evaluate``, ``predict`` and ``export`` ask for, but neither optimizer
    nor memory bank: a run is resumed from its last checkpoint alone. What the best score is stands in the file and
    nowhere else, so that a run that is resumed, from whatever checkpoint, never replaces a network by a worse one.

    A run that is stopped after it wrote the file and before its checkpoint comes to the same evaluation again.

    Args:
        folder: The run's folder.
        url: The address on S3 that it is copied to, or None.
        begin: Where the run begins; only one that is resumed has a best network already.
        state: The state that it begins with.
    """

    def __init__(self, folder: Path, url: str | None, begin: Begin, state: TrainingState) -> None:
        self._folder, self._chosen_by = folder, state.config.training.keep_best
        self.best: Best | None = None
        """The best network so far; None where there is none."""
        path = folder / BEST
        remove_unfinished(path)
        if not isinstance(begin, Resume):
            path.unlink(missing_ok=True)
        elif self._chosen_by is not None:
            if url is not None:
                storage.download(str(storage.join(url, BEST)), path)
            self._resume(state)

    def consider(self, state: TrainingState) -> None:
        """Write the networks of a state that has just been reported, if its score is better than all before.

        Args:
            state: The state, with the metrics of its report.
        """
        name = self._chosen_by
        if name is None:
            return
        score = state.metrics.get(name if name == "mIoU" else f"{CRITERIA_PREFIX}{name}", math.nan)
        if math.isnan(score) or (self.best is not None and score <= self.best.score):
            return
        self.best = Best(name, score, state.step)
        content = _content(state, self.best)
        write_file(self._folder / BEST, lambda file: torch.save(content, file))

    def _resume(self, state: TrainingState) -> None:
        """Take over the best network of the run, if its score can be compared with those to come."""
        best, evaluation = _read(self._folder / BEST)
        since = state.step if best is None else best.iteration
        other_data = any(start.changed and start.step >= since for start in state.starts)
        other_way = best is not None and (best.chosen_by, evaluation) != (self._chosen_by, state.config.evaluation)
        if best is not None and not other_data and not other_way:
            self.best = best
        elif best is not None:
            log.warning(
                "%s is of iteration %d, chosen by %s, which was measured otherwise or on other data than %s is from "
                "here on; the next evaluation replaces it.",
                self._folder / BEST,
                best.iteration,
                best.chosen_by,
                self._chosen_by,
            )
        if best is None and not other_data and state.metrics.get("iteration") == state.step:
            self.consider(state)  # the run has kept none until now


def _content(state: TrainingState, best: Best) -> dict[str, Any]:
    """Return what ``best.pt`` holds: a checkpoint without what only training needs."""
    return {
        "config": json.dumps(to_dict(state.config)),
        "classes": classes_to_json(state.classes),
        "starts": [start.to_json() for start in state.starts],
        "step": state.step,
        "metrics": state.metrics,
        "best": best._asdict(),
        "student": state.student.state_dict(),
        "teacher": state.teacher.state_dict() if state.teacher is not None else None,
    }
