"""Masked images."""

import numpy as np
import pytest
import torch

from pgpc.adaptation.masking import every_second, mask_blocks


def generators(num, seed=0):
    return [np.random.default_rng([seed, i]) for i in range(num)]


def test_whole_squares_become_the_mean_color_and_the_rest_stays():
    images = torch.rand(2, 3, 32, 64) + 1
    masked = mask_blocks(images, block=8, share=0.5, rngs=generators(2))
    squares = (masked == 0).reshape(2, 3, 4, 8, 8, 8).float().mean(dim=(1, 3, 5))  # (image, row, column)
    assert set(squares.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(masked[masked != 0], images[masked != 0])
    assert not torch.equal(squares[0], squares[1])


def test_the_share_is_that_of_masked_squares():
    masked = mask_blocks(torch.ones(4, 3, 128, 128), block=4, share=0.7, rngs=generators(4))
    assert (masked == 0).float().mean().item() == pytest.approx(0.7, abs=0.03)


def test_an_image_that_no_whole_number_of_squares_fits_is_covered():
    masked = mask_blocks(torch.ones(1, 3, 30, 50), block=8, share=0.5, rngs=generators(1))
    # round(30 / 8) x round(50 / 8) = 4 x 6 squares, the widest 8 x 9 pixels.
    assert masked.shape == (1, 3, 30, 50)
    changes = (masked[0, 0, :, 1:] != masked[0, 0, :, :-1]).any(0).nonzero().flatten() + 1
    assert set(changes.tolist()) <= {9, 17, 25, 34, 42}
    assert not mask_blocks(torch.ones(1, 3, 6, 6), block=64, share=1.0, rngs=generators(1)).any()


def test_every_second_image_comes_from_the_source_whatever_the_share_of_a_process():
    source, target = torch.zeros(4, 2), torch.ones(4, 2)
    whole = every_second(source, target, 0)
    assert whole[:, 0].tolist() == [0, 1, 0, 1]
    parts = [every_second(source[i : i + 1], target[i : i + 1], i) for i in range(4)]
    assert torch.equal(torch.cat(parts), whole)
