"""Changes of colors: what each does by hand, and that images are changed by themselves."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from pgpc.adaptation.photometric import STRONG, WEAK, Photometric, change_colors, jitter, to_gray

NEVER = dataclasses.replace(STRONG, jittered=0.0, gray=0.0, blurred=0.0)


def pictures(num=2):
    return torch.randn(num, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def rngs(num=2, seed=0):
    return [np.random.default_rng([seed, i]) for i in range(num)]


def test_nothing_is_changed_where_nothing_acts_but_what_no_picture_has():
    images = change_colors(pictures(), NEVER, rngs())
    torch.testing.assert_close(change_colors(images, NEVER, rngs()), images, atol=1e-5, rtol=1e-5)


def test_brightness_contrast_and_saturation_are_factors_about_black_the_mean_gray_and_gray():
    image = torch.tensor([0.2, 0.4, 0.6]).view(3, 1, 1).expand(3, 2, 2).clone()
    image[:, 0, 0] = 0.5
    still = {"brightness": 1.0, "contrast": 1.0, "saturation": 1.0, "hue": 0.0, "order": np.arange(4)}
    torch.testing.assert_close(jitter(image, **{**still, "brightness": 1.2}), image * 1.2)
    gray = (torch.tensor([0.299, 0.587, 0.114]) @ image.flatten(1)).view(1, 2, 2)
    contrasted = gray.mean() + 0.5 * (image - gray.mean())
    torch.testing.assert_close(jitter(image, **{**still, "contrast": 0.5}), contrasted, atol=1e-3, rtol=0)
    torch.testing.assert_close(
        jitter(image, **{**still, "saturation": 0.5}), gray + 0.5 * (image - gray), atol=1e-3, rtol=0
    )
    torch.testing.assert_close(to_gray(image), gray.expand(3, 2, 2), atol=1e-3, rtol=0)


def test_each_image_has_draws_of_its_own_which_depend_on_no_other():
    images = pictures(1).expand(2, -1, -1, -1)
    both = change_colors(images, WEAK, rngs())
    assert not torch.equal(both[0], both[1])
    assert torch.equal(change_colors(images[1:], WEAK, rngs()[1:])[0], both[1])


def test_what_acts_does_so_as_often_as_it_says():
    gray_at_times = Photometric(brightness=0, contrast=0, saturation=0, hue=0, jittered=0, gray=0.3)
    images = pictures(1).expand(200, -1, -1, -1)[..., :4, :4]
    changed = change_colors(images, gray_at_times, rngs(200))
    share = (changed - changed[-1]).abs().amax(dim=(1, 2, 3)).gt(1e-3).float().mean().item()
    assert 0.2 < min(share, 1 - share) < 0.4
