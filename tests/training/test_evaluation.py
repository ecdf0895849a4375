import numpy as np
import pytest
import torch
from torch import nn

from pgpc.classes import IGNORE_INDEX
from pgpc.training.evaluation import Metrics, evaluate


class Paints(nn.Module):
    """A model whose logits are its input's channels, at stride 4."""

    def __init__(self):
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(()))

    def forward(self, images):
        return images[:, :, ::4, ::4]


def test_iou_by_hand():
    """Class 0: 3 of 5; class 1: 2 of 4; class 2 is nowhere."""
    metrics = Metrics(np.array([[3, 1, 0], [1, 2, 0], [0, 0, 0]]))
    assert metrics.iou[:2].tolist() == pytest.approx([60.0, 50.0])
    assert np.isnan(metrics.iou[2])
    assert metrics.miou == pytest.approx(55.0)
    assert "IoU/2" not in metrics.as_dict()


def test_equals_a_plain_confusion_matrix_at_native_size():
    rng = np.random.default_rng(0)
    samples, labels, predictions = [], [], []
    for _ in range(3):
        image = torch.from_numpy(rng.standard_normal((1, 3, 32, 64))).float()
        label = rng.choice([0, 1, 2, IGNORE_INDEX], size=(48, 96)).astype(np.uint8)
        samples.append((image, label, "name"))
        logits = nn.functional.interpolate(image[:, :, ::4, ::4], (32, 64), mode="bilinear")
        predictions.append(nn.functional.interpolate(logits, (48, 96), mode="bilinear")[0].argmax(0).numpy())
        labels.append(label)
    metrics = evaluate(Paints(), samples, num_classes=3)
    labels, predictions = np.stack(labels), np.stack(predictions)
    for c in range(3):
        counted = labels != IGNORE_INDEX
        both = ((labels == c) & (predictions == c)).sum()
        either = (((labels == c) | (predictions == c)) & counted).sum()
        assert metrics.iou[c] == pytest.approx(100 * both / either)


def test_leaves_the_model_in_its_mode():
    model = Paints().train()
    evaluate(model, [], num_classes=3)
    assert model.training
