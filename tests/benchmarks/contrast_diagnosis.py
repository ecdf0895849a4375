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
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from pgpc.adaptation.teacher import teacher_mode
from pgpc.bases import TrainingState, self_training
from pgpc.bases.losses import at_stride_of
from pgpc.bases.student_images import mix_images
from pgpc.bases.teacher_forward import teacher_forward
from pgpc.classes import IGNORE_INDEX
from pgpc.config import from_dict
from pgpc.contrast import PrototypeBank, rank_negatives, reliable
from pgpc.data import transforms
from pgpc.data.domains import open_shards
from pgpc.data.image_files import decode_image
from pgpc.data.loader import read_label
from pgpc.evaluation.pixel_features import feature_map
from pgpc.models.checkpoint import read_checkpoint
from pgpc.models.student import ForwardRequest
from tests.helpers.training import new_state, open_pair, training_batches

RANKS = (1, 2, 4, 6, 8)


def main() -> None:
    """Print the table and the gradients."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--images", type=int, default=100, help="target training images (default: %(default)s)")
    arguments = parser.parse_args()
    config = from_dict(json.loads(read_checkpoint(arguments.run)["config"]))
    state = new_state(config)
    state.load(arguments.run)
    teacher_mode(state.require_teacher())
    print_classes(state, arguments.images)
    print_gradients(state)


Counts = dict[str | tuple[str, int], np.ndarray]


def print_classes(state: TrainingState, num_images: int) -> None:
    """Print the purity of anchors and negatives, and cosines, per class."""
    config = state.config
    shards = open_shards(config.data.target, config.data, "train")
    counts: Counts = defaultdict(lambda: np.zeros(config.model.num_classes))
    for row in range(min(num_images, len(shards))):
        image = transforms.image_tensor(decode_image(shards.image_bytes(row)))[None]
        _count(state, image, torch.from_numpy(read_label(shards, row)).long(), counts)

    share = counts["anchors"] / counts["anchors"].sum()
    print(
        f"{'class':<14} {'anchors':>8} {'right':>6}  {'cos own':>7} {'other':>6}   truly of the class among its "
        f"target negatives, r = {', '.join(map(str, RANKS))}"
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        right, own, other = (counts[name] / counts["anchors"] for name in ("right", "own", "other"))
        wrong = {r: 100 * counts["of the class", r] / counts["negatives", r] for r in RANKS}
    for k, name in enumerate(state.classes.names):
        row_of_ranks = "  ".join(f"{wrong[r][k]:5.2f}%" for r in RANKS)
        print(
            f"{name:<14} {100 * share[k]:7.2f}% {100 * right[k]:5.0f}%  {own[k]:7.2f} {other[k]:6.2f}   {row_of_ranks}"
        )


@torch.no_grad()
def _count(state: TrainingState, image: torch.Tensor, truth: torch.Tensor, counts: Counts) -> None:
    """Add an image's anchors and negatives to the counts of each class."""
    config, teacher = state.config, state.require_teacher()
    bank = state.require_contrast().source
    assert isinstance(bank, PrototypeBank), "the cosines are those with source prototypes"
    prototypes = F.normalize(bank.prototypes(), dim=1)
    (output,) = teacher(ForwardRequest(image))
    logits = F.interpolate(output.logits, image.shape[2:], mode="bilinear", align_corners=False)
    sure = reliable(logits, config.contrast.eta)[0] & (truth != IGNORE_INDEX)
    student = feature_map(state.student, image, "projection")[0]  # (D, h, w)
    labels, sure, truth = (at_stride_of(student, x) for x in (logits.argmax(1)[0], sure, truth))
    cosines = torch.einsum("dhw,cd->chw", student, prototypes)
    own = cosines.gather(0, labels[None])[0]
    other = cosines.scatter(0, labels[None], -1.0).amax(0)
    ranks = {r: rank_negatives(output.require_logits(), r)[0] & (truth != IGNORE_INDEX) for r in RANKS}
    for k in range(config.model.num_classes):
        anchors = sure & (labels == k)
        counts["anchors"][k] += anchors.sum()
        counts["right"][k] += (anchors & (truth == k)).sum()
        counts["own"][k] += own[anchors].sum()
        counts["other"][k] += other[anchors].sum()
        for r, negatives in ranks.items():
            counts["negatives", r][k] += negatives[k].sum()
            counts["of the class", r][k] += (negatives[k] & (truth == k)).sum()


def print_gradients(state: TrainingState) -> None:
    """Print the norm of each loss's gradient with respect to the encoder, weights of Eq. 6 included."""
    config = state.config
    encoder = list(state.student.segmenter.encoder.parameters())

    def norm(loss: torch.Tensor) -> float:
        gradients = torch.autograd.grad(loss, encoder)
        return torch.stack([g.square().sum() for g in gradients]).sum().sqrt().item()

    print("\ngradient norms in the encoder, per batch: source, target, contrast")
    batches = training_batches(config, *open_pair(config), start_step=config.contrast.start)
    for batch in itertools.islice(batches, 5):
        source, target = batch.require_source(), batch.require_target()
        seen = teacher_forward(
            state.require_teacher(), target, None, adaptation=config.adaptation, contrast=config.contrast
        )
        draws = torch.Generator().manual_seed(0)
        mixed = mix_images(state, source, target, seen.pseudo)
        passes = (
            self_training._source_pass(state, source, {}),
            self_training._mixed_pass(state, mixed, None, draws, {}),
            self_training._clean_pass(state, target, seen.target, draws, {}),
        )
        print("  ".join(f"{norm(pass_.loss(*state.student(pass_.request))):.3f}" for pass_ in passes))


if __name__ == "__main__":
    main()
