"""The camera's projection and the drawing primitives."""

from __future__ import annotations

import numpy as np
import pytest

from pgpc.data.streets.canvas import Camera, Canvas, Panel
from tests.helpers.streets import empty_canvas

CAMERA = Camera(focal=100.0, x=50.0, y=40.0, height=1.5)


def test_a_projection_by_hand() -> None:
    assert CAMERA.project(0, 1.5, 10) == (50, 40)  # at the height of the camera: on the horizon
    assert CAMERA.project(2, 0, 10) == (70, 55)
    assert CAMERA.project(2, 0, 20) == (60, 48)  # 47.5, rounded to even


def test_a_panel_projects_as_the_camera_does() -> None:
    panel = Panel(Canvas(CAMERA, 80, 100, ((200, 200, 200), 300.0)), x=-1.0, z=8.0, dx=0.6, dz=0.8)
    corners = [(0.0, 0.0), (2.0, 1.0), (3.5, 2.25)]
    assert panel.points(corners) == [CAMERA.project(-1 + 0.6 * u, v, 8 + 0.8 * u) for u, v in corners]
    assert panel.scale() == 100 / 8
    moved = panel.moved(Panel(panel.canvas, 0, 0, 0.0, 1.0), 2.0)
    assert (moved.x, moved.z, moved.dx) == (-1.0, 10.0, 0.6)


def test_haze_pales_what_is_far() -> None:
    canvas = Canvas(CAMERA, 80, 100, ((200, 100, 0), 300.0))
    assert canvas.lit((10, 10, 10), 1.0, 0.0) == (10, 10, 10)
    assert canvas.lit((10, 10, 10), 1.0, 300.0) == (105, 55, 5)  # half of the contrast is lost
    assert canvas.lit((10, 10, 10, 90), 2.0, 0.0) == (20, 20, 20, 90)


@pytest.mark.parametrize("label", [3, None])
def test_a_label_of_none_paints_the_image_only(label: int | None) -> None:
    canvas = empty_canvas()
    before = np.array(canvas.labels)
    Panel(canvas, 0.0, 12.0).rect(0, 0, 2, 2, (9, 9, 9), label)
    painted = (np.array(canvas.image) != (255, 0, 255)).any(axis=2)
    changed = np.array(canvas.labels) != before
    assert painted.any() and np.array_equal(changed, painted if label is not None else np.zeros_like(painted))
