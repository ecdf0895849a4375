import numpy as np
import pytest
import torch

from pgpc.classes import IGNORE_INDEX, classes_from_json
from pgpc.evaluation.selected_pixels import WAYS, accuracy, selected

THREE = classes_from_json(
    [
        {"name": "red", "colour": [255, 0, 0]},
        {"name": "green", "colour": [0, 255, 0]},
        {"name": "blue", "colour": [0, 0, 255]},
    ]
)


def random_logits(height=20, width=30):
    return 3 * torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.75, 1.0])
def test_each_way_selects_its_share(share):
    """The global ways of all pixels; the class-wise ones of each predicted class, to the nearest pixel."""
    logits = random_logits()
    ids = logits[0].argmax(0).numpy()
    masks = selected(logits, share)
    assert list(masks) == list(WAYS) and len(WAYS) == 4
    for name, mask in masks.items():
        assert mask.shape == (20, 30) and mask.dtype == bool
        if name.startswith("global"):
            assert mask.sum() == round(share * 600)
        else:
            for k in range(3):
                assert abs(mask[ids == k].sum() - share * (ids == k).sum()) <= 0.5


def test_selection_by_hand():
    """Four pixels; the first two are of class 0, the second of which is surer; global takes the surest two of all."""
    logits = torch.tensor([[3.0, 9.0, 0.0, 0.0], [0.0, 0.0, 2.0, 1.0], [0.0, 0.0, 0.0, 0.0]]).view(1, 3, 1, 4)
    for name, mask in selected(logits, 0.5).items():
        assert mask[0].tolist() == ([True, True, False, False] if "global" in name else [False, True, True, False])


def test_entropy_and_confidence_can_disagree():
    """Probabilities .5 .5 0 have less entropy, .52 .24 .24 more confidence."""
    logits = torch.tensor([[0.5, 0.52], [0.5, 0.24], [1e-9, 0.24]]).log().view(1, 3, 1, 2)
    masks = selected(logits, 0.5)
    assert masks["global entropy"][0].tolist() == [True, False]
    assert masks["global confidence"][0].tolist() == [False, True]


def test_accuracy_counts_labeled_pixels_of_the_mask():
    ids, label = np.array([[0, 1, 2, 2]]), np.array([[0, 0, 2, IGNORE_INDEX]])
    assert accuracy(ids, label, np.array([[True, True, True, True]])) == pytest.approx(200 / 3)
    assert accuracy(ids, label, np.array([[True, False, False, True]])) == 100
    assert np.isnan(accuracy(ids, label, np.array([[False, False, False, True]])))
