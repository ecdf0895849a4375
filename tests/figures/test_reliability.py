import numpy as np
import pytest
import torch

from pgpc.evaluation.calibration import Calibration
from pgpc.figures.reliability import draw_reliability


def test_bars_are_the_counts():
    calibration = Calibration(num_bins=4)
    calibration.add(torch.tensor([0.3, 0.9, 0.9, 0.9]), torch.tensor([False, True, True, False]))
    figure = draw_reliability(calibration, "student of runs/a")
    above, below = figure.axes
    right, gaps = (container.patches for container in above.containers)
    assert [bar.get_height() for bar in right] == pytest.approx([0, 2 / 3])
    assert [bar.get_y() + bar.get_height() for bar in gaps] == pytest.approx([0.3, 0.9])
    assert np.allclose([bar.get_x() + bar.get_width() / 2 for bar in right], [0.375, 0.875])
    assert [bar.get_height() for bar in below.patches] == [0, 0.25, 0, 0.75]
    assert [text.get_text() for text in above.texts] == [f"ECE {calibration.ece:.2f} %", "student of runs/a"]


def test_nothing_labeled_is_said():
    figure = draw_reliability(Calibration(), "nothing")
    assert "no labeled pixel" in {text.get_text() for text in figure.axes[0].texts}
