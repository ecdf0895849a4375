import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pgpc.bases.proca.augmentation import augment_colors
from pgpc.bases.proca.prototypes import (
    BINS,
    Prototypes,
    class_sums,
    class_thresholds,
    count_confidences,
    mean_cross_entropy,
    prototype_loss,
    prototypes_loss,
    target_labels,
)
from pgpc.data.normalization import MEAN, STD

IGNORE = 255


def pixels(*vectors):
    """Vectors as the pixels of one image, ``(1, D, 1, P)``."""
    return torch.tensor(vectors).float().T[None, :, None]


def test_class_sums_by_hand():
    sums, counts = class_sums(pixels([1, 2], [3, 4], [5, 6], [7, 8]), torch.tensor([[[0, 2, 0, IGNORE]]]), 3)
    assert sums.tolist() == [[6, 8], [0, 0], [3, 4]]
    assert counts.tolist() == [2, 0, 1]
    assert sums.dtype == torch.float64


def test_prototypes_are_the_mean_of_all_pixels_that_were_ever_added():
    memory = Prototypes(2, 2)
    memory.add(*class_sums(pixels([1, 0], [3, 0], [0, 9]), torch.tensor([[[0, 0, 1]]]), 2))
    assert memory.means().tolist() == [[2, 0], [0, 9]]
    memory.add(*class_sums(pixels([5, 6]), torch.tensor([[[0]]]), 2))
    assert memory.means().tolist() == [[3, 2], [0, 9]]  # (1 + 3 + 5) / 3, 6 / 3
    assert memory.counts.tolist() == [3, 1]


def test_prototypes_equal_the_mean_of_everything_at_once():
    g = torch.Generator().manual_seed(0)
    maps = torch.randn(6, 5, 4, 8, generator=g)
    labels = torch.randint(0, 4, (6, 4, 8), generator=g)
    labels[labels == 3] = IGNORE
    memory = Prototypes(4, 5)
    for i in range(0, 6, 2):
        memory.add(*class_sums(maps[i : i + 2], labels[i : i + 2], 4))
    for c in range(3):
        expected = maps.permute(0, 2, 3, 1)[labels == c].mean(0)
        torch.testing.assert_close(memory.means()[c], expected)
    assert not memory.means()[3].any()


def test_prototype_loss_by_hand():
    """Cosines 0.6 and 0.8, at tau = 0.5."""
    prototypes = torch.tensor([[2.0, 0.0], [0.0, 0.1]])
    loss = prototype_loss(pixels([3, 4]), torch.tensor([[[1]]]), prototypes, torch.tensor([True, True]), 0.5)
    assert loss.item() == pytest.approx(math.log(1 + math.exp((0.6 - 0.8) / 0.5)))


def test_at_the_published_temperature_the_loss_is_nearly_flat():
    g = torch.Generator().manual_seed(0)
    x, labels = torch.randn(2, 8, 4, 4, generator=g), torch.randint(0, 19, (2, 4, 4), generator=g)
    loss = prototype_loss(x, labels, torch.randn(19, 8, generator=g), torch.ones(19, dtype=torch.bool), 50.0)
    assert loss.item() == pytest.approx(math.log(19), abs=0.02)


def test_a_class_without_prototype_takes_no_part():
    x, labels = pixels([3, 4], [1, 1]), torch.tensor([[[1, 0]]])
    two = torch.tensor([[2.0, 0.0], [0.0, 0.1]])
    three = torch.cat([two, torch.zeros(1, 2)])
    expected = prototype_loss(x, labels, two, torch.tensor([True, True]), 0.5)
    assert prototype_loss(x, labels, three, torch.tensor([True, True, False]), 0.5) == expected


def test_gradient_of_the_prototype_loss_is_that_of_the_cosine():
    g = torch.Generator().manual_seed(1)
    ours = torch.randn(2, 6, 3, 4, generator=g).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    labels, prototypes = torch.randint(0, 3, (2, 3, 4), generator=g), torch.randn(3, 6, generator=g)
    labels[0, 0] = IGNORE
    prototype_loss(ours, labels, prototypes, torch.ones(3, dtype=torch.bool), 0.1).backward()
    cosine = torch.stack([F.cosine_similarity(theirs, p[None, :, None, None], dim=1) for p in prototypes], dim=1)
    F.cross_entropy(cosine / 0.1, labels, ignore_index=IGNORE).backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_a_pixel_of_zeros_has_a_finite_gradient():
    x = torch.zeros(1, 4, 1, 2, requires_grad=True)
    prototype_loss(x, torch.tensor([[[0, 1]]]), torch.eye(2, 4), torch.ones(2, dtype=torch.bool), 1.0).backward()
    assert x.grad.isfinite().all()


def test_the_prototypes_take_in_all_views_before_the_loss():
    """A class that only the second view has is a prototype already for the first."""
    memory = Prototypes(2, 2)
    first = pixels([1.0, 0.0]).requires_grad_(), torch.tensor([[[0]]])
    second = pixels([0.0, 2.0]).requires_grad_(), torch.tensor([[[1]]])
    for view in (first, second):
        memory.add_pixels(*view)
    loss = prototypes_loss(memory, [first, second], 1.0)
    assert loss.item() == pytest.approx(2 * math.log(1 + math.exp(-1)))
    assert memory.means().tolist() == [[1, 0], [0, 2]]
    assert not memory.means().requires_grad


def test_mean_cross_entropy_is_over_labeled_pixels():
    logits = torch.zeros(1, 2, 2, 2, requires_grad=True)
    labels = torch.tensor([[[0, IGNORE], [IGNORE, 1]]])
    assert mean_cross_entropy(logits, labels).item() == pytest.approx(math.log(2))
    assert mean_cross_entropy(logits, labels, torch.full((1, 2, 2), 0.5)).item() == pytest.approx(math.log(2) / 2)
    nothing = mean_cross_entropy(logits, torch.full((1, 2, 2), IGNORE))
    nothing.backward()
    assert nothing == 0
    assert not logits.grad.any()


def test_target_labels_look_at_the_logit_not_at_its_probability():
    sure_but_small, unsure_but_large = [-9.0, 0.89], [0.9, 0.89]
    labels = target_labels(pixels(sure_but_small, unsure_but_large), 0.9)
    assert labels.tolist() == [[[IGNORE, 0]]]


def test_thresholds_by_hand():
    """Ten confidences of class 0 from 0.05 to 0.95, two of class 1 at 0.99, none of class 2."""
    confidence = torch.tensor([0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95, 0.99, 0.99])
    labels = torch.tensor([0] * 10 + [1] * 2)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    counts = count_confidences(confidence[order], labels[order], 3)
    assert counts.sum(1).tolist() == [10, 2, 0]
    # Six of ten lie below 0.65.
    assert class_thresholds(counts, limit=0.9, share=0.6).tolist() == pytest.approx([0.65, 0.9, 0.9], abs=1.1 / BINS)
    assert class_thresholds(counts, limit=1.0, share=1.0).tolist() == pytest.approx([0.95, 0.99, 1.0], abs=1.1 / BINS)
    assert class_thresholds(counts, limit=0.9, share=0.0).tolist() == pytest.approx([0.05, 0.9, 0.9], abs=1.1 / BINS)


def test_thresholds_equal_the_sorted_quantile():
    g = torch.Generator().manual_seed(3)
    confidence, labels = torch.rand(5000, generator=g) ** 0.2, torch.randint(0, 4, (5000,), generator=g)
    found = class_thresholds(count_confidences(confidence, labels, 4), limit=0.93, share=0.6)
    for c in range(4):
        ascending = confidence[labels == c].sort().values
        expected = min(0.93, ascending[int(len(ascending) * 0.6)].item())
        assert found[c].item() == pytest.approx(expected, abs=1.1 / BINS)


def test_a_confidence_of_one_falls_into_the_last_bin():
    counts = count_confidences(torch.tensor([1.0, 0.0]), torch.tensor([1, 0]), 2)
    assert counts[1, -1] == 1
    assert counts[0, 0] == 1


def random_images(seed, num=2):
    g = torch.Generator().manual_seed(seed)
    colors = F.interpolate(torch.rand(num, 3, 4, 8, generator=g), scale_factor=4, mode="bilinear")
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (MEAN, STD))
    return (colors * 255 - mean) / std


def generators(*seeds):
    return [np.random.default_rng(seed) for seed in seeds]


def test_colors_change_image_by_image_and_stay_in_range():
    images = random_images(0, 3)
    changed = augment_colors(images, generators(1, 2, 3))
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (MEAN, STD))
    colors = (changed * std + mean) / 255
    assert colors.min() > -1e-5
    assert colors.max() < 1 + 1e-5
    assert ((changed - images).abs().mean((1, 2, 3)) > 0.05).all()
    torch.testing.assert_close(augment_colors(images[1:2], generators(2))[0], changed[1])


def test_one_in_five_images_turns_gray():
    images = random_images(1, 1).expand(300, -1, -1, -1)
    changed = augment_colors(images, generators(*range(300)))
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (MEAN, STD))
    colors = changed * std + mean
    gray = ((colors.amax(1) - colors.amin(1)).amax((1, 2)) < 1e-2).float().mean().item()
    assert gray == pytest.approx(0.2, abs=0.07)
