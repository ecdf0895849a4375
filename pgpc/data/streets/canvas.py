"""Drawing primitives of the street scenes: a camera, a canvas and upright panels.

A pinhole camera stands above a straight street. World coordinates are meters: x to the right of the camera,
y up from the ground, z forward. Everything upright is drawn on a `Panel`, a vertical plane of the world, and
image and label receive the same integer polygons, so that labels are exact.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from PIL import Image, ImageDraw

from pgpc.classes import IGNORE_INDEX
from pgpc.data.streets.palette import Color

Range = tuple[float, float]

NEAREST = 2.0
"""Distance in meters below which nothing is projected, which keeps coordinates finite."""
CIRCLE = tuple((math.cos(k * math.pi / 7), math.sin(k * math.pi / 7)) for k in range(14))


class Camera(NamedTuple):
    """A pinhole camera.

    Attributes:
        focal: Focal length in pixels.
        x: Column of the street's vanishing point in pixels.
        y: Row of the vanishing point in pixels.
        height: Height above the road in meters.
    """

    focal: float
    x: float
    y: float
    height: float

    def project(self, x: float, y: float, z: float) -> tuple[int, int]:
        """Return the column and row of a point of the world, whose z must be positive."""
        scale = self.focal / z
        return round(self.x + x * scale), round(self.y + (self.height - y) * scale)


class Canvas:
    """An image and its label map, painted together.

    A label of None paints the image only: details, shadows and reflections do not change what a thing is.

    Args:
        camera: The camera that looks at the street.
        height: The height of the image in pixels.
        width: Its width in pixels.
        haze: The color of the air, and the distance in meters at which half of the contrast is lost.
    """

    def __init__(self, camera: Camera, height: int, width: int, haze: tuple[Color, float]) -> None:
        self.camera = camera
        self.image = Image.new("RGB", (width, height))
        self.labels = Image.new("L", (width, height), IGNORE_INDEX)
        self._paint = ImageDraw.Draw(self.image, "RGBA")
        self._mark = ImageDraw.Draw(self.labels)
        self._haze, self._haze_distance = haze

    def lit(self, color: Color, light: float, z: float) -> Color:
        """Return a color (RGB or RGBA) as it looks under a light, seen through z meters of air."""
        air = z / (z + self._haze_distance)
        clear, (red, green, blue) = light * (1 - air), self._haze
        return (
            int(min(color[0] * clear + red * air, 255)),
            int(min(color[1] * clear + green * air, 255)),
            int(min(color[2] * clear + blue * air, 255)),
            *color[3:],
        )

    def shows(self, points: list[tuple[int, int]]) -> bool:
        """Return whether a polygon may touch the picture; much of a street is beside it."""
        columns = [x for x, _ in points]
        return max(columns) >= 0 and min(columns) < self.image.width

    def polygon(self, points: list[tuple[int, int]], color: Color, label: int | None = None) -> None:
        """Fill a polygon of pixels."""
        self._paint.polygon(points, fill=color)
        if label is not None:
            self._mark.polygon(points, fill=label)

    def outline(self, points: list[tuple[int, int]], color: Color, label: int, width: int) -> None:
        """Draw the outline of a polygon, `width` pixels wide."""
        self._paint.line([*points, points[0]], fill=color, width=width)
        self._mark.line([*points, points[0]], fill=label, width=width)

    def ground(self, x0: float, x1: float, z0: float, z1: float, color: Color, label: int | None = None) -> None:
        """Fill the rectangle x0..x1, z0..z1 of the ground, in meters."""
        project = self.camera.project
        points = [project(x0, 0, z0), project(x0, 0, z1), project(x1, 0, z1), project(x1, 0, z0)]
        self.polygon(points, self.lit(color, 1, (z0 + min(z1, 60)) / 3), label)


class Panel(NamedTuple):
    """A vertical plane: (u, v) is u meters along (dx, dz) from the foot (x, z), and v meters above ground.

    Attributes:
        canvas: Canvas that is painted on.
        x: Place of the foot, in meters to the right of the camera.
        z: Distance of the foot in meters.
        dx: Direction of u along x.
        dz: Direction of u along z.
        light: Brightness of what is painted on it.
    """

    canvas: Canvas
    x: float
    z: float
    dx: float = 1.0
    dz: float = 0.0
    light: float = 1.0

    def points(self, corners: Sequence[Range]) -> list[tuple[int, int]]:
        """Return the columns and rows of corners (u, v)."""
        (focal, center, horizon, height), x, z, dx, dz = self.canvas.camera, self.x, self.z, self.dx, self.dz
        points = []
        for u, v in corners:  # `Camera.project`, written out: most of the time of a scene is spent here
            scale = focal / (z + u * dz)
            points.append((round(center + (x + u * dx) * scale), round(horizon + (height - v) * scale)))
        return points

    def scale(self) -> float:
        """Return the number of pixels per meter at the foot."""
        return self.canvas.camera.focal / max(self.z, NEAREST)

    def polygon(self, corners: Sequence[Range], color: Color, label: int | None = None) -> None:
        """Fill a polygon of corners (u, v)."""
        points = self.points(corners)
        if self.canvas.shows(points):
            self.canvas.polygon(points, self.canvas.lit(color, self.light, self.z), label)

    def rect(self, u0: float, v0: float, u1: float, v1: float, color: Color, label: int | None = None) -> None:
        """Fill a rectangle between two corners."""
        self.polygon(((u0, v0), (u0, v1), (u1, v1), (u1, v0)), color, label)

    def disc(self, u: float, v: float, r: float, color: Color, label: int | None = None, tall: float = 1) -> None:
        """Fill a disc of radius r, `tall` times as high as wide."""
        self.polygon([(u + r * c, v + r * s * tall) for c, s in CIRCLE], color, label)

    def ring(self, u: float, v: float, r: float, color: Color, label: int) -> None:
        """Draw a spoked wheel: see-through in the image, whole in the label."""
        points = self.points([(u + r * c, v + r * s) for c, s in CIRCLE])
        self.canvas.polygon(points, (*color, 70), label)
        tyre = self.canvas.lit(color, self.light, self.z)
        self.canvas.outline(points, tyre, label, max(1, round(0.07 * self.scale())))

    def stroke(
        self, u0: float, v0: float, u1: float, v1: float, width: float, color: Color, label: int | None = None
    ) -> None:
        """Draw a straight bar, `width` meters thick."""
        du, dv = u1 - u0, v1 - v0
        half = width / 2 / max(math.sqrt(du * du + dv * dv), 1e-6)
        nu, nv = -dv * half, du * half
        self.polygon(((u0 + nu, v0 + nv), (u1 + nu, v1 + nv), (u1 - nu, v1 - nv), (u0 - nu, v0 - nv)), color, label)

    def moved(self, other: Panel, distance: float) -> Panel:
        """Return this panel shifted by a distance in meters along the direction of another one."""
        return self._replace(x=self.x + other.dx * distance, z=self.z + other.dz * distance)
