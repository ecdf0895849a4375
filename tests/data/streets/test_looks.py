"""Texture, light and optics of the two domains."""

from __future__ import annotations

import numpy as np

from pgpc.data.streets.looks import camera_look, game_look, texture, to_bytes
from pgpc.data.streets.palette import SKY, VEGETATION


def test_gray_levels_are_rounded_and_limited() -> None:
    levels = np.array([-3.0, 0.4, 0.5, 254.6, 300.0], dtype=np.float32)
    assert to_bytes(levels).tolist() == [0, 0, 1, 255, 255]


def test_leaves_are_rougher_than_the_sky_and_real_surfaces_have_coarse_texture_too() -> None:
    labels = np.full((64, 64), SKY, dtype=np.uint8)
    labels[:, 32:] = VEGETATION
    pattern = texture(np.random.default_rng(0), labels, fine=True)
    assert pattern.shape == (64, 64, 1) and pattern.dtype == np.float32
    assert pattern[:, 32:].std() > 5 * pattern[:, :32].std()
    game = texture(np.random.default_rng(0), labels, fine=False)[..., 0]
    assert np.array_equal(game[::2], game[1::2])  # one scale, of two pixels
    assert not np.array_equal(pattern[::2], pattern[1::2])


def test_the_camera_is_duller_and_noisier_than_the_game() -> None:
    image = np.tile(np.array([200, 120, 60], dtype=np.float32), (64, 64, 1))
    game, camera = (look(image, np.random.default_rng(1)) for look in (game_look, camera_look))
    assert game.dtype == camera.dtype == np.float32 and game.shape == camera.shape == image.shape
    assert np.ptp(game, axis=2).mean() > 1.5 * np.ptp(camera, axis=2).mean()
    noise = [np.abs(np.diff(look[..., 1], axis=1)).mean() for look in (game, camera)]
    assert noise[1] > noise[0]
