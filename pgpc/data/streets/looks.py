"""The looks of the two domains: surface texture, then light, color, optics and noise."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from pgpc.data.streets.palette import BUILDING, ROAD, SIDEWALK, SKY, TERRAIN, VEGETATION, WALL, Dice

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

# Strength of each surface's texture, in gray levels of the source; surfaces that are not named get _PLAIN.
_ROUGHNESS = {ROAD: 7, SIDEWALK: 9, BUILDING: 8, WALL: 12, VEGETATION: 22, TERRAIN: 16, SKY: 2}
_PLAIN = 4


def to_bytes(image: Floats) -> Bytes:
    """Round gray levels and limit them to 0..255, as uint8."""
    rounded: Bytes = np.clip(np.floor(image + np.float32(0.5)), 0, 255).astype(np.uint8)
    return rounded


def _noise(rng: np.random.Generator, height: int, width: int, cell: int) -> Floats:
    """Draw triangular noise in -1..1 with one value per ``cell`` pixels, ``(height, width)`` float32."""
    rows, columns = -(-height // cell), -(-width // cell)
    pair = rng.integers(0, 128, (2, rows, columns), dtype=np.int16)
    values: Floats = (pair[0] - pair[1]).astype(np.float32) / np.float32(127)
    return values if cell == 1 else values.repeat(cell, 0).repeat(cell, 1)[:height, :width]


def texture(rng: np.random.Generator, labels: Bytes, *, fine: bool) -> Floats:
    """Draw the texture of all surfaces.

    Args:
        rng: The generator that the texture is drawn with.
        labels: ``(H, W)`` train ids, which decide how strong it is.
        fine: True for the four scales of real surfaces, False for the one of the game.

    Returns:
        ``(H, W, 1)`` gray levels to add to the image.
    """
    strength = np.full(256, _PLAIN, dtype=np.float32)
    for label, value in _ROUGHNESS.items():
        strength[label] = value
    height, width = labels.shape
    scales = ((1, 0.7), (2, 0.7), (4, 0.6), (8, 0.6)) if fine else ((2, 0.7),)
    pattern = np.zeros((height, width), dtype=np.float32)
    for cell, weight in scales:
        pattern += np.float32(weight) * _noise(rng, height, width, cell)
    strengthened: Floats = (pattern * strength[labels])[..., None]
    return strengthened


def _saturate(image: Floats, amount: float) -> Floats:
    gray = (image[..., 0] * np.float32(0.3) + image[..., 1] * np.float32(0.59) + image[..., 2] * np.float32(0.11))[
        ..., None
    ]
    saturated: Floats = gray + (image - gray) * np.float32(amount)
    return saturated


def game_look(image: Floats, rng: np.random.Generator) -> Floats:
    """Apply the look of a game engine, ``(H, W, 3)`` gray levels: clean, saturated, warm and contrasty."""
    dice = Dice(rng)
    image = _saturate(image, dice.between(1.15, 1.4))
    image = (image - np.float32(118)) * np.float32(dice.between(1.05, 1.2)) + np.float32(dice.between(112, 130))
    image = image * np.array([1.03, 1.0, 0.95], dtype=np.float32)
    height, width = image.shape[:2]
    noisy: Floats = image + _noise(rng, height, width, 1)[..., None] * np.float32(1.5)
    return noisy


def camera_look(image: Floats, rng: np.random.Generator) -> Floats:
    """Apply the look of a real camera, ``(H, W, 3)`` gray levels.

    The light is dull, the tint greenish, and there is glare at times; then come lens blur, vignetting and sensor noise.
    """
    dice = Dice(rng)
    height, width = image.shape[:2]
    image = _saturate(image, dice.between(0.35, 0.65))
    image = (image - np.float32(120)) * np.float32(dice.between(0.62, 0.88)) + np.float32(dice.between(84, 124))
    tint = [dice.between(0.90, 0.99), dice.between(0.99, 1.05), dice.between(0.91, 1.0)]
    image = image * np.array(tint, dtype=np.float32)
    rows = np.arange(height, dtype=np.float32)[:, None]
    columns = np.arange(width, dtype=np.float32)[None, :]
    if dice.chance(0.25):
        dy = (rows - np.float32(height * dice.between(0, 0.35))) / np.float32(height * 0.3)
        dx = (columns - np.float32(width * dice.between(0.1, 0.9))) / np.float32(height * 0.3)
        image = image + (np.float32(dice.between(50, 110)) / (1 + dx * dx + dy * dy))[..., None]
    blurred = Image.fromarray(to_bytes(image)).filter(ImageFilter.GaussianBlur(dice.between(0.45, 0.95)))
    image = np.array(blurred, dtype=np.float32)
    dy, dx = rows / np.float32(height / 2) - 1, columns / np.float32(width / 2) - 1
    image = image * (1 - np.float32(dice.between(0.08, 0.2)) * (dy * dy + dx * dx))[..., None]
    grain = (
        np.stack([_noise(rng, height, width, 1) for _ in range(3)], axis=-1)
        + 2 * _noise(rng, height, width, 1)[..., None]
    )
    grained: Floats = image + grain * np.float32(dice.between(2.0, 4.5))
    return grained
