from __future__ import annotations

import torch
from timm.layers.drop import DropPath as TimmsDropPath

from pgpc.models.drop_path import DropPath


def test_whole_images_are_left_out_and_the_others_scaled_up():
    torch.manual_seed(0)
    out = DropPath(0.75)(torch.ones(1000, 2, 3))
    assert set(out.unique().tolist()) == {0.0, 4.0}
    assert torch.equal(out, out[:, :1, :1].expand_as(out)), "an image is left out whole"
    assert abs(out.mean() - 1) < 0.2  # five standard deviations


def test_evaluation_leaves_nothing_out():
    x = torch.rand(3, 2)
    assert DropPath(0.5).eval()(x) is x
    assert DropPath(0.0)(x) is x


def test_it_draws_as_timms_does():
    x = torch.rand(16, 5, 2)
    torch.manual_seed(3)
    expected = TimmsDropPath(0.3)(x)
    torch.manual_seed(3)
    assert torch.equal(DropPath(0.3)(x), expected)
