import pytest
import torch

from pgpc.adaptation.feature_distance import downscale_labels, feature_distance
from pgpc.classes import IGNORE_INDEX, THING_CLASSES


def distance(features, initial, labels):
    return feature_distance(features, initial, labels, things=THING_CLASSES, share=0.75, num_classes=19)


def test_downscaling_by_hand():
    labels = torch.tensor([[[1, 1, 2, 2, IGNORE_INDEX, IGNORE_INDEX], [1, 3, 2, 4, IGNORE_INDEX, IGNORE_INDEX]]])
    assert downscale_labels(labels, (1, 3), 0.75, 19).tolist() == [[[1, 2, IGNORE_INDEX]]]
    assert downscale_labels(labels, (1, 3), 0.76, 19).tolist() == [[[IGNORE_INDEX, IGNORE_INDEX, IGNORE_INDEX]]]


def test_cells_that_do_not_divide_the_image_are_labeled_where_they_lie():
    """Patches of 14: 37 cells of 13.8 pixels in 512. A thing in the right half labels the cells of the right half."""
    labels = torch.zeros(1, 512, 512, dtype=torch.long)
    labels[..., 256:] = 11
    coarse = downscale_labels(labels, (37, 37), 0.75, 19)
    assert coarse.shape == (1, 37, 37)
    assert coarse[0, 0].tolist() == [0] * 18 + [IGNORE_INDEX] + [11] * 18


def test_distance_by_hand_on_thing_cells_only():
    features = torch.zeros(1, 2, 1, 2)
    initial = torch.tensor([[[[3.0, 100.0]], [[4.0, 100.0]]]])
    labels = torch.cat([torch.full((1, 32, 32), 11), torch.full((1, 32, 32), 0)], dim=2)  # person, road
    assert distance(features, initial, labels).item() == pytest.approx(5.0)


def test_no_thing_is_exactly_zero_with_a_graph_and_equal_features_have_no_nan():
    features = torch.randn(1, 2, 2, 2, requires_grad=True)
    for labels in (torch.zeros(1, 64, 64, dtype=torch.long), torch.full((1, 64, 64), 11)):
        loss = distance(features, features.detach().clone(), labels)
        (gradient,) = torch.autograd.grad(loss, features)
        assert loss.item() == 0.0
        assert not gradient.any()


def test_reference_figures(golden):
    """The published implementation's value on the same features and labels."""
    expected = golden.pieces["feature_distance"]
    student, initial = (golden.normal(f"fd/{k}", (2, 256, 4, 4)) for k in ("student", "imagenet"))
    label = golden.labels("fd/label", (2, 128, 128))
    label[:, :64, :64] = 11
    label[:, :8, :64] = 0
    label[0, 64:96, 64:96] = 17
    label[1, 96:, 96:] = 255
    label[1, 64:72, 32:64] = 6
    assert (
        downscale_labels(label, tuple(n // 32 for n in label.shape[1:]), 0.75, 19).tolist()
        == expected["downscaled_label"]
    )
    assert expected["lambda"] * distance(student, initial, label).item() == pytest.approx(expected["value"], rel=1e-5)
