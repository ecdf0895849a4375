import numpy as np
import pytest
import torch
from torch import nn

from pgpc.classes import IGNORE_INDEX, classes_from_json
from pgpc.data.config import EvaluationConfig
from pgpc.evaluation.scoring import evaluate
from tests.benchmarks.operators import Operators
from tests.helpers.models import Counts, Paints, windows

TWO, THREE = (classes_from_json(None, n) for n in (2, 3))


def plain_scores(labels, predictions, num_classes):
    """IoU and accuracy per class, pixel by pixel over all images; NaN where there is nothing to divide by."""
    label, predicted = (np.concatenate([ids.ravel() for ids in images]) for images in (labels, predictions))
    label, predicted = label[label != IGNORE_INDEX], predicted[label != IGNORE_INDEX]
    iou, accuracy = [], []
    for c in range(num_classes):
        both = np.count_nonzero((label == c) & (predicted == c))
        either, labeled = np.count_nonzero((label == c) | (predicted == c)), np.count_nonzero(label == c)
        iou.append(100 * both / either if either else np.nan)
        accuracy.append(100 * both / labeled if labeled else np.nan)
    return iou, accuracy


@pytest.mark.parametrize("window", [None, 32])
def test_equals_a_plain_mean_of_iou_at_native_size(window):
    """Odd sizes, larger and smaller than the image that is segmented; ignored pixels; class 3 is never a label, class 4
    neither label nor prediction; one image without any label."""
    rng = np.random.default_rng(0)
    evaluation = EvaluationConfig() if window is None else windows(window, 24)
    samples, predictions = [], []
    for size, ids in (((47, 95), [0, 1, 2, 255]), ((33, 61), [0, 1]), ((20, 31), [255]), ((101, 7), [0, 2, 255])):
        image = torch.from_numpy(rng.standard_normal((1, 5, 36, 68))).float()
        image[:, 4] = -10
        samples.append((image, rng.choice(ids, size=size).astype(np.uint8), "name"))
        total, count = torch.zeros(1, 5, 36, 68), torch.zeros(36, 68)
        for top in (0,) if window is None else (0, 4):
            for left in (0,) if window is None else (0, 24, 36):
                part = image[:, :, top : top + (window or 36), left : left + (window or 68)]
                logits = nn.functional.interpolate(part[:, :, ::4, ::4], part.shape[2:], mode="bilinear")
                total[:, :, top : top + part.shape[2], left : left + part.shape[3]] += logits
                count[top : top + part.shape[2], left : left + part.shape[3]] += 1
        predictions.append(nn.functional.interpolate(total / count, size, mode="bilinear")[0].argmax(0).numpy())
    metrics = evaluate(Paints(), samples, classes_from_json(None, 5), evaluation=evaluation)
    labels = [label for _, label, _ in samples]
    iou, accuracy = plain_scores(labels, predictions, 5)
    np.testing.assert_allclose(metrics.iou, iou, rtol=1e-12)
    np.testing.assert_allclose(metrics.recall, accuracy, rtol=1e-12)
    assert metrics.miou == pytest.approx(np.nanmean(iou), rel=1e-12)
    assert metrics.confusion.sum() == sum((label != IGNORE_INDEX).sum() for label in labels)
    assert iou[3] == 0 and np.isnan(iou[4])


@pytest.mark.parametrize(("label", "classes"), [(2, TWO), (254, THREE), (0, TWO)])
def test_ids_that_are_no_class_are_refused(label, classes):
    """Of the labels, and in the last case of a model with more classes."""
    image = torch.zeros(1, 3, 32, 32)
    image[:, 2] = 1
    labels = np.full((32, 32), label, dtype=np.uint8)
    with pytest.raises(ValueError, match="must be ids below .* those of 'street 7' have others"):
        evaluate(Paints(), [(image, labels, "street 7")], classes)


def test_scores_are_those_of_the_windows():
    """The constant wins by hand in the first column of 32 of 128."""
    image = torch.tensor([0.0, 3.0, 12.0, 0.0]).repeat_interleave(32).expand(1, 3, 64, 128)
    label = np.ones((64, 128), dtype=np.uint8)
    metrics = evaluate(Counts(1.6), [(image, label, "name")], TWO, evaluation=windows(64, 32))
    assert metrics.confusion.tolist() == [[0, 0], [64 * 96, 64 * 32]]
    assert evaluate(Counts(1.6), [(image, label, "name")], TWO).confusion.tolist() == [[0, 0], [64 * 128, 0]]


def test_leaves_the_model_in_its_mode():
    model = Paints().train()
    evaluate(model, [], THREE)
    assert model.training


def test_the_host_waits_for_no_image():
    class Constant(nn.Module):
        align_corners = False

        def __init__(self):
            super().__init__()
            self.bias = nn.Parameter(torch.arange(19.0))

        def forward(self, images):
            return self.bias[:, None, None].expand(len(images), -1, 4, 4)

    sample = (torch.zeros(1, 3, 16, 16), np.zeros((16, 16), np.uint8), "a")
    waits = []
    for number in (1, 4):
        with Operators() as found:
            evaluate(Constant(), [sample] * number)
        waits.append(found.waits.total())
    assert waits[0] == waits[1] == 1, "once, at the end"
