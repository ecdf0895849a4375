"""A diagnosis of a run: some of its steps are looked at as training sees them, and none is taken."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pgpc.bases import Base, TrainingState, make_base
from pgpc.bases.state import saved_base
from pgpc.bases.teacher_forward import TeacherOutput, source_pixels, teacher_forward
from pgpc.classes import classes_from_json
from pgpc.config import from_text, override
from pgpc.contrast import PrototypeBank
from pgpc.data.band_numbers import with_normalization
from pgpc.data.batch import Batch
from pgpc.data.domains import open_domains
from pgpc.data.loader import TrainingData
from pgpc.diagnosis.counts import PixelCounts
from pgpc.diagnosis.figures import ClassFigures, Diagnosis, GradientFigures
from pgpc.diagnosis.gradients import CONTRAST, cosine, encoder_gradients, share_of_contrast, true_gradient
from pgpc.diagnosis.memory import age_of, banks_of, candidates
from pgpc.models.checkpoint import CHECKPOINT, read_checkpoint
from pgpc.models.student import ForwardRequest
from pgpc.runtime import distributed
from pgpc.runtime.checks import check
from pgpc.runtime.seeding import seed_everything, torch_generator

RANKS = (1, 2, 4, 6, 8)
"""Values of r for which target negatives are judged, beside the run's own."""


def load_run(path: Path, changes: dict[str, Any]) -> tuple[TrainingState, list[str]]:
    """Read the state of a run, all but what only its optimizer needs.

    Args:
        path: The run's folder, or its checkpoint.pt.
        changes: Values of the config that are others here, such as the places of data.

    Returns:
        The state, and what of it is left out.

    Raises:
        FileNotFoundError: There is no checkpoint.
        ValueError: It cannot be read, or the run has no teacher.
    """
    check(
        path.is_dir() or path.name == CHECKPOINT,
        f"--checkpoint must be a run's folder or its {CHECKPOINT}, which has teacher and memory bank",
        str(path),
    )
    saved = read_checkpoint(path if path.is_dir() else path.parent)
    config = from_text(saved["config"], path)
    check(
        saved.get("teacher") is not None,
        "--checkpoint must be of a run with a teacher, whose pseudo-labels are looked at",
        json.loads(saved["config"])["base"],
        "Source-only has none.",
    )
    left_out = []
    if config.adaptation.feature_distance_weight > 0:
        left_out.append("The feature distance is no part of the gradients: it needs the initial encoder.")
    if not config.model.leaves_out:
        # The checkpoint has all weights; the file of the initial ones may be on another machine.
        config = override(config, {"model.pretrained": None, "adaptation.feature_distance_weight": 0.0})
    config = override(config, {"adaptation.feature_distance_weight": 0.0, **changes})
    config = dataclasses.replace(config, data=with_normalization(config.data))
    classes = classes_from_json(saved.get("classes"), config.model.num_classes)
    state = make_base(config).new_state(distributed.local_device(), classes)
    state.step = saved["step"]
    state.student.load_state_dict(saved["student"])
    state.load_part(state.teacher, saved["teacher"])
    if saved.get("contrast") is not None:
        state.load_part(state.contrast, saved["contrast"])
    state.load_part(state.base, saved_base(saved))
    return state, left_out


def diagnose(
    state: TrainingState,
    *,
    num_steps: int,
    least_share: float,
    left_out: list[str],
    on_progress: Callable[[int, int], None],
) -> Diagnosis:
    """Look at the next steps of a run, or at its last ones where it has ended.

    Networks are in the modes of training: batch norms take the statistics of the batch at hand. Labels of the target
    are read where it has some, to judge by and for nothing else.

    Args:
        state: The state of :func:`load_run`; only numbers that nothing here reads are changed.
        num_steps: How many steps, at least 1.
        least_share: Percentage of the pixels from which on a class counts as predicted.
        left_out: What is left out already.
        on_progress: Function that is called with the number of target crops done and in all.

    Raises:
        ValueError: The steps take no images of both domains.
    """
    iteration, config, base = state.step, state.config, make_base(state.config)
    first = max(min(iteration, config.training.iterations - num_steps), 0)
    steps = range(first, min(first + num_steps, config.training.iterations))
    for step in steps:
        check(
            min(base.images_per_step(step)) > 0,
            "the steps that are looked at must take images of both domains, as the contrast needs",
            step,
            "Give a checkpoint of another stage.",
        )
    examination = _Examination(state, base, steps)
    for step in steps:
        examination.look_at(step)
        on_progress(examination.images, len(steps) * config.training.batch_size)
    state.step = iteration
    return Diagnosis(
        iteration=iteration,
        steps=(steps[0], steps[-1]),
        images=examination.images,
        least_share=least_share,
        q=sum(examination.weights) / len(steps),
        classes=examination.classes(iteration),
        bank_size=config.contrast.bank_size if state.contrast is not None else None,
        gradients=examination.gradients(),
        left_out=[*left_out, *examination.left_out()],
    )


class _Examination:
    """What is found step by step."""

    def __init__(self, state: TrainingState, base: Base, steps: range) -> None:
        self.state, self.base, self.steps, config = state, base, steps, state.config
        domains = open_domains(dataclasses.replace(config.data, eval_split=None), adapts=True)
        self.data = TrainingData(
            config.data,
            domains.source,
            domains.target,
            domains.labeled,
            plan=base.plan(domains.source),
            seed=config.seed,
            batch_size=config.training.batch_size,
            num_classes=config.model.num_classes,
            rank=0,
            world_size=1,
        )
        ranks = tuple(sorted({*RANKS, config.contrast.r}))
        self.counts = PixelCounts(config.model.num_classes, ranks if config.contrast.enabled else ())
        self.enqueued: dict[str, Tensor] = {}
        self.weights: list[float] = []
        self.norms: list[dict[str, float]] = []
        self.cosines: list[float | None] = []
        self.images, self.labeled, self.told = 0, True, True

    def look_at(self, step: int) -> None:
        """Count what one step shows, and take its gradients."""
        state, config = self.state, self.state.config
        batch, truth = self.data[step].to(state.device), self.data.target_labels(step)
        truth = None if truth is None else truth.to(state.device)
        self.labeled &= truth is not None
        self.images += len(batch.require_target().images)
        state.step = step
        seed_everything(config.seed, "dropout", step, 0)
        seen = teacher_forward(
            state.require_teacher(),
            batch.require_target(),
            None,
            adaptation=config.adaptation,
            contrast=config.contrast if config.contrast.enabled else None,
        )
        self.weights.append(seen.pseudo.weight.amax().item())
        self.counts.add_labels(seen.pseudo.labels, truth)
        if seen.target is None or state.contrast is None:
            return
        self._count_anchors(batch, seen, truth)
        self._take_gradients(batch, seen, truth)

    def _count_anchors(self, batch: Batch, seen: TeacherOutput, truth: Tensor | None) -> None:
        state, pixels, memory = self.state, seen.target, self.state.require_contrast()
        assert pixels is not None, "the teacher was asked for features"
        with torch.no_grad():
            (output,) = state.student(ForwardRequest(batch.require_target().images, decode=False, project=True))
            hidden = output.require_hidden()
            features = state.student.unit_vectors(hidden.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        positives = memory.source if memory.target is None else memory.target
        assert isinstance(positives, PrototypeBank), "the bank of the positives has prototypes"
        self.counts.add_anchors(pixels, features, positives.prototypes(), truth)
        labels = source_pixels(hidden, batch.require_source().labels).labels
        found = candidates(state.config.contrast, pixels, labels, self.counts.num_classes)
        for name, count in found.items():
            rows = count.clamp(max=state.config.contrast.quota).double()
            self.enqueued[name] = self.enqueued.get(name, torch.zeros_like(rows)) + rows

    def _take_gradients(self, batch: Batch, seen: TeacherOutput, truth: Tensor | None) -> None:
        state, log = self.state, dict[str, Tensor]()
        if state.step < state.config.contrast.start:
            return
        draws = torch_generator(state.device, state.config.seed, "contrast", state.step)
        passes = self.base.passes(state, batch, seen, draws, log)
        if passes is None:
            self.told = False
            return
        gradients = encoder_gradients(state, passes, log)
        self.norms.append({name: gradient.norm().item() for name, gradient in gradients.items()})
        if truth is not None:
            self.cosines.append(cosine(gradients[CONTRAST], true_gradient(state, batch.require_target().images, truth)))

    def classes(self, iteration: int) -> list[ClassFigures]:
        """Return the figures of each class."""
        counts, total = self.counts, max(float(self.counts.of("labeled").sum()), 1.0)
        contrasts = self.state.contrast is not None
        right, purity = counts.share("right", "judged"), counts.share("anchors_right", "anchors_judged")
        own, other = (
            [None if v is None else v / 100 for v in counts.share(which, "compared")] for which in ("own", "other")
        )
        false_negatives = {r: counts.share(f"false negatives {r}", f"negatives {r}") for r in counts.ranks}
        found = []
        for k, name in enumerate(self.state.classes.names):
            of_class = ClassFigures(
                name=name,
                predicted=100 * float(counts.of("predicted")[k]) / counts.pixels,
                labeled=100 * float(counts.of("labeled")[k]) / total if self.labeled else None,
                anchors=int(counts.of("anchors")[k]) if contrasts else None,
                false_negatives={r: v[k] for r, v in false_negatives.items()} if contrasts and self.labeled else None,
                right=right[k],
                purity=purity[k],
                cosine_own=own[k],
                cosine_other=other[k],
            )
            self._add_memory(of_class, k, iteration)
            found.append(of_class)
        return found

    def _add_memory(self, found: ClassFigures, k: int, iteration: int) -> None:
        if self.state.contrast is None:
            return
        for name, bank in banks_of(self.state.contrast).items():
            rows, rate = int(bank.filled[k]), float(self.enqueued[name][k]) / len(self.steps)
            found.rows[name] = rows
            found.age[name], found.stale[name] = age_of(rows, rate, self.state.config.contrast, iteration)

    def gradients(self) -> GradientFigures | None:
        """Return the gradients of all steps."""
        if not self.norms:
            return None
        known = [value for value in self.cosines if value is not None]
        return GradientFigures(
            norms={name: [norms[name] for norms in self.norms] for name in self.norms[0]},
            share=[share_of_contrast(norms) for norms in self.norms],
            cosine=known if self.labeled and known else None,
        )

    def left_out(self) -> list[str]:
        """Say what is not there, and why."""
        contrast, said = self.state.config.contrast, []
        if not self.labeled:
            said.append(
                "Images of the target have no labels: shares of right pseudo-labels and anchors, false negatives and "
                "the cosine with the gradient of labels are left out."
            )
        if not contrast.enabled:
            said.append("The run has no contrast: anchors, memory bank and gradients are left out.")
        elif self.steps[-1] < contrast.start:
            said.append(f"The contrast starts at iteration {contrast.start}: gradients are left out.")
        elif not self.told:
            said.append(f"base={self.state.config.base} does not tell its losses apart: gradients are left out.")
        return said
