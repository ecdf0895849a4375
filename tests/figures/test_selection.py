import numpy as np
import pytest
import torch

from pgpc.classes import classes_from_json
from pgpc.evaluation.selected_pixels import WAYS, accuracy, selected
from pgpc.figures.selection import selection_figure

THREE = classes_from_json(
    [
        {"name": "red", "colour": [255, 0, 0]},
        {"name": "green", "colour": [0, 255, 0]},
        {"name": "blue", "colour": [0, 0, 255]},
    ]
)


def random_logits(height=20, width=30):
    return 3 * torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(0))


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def legend(figure):
    return {h.get_label(): tuple(h.get_facecolor()[:3]) for h in figure.legends[0].legend_handles}


@pytest.mark.parametrize("labeled", [True, False])
def test_figure_states_shares_and_accuracies(labeled):
    logits = random_logits()
    ids = logits[0].argmax(0).numpy().astype(np.uint8)
    label = ids.copy()
    label[:10] = (label[:10] + 1) % 3  # the upper half is wrong
    photo = np.zeros((20, 30, 3), dtype=np.uint8)
    figure = selection_figure(photo, logits, label if labeled else None, 0.5, THREE, of="teacher")
    shown = texts(figure)
    assert len(figure.axes) == (8 if labeled else 6)
    assert {"image", "prediction of the teacher", *WAYS} <= set(shown)
    assert any("50.0 % right" in text for text in shown) == labeled
    expected = f"50.0 % of pixels, {accuracy(ids, label, selected(logits, 0.5)['global entropy']):.1f} % right"
    assert (expected if labeled else "50.0 % of pixels") in shown
    assert legend(figure) == {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1)}
    assert ("ground truth" in shown) == labeled
