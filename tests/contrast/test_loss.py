import functools
import math

import pytest
import torch
from torch.nn import functional as F

from pgpc.contrast import info_nce
from tests.helpers import tensors


def published(anchors, positives, bank, index, temperature):
    """Eq. 5 as it is written: gather, cosine similarity, cross-entropy with the positive at 0, class by class."""
    losses = []
    for k in range(len(anchors)):
        negatives = bank[k][index[k]]  # (M, N, D)
        every = torch.cat([positives[k].expand(len(anchors[k]), 1, -1), negatives], dim=1)
        similarity = F.cosine_similarity(anchors[k][:, None], every, dim=2) / temperature
        losses.append(F.cross_entropy(similarity, torch.zeros(len(similarity), dtype=torch.long)))
    return torch.stack(losses).mean()


unit = functools.partial(tensors.unit, dtype=torch.double)


def test_by_hand():
    """Cosines 1 with the positive, 0 and -1 with the negatives, tau 0.5: -log(e^2 / (e^2 + e^0 + e^-2))."""
    anchor = torch.tensor([[[1.0, 0.0]]])
    bank = torch.tensor([[[0.0, 1.0], [-1.0, 0.0]]])
    loss = info_nce(anchor, anchor[:, 0], bank, torch.tensor([[[0, 1]]]), 0.5)
    assert loss.item() == pytest.approx(math.log(math.exp(2) + 1 + math.exp(-2)) - 2, abs=1e-6)


def test_equals_the_published_formulation_in_value_and_gradient():
    g = torch.Generator().manual_seed(1)
    anchors = unit(3, 5, 8, draws=g).requires_grad_()
    positives, bank = unit(3, 8, draws=g), unit(3, 11, 8, draws=g)
    index = torch.randint(11, (3, 5, 7), generator=g)
    ours, theirs = info_nce(anchors, positives, bank, index, 0.5), published(anchors, positives, bank, index, 0.5)
    torch.testing.assert_close(ours.double(), theirs, atol=1e-6, rtol=1e-6)
    # Cosine similarity normalizes the anchor once more, so only the part of the gradient along the sphere is defined.
    gradients = [torch.autograd.grad(loss, anchors)[0] for loss in (ours, theirs)]
    along = [g - (g * anchors).sum(-1, keepdim=True) * anchors for g in gradients]
    torch.testing.assert_close(along[0], along[1], atol=1e-6, rtol=1e-4)


def test_every_anchor_may_have_a_positive_of_its_own():
    g = torch.Generator().manual_seed(1)
    anchors, positives, bank = unit(3, 5, 8, draws=g), unit(3, 5, 8, draws=g), unit(3, 11, 8, draws=g)
    index = torch.randint(11, (3, 5, 7), generator=g)
    alone = [
        published(anchors[k : k + 1, [m]], positives[k : k + 1, m], bank[k : k + 1], index[k : k + 1, [m]], 0.5)
        for k in range(3)
        for m in range(5)
    ]
    ours = info_nce(anchors, positives, bank, index, 0.5)
    torch.testing.assert_close(ours.double(), torch.stack(alone).mean(), atol=1e-6, rtol=1e-6)
    same = positives[:, :1].expand(3, 5, 8)
    torch.testing.assert_close(
        info_nce(anchors, same, bank, index, 0.5), info_nce(anchors, same[:, 0], bank, index, 0.5)
    )


def test_is_unchanged_by_a_rotation_of_the_space():
    anchors, positives, bank = unit(2, 4, 6), unit(2, 6), unit(2, 9, 6)
    index = torch.randint(9, (2, 4, 5))
    rotation = torch.linalg.qr(torch.randn(6, 6, dtype=torch.double)).Q
    torch.testing.assert_close(
        info_nce(anchors, positives, bank, index, 0.5),
        info_nce(anchors @ rotation, positives @ rotation, bank @ rotation, index, 0.5),
    )


def test_repeating_every_negative_lowers_the_odds_as_a_second_copy_does():
    anchors, positives, bank = unit(1, 3, 6), unit(1, 6), unit(1, 9, 6)
    index = torch.randint(9, (1, 3, 5))
    once, twice = (info_nce(anchors, positives, bank, i, 0.5) for i in (index, index.repeat(1, 1, 2)))
    assert twice > once


def test_stays_finite_in_half_precision_and_at_low_temperature():
    anchors = unit(2, 4, 6).half().requires_grad_()
    loss = info_nce(anchors, unit(2, 6).half(), unit(2, 9, 6).half(), torch.randint(9, (2, 4, 5)), 0.01)
    loss.backward()
    assert loss.dtype == torch.float32
    assert loss.isfinite()
    assert anchors.grad.isfinite().all()


@pytest.mark.parametrize(
    ("shapes", "temperature"),
    [
        (((2, 4, 6), (2, 5), (2, 9, 6)), 0.5),
        (((2, 4, 6), (2, 3, 6), (2, 9, 6)), 0.5),
        (((2, 4, 6), (2, 6), (3, 9, 6)), 0.5),
        (((2, 4, 6), (2, 6), (2, 9, 6)), 0.0),
    ],
)
def test_bad_arguments_are_refused(shapes, temperature):
    with pytest.raises(ValueError, match=r"but got"):
        info_nce(*(torch.zeros(s) for s in shapes), torch.zeros(2, 4, 5, dtype=torch.long), temperature)
