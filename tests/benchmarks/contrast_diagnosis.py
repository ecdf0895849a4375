"""What the contrast works with: how pure its anchors and negatives are, and what is left for its loss to gain.

    python -m tests.benchmarks.contrast_diagnosis RUN

RUN is the folder of a PGPC run on data whose target training images have labels, which only this script reads: the
embedded pair, or Cityscapes. Prints, over some steps at the end of that run, per class: how many reliable target
pixels carry its pseudo-label, how many of these are right (Eq. 8), how many of its target negatives are truly of the
class (Eq. 11) for several r, and the cosine of its anchors with its own prototype and with the nearest other one. Then,
for some training batches, the norm of the gradient that each loss of Eq. 6 sends into the encoder.
"""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from pgpc.adaptation.teacher import teacher_mode
from pgpc.bases import self_training as training_step
from pgpc.bases.passes import at_stride_of, look
from pgpc.classes import CLASS_NAMES, IGNORE_INDEX
from pgpc.config import from_dict
from pgpc.contrast import rank_negatives, reliable
from pgpc.data import transforms
from pgpc.data.domains import open_shards
from pgpc.data.image_files import decode_image, decode_label
from pgpc.data.loader import training_batches
from pgpc.evaluation.pixel_features import feature_map
from pgpc.models.student import View
from pgpc.training import TrainingState, read_checkpoint

RANKS = (1, 2, 4, 6, 8)


def main() -> None:
    """Print the table and the gradients."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--images", type=int, default=100, help="target training images (default: %(default)s)")
    arguments = parser.parse_args()
    config = from_dict(json.loads(read_checkpoint(arguments.run)["config"]))
    state = TrainingState(config, torch.device("cpu"))
    state.load(arguments.run)
    teacher_mode(state.teacher)
    print_classes(state, arguments.images)
    print_gradients(state)


@torch.no_grad()
def print_classes(state: TrainingState, num_images: int) -> None:
    """Purity of anchors and negatives, and cosines, per class."""
    config = state.config
    shards = open_shards(config.data.target, config.data, "train")
    prototypes = F.normalize(state.contrast.source.prototypes(), dim=1)

    c = config.model.num_classes
    counts = {name: np.zeros(c) for name in ("anchors", "right", "own", "other", *RANKS, *(-r for r in RANKS))}
    for row in range(min(num_images, len(shards))):
        image = transforms.image_tensor(decode_image(shards.image_bytes(row)))[None]
        truth = torch.from_numpy(decode_label(shards.label_bytes(row))).long()
        (teacher,) = state.teacher(View(image))
        logits = F.interpolate(teacher.logits, image.shape[2:], mode="bilinear", align_corners=False)
        sure = reliable(logits, config.contrast.eta)[0] & (truth != IGNORE_INDEX)
        student = feature_map(state.student, image, "projection")[0]  # (D, h, w)
        labels, sure, truth = (at_stride_of(student, x) for x in (logits.argmax(1)[0], sure, truth))
        cosines = torch.einsum("dhw,cd->chw", student, prototypes)
        own = cosines.gather(0, labels[None])[0]
        other = cosines.scatter(0, labels[None], -1.0).amax(0)
        for k in range(c):
            anchors = sure & (labels == k)
            counts["anchors"][k] += anchors.sum()
            counts["right"][k] += (anchors & (truth == k)).sum()
            counts["own"][k] += own[anchors].sum()
            counts["other"][k] += other[anchors].sum()
            for r in RANKS:
                negative = rank_negatives(teacher.logits, r)[0, k] & (truth != IGNORE_INDEX)
                counts[r][k] += negative.sum()
                counts[-r][k] += (negative & (truth == k)).sum()

    share = counts["anchors"] / counts["anchors"].sum()
    with np.errstate(invalid="ignore", divide="ignore"):
        print(
            f"{'class':<14} {'anchors':>8} {'right':>6}  {'cos own':>7} {'other':>6}   truly of the class among its "
            f"target negatives, r = {', '.join(map(str, RANKS))}"
        )
        for k in range(c):
            n = counts["anchors"][k]
            wrong = "  ".join(f"{100 * counts[-r][k] / counts[r][k]:5.2f}%" for r in RANKS)
            print(
                f"{CLASS_NAMES[k]:<14} {100 * share[k]:7.2f}% {100 * counts['right'][k] / n:5.0f}%  "
                f"{counts['own'][k] / n:7.2f} {counts['other'][k] / n:6.2f}   {wrong}"
            )


def print_gradients(state: TrainingState) -> None:
    """Norm of each loss's gradient with respect to the encoder, weights of Eq. 6 included."""
    config = state.config
    source, target = (open_shards(where, config.data, "train") for where in (config.data.source, config.data.target))
    encoder = list(state.student.segmenter.encoder.parameters())

    def norm(loss: torch.Tensor) -> float:
        gradients = torch.autograd.grad(loss, encoder)
        return torch.stack([g.square().sum() for g in gradients]).sum().sqrt().item()

    print("\ngradient norms in the encoder, per batch: source, target, contrast")
    for batch in itertools.islice(training_batches(config, source, target, start_step=config.contrast.start), 5):
        view = look(state, batch, project=True)
        draws = torch.Generator().manual_seed(0)
        mixed = training_step._mix(state, batch, view.pseudo)
        passes = (
            training_step._source_pass(state, batch, {}),
            training_step._mixed_pass(state, mixed, None, draws, {}),
            training_step._clean_pass(state, batch, view.pixels, draws, {}),
        )
        print("  ".join(f"{norm(it.loss(*state.student(it.view))):.3f}" for it in passes))


if __name__ == "__main__":
    main()
