import pytest
import torch

from pgpc.bases.teacher_forward import TargetPixels
from pgpc.classes import IGNORE_INDEX
from pgpc.diagnosis.counts import PixelCounts


def test_shares_of_pseudo_labels_by_hand():
    """Of six pixels class 0 gets three, one of which is unlabeled and one wrong."""
    counts = PixelCounts(3)
    counts.add_labels(torch.tensor([[[0, 0, 0], [1, 1, 2]]]), torch.tensor([[[0, 1, IGNORE_INDEX], [1, 1, 1]]]))
    assert counts.pixels == 6
    assert counts.of("predicted").tolist() == [3, 2, 1]
    assert counts.of("labeled").tolist() == [1, 4, 0]
    assert counts.share("right", "judged") == [50, 100, 0]


def test_without_labels_nothing_is_judged():
    counts = PixelCounts(3)
    counts.add_labels(torch.tensor([[[0, 0, 0], [1, 1, 2]]]), None)
    assert counts.share("right", "judged") == [None] * 3


def test_anchors_negatives_and_cosines_by_hand():
    """Three pixels: a right anchor of 0, a wrong one of 1, and one that is no anchor; class 2 has no prototype."""
    logits = torch.tensor([[3.0, 2.0, 1.0], [1.0, 3.0, 2.0], [2.0, 1.0, 3.0]]).T.view(1, 3, 1, 3)
    pixels = TargetPixels(
        hidden=torch.zeros(1, 2, 1, 3),
        logits=logits,
        labels=torch.tensor([[[0, 1, 2]]]),
        usable=torch.tensor([[[True, True, False]]]),
        reliable=torch.tensor([[[True, True, False]]]),
    )
    features = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]).T.view(1, 2, 1, 3)
    prototypes = torch.tensor([[0.5, 0.0], [0.0, 0.25], [0.0, 0.0]])
    counts = PixelCounts(3, (1, 2, 8))
    counts.add_anchors(pixels, features, prototypes, torch.tensor([[[0, 2, 1]]]))
    assert counts.ranks == (1, 2)
    assert counts.share("anchors_right", "anchors_judged") == [100, 0, None]
    assert counts.of("anchors").tolist() == [1, 1, 0]
    assert counts.of("compared").tolist() == [1, 1, 0]
    assert counts.of("own").tolist() == pytest.approx([1.0, 0.8, 0.0])
    assert counts.of("other").tolist() == pytest.approx([0.0, 0.6, 0.0])
    # r = 1: pixel 0 is a negative of 1 and 2, pixel 1 of 0 and 2, and truly of class 2; r = 2: of the last one each.
    assert counts.share("false negatives 1", "negatives 1") == [0, 0, 50]
    assert counts.share("false negatives 2", "negatives 2") == [0, None, 0]
