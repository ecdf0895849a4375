"""Hiera takes images of any size, and gives what timm's does at the size that it is made for."""

from __future__ import annotations

import pytest
import timm
import torch

from pgpc.models.vit.hiera import AnySizeHiera, take_any_size

SMALL = {"embed_dim": 8, "num_heads": 1, "stages": (1, 1, 2, 1), "mlp_ratio": 2.0}


def make(name="hiera_tiny_224", **options):
    torch.manual_seed(0)
    return timm.create_model(name, features_only=True, out_indices=(0, 1, 2, 3), **SMALL, **options).eval()


@pytest.mark.parametrize(
    "options", [{}, {"abs_win_pos_embed": True, "global_pos_size": (7, 7)}], ids=["plain", "abswin"]
)
def test_at_its_own_size_it_is_timms_and_at_others_it_still_works(options):
    theirs, ours = make(**options), make(**options)
    with torch.no_grad():
        theirs.model.pos_embed.normal_()
        ours.load_state_dict(theirs.state_dict())
        take_any_size(ours)
        images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
        expected = theirs(images)
        for size in ((224, 224), (96, 160), (224, 224)):
            maps = ours(images[:, :, : size[0], : size[1]])
            assert [tuple(x.shape[2:]) for x in maps] == [(size[0] // s, size[1] // s) for s in (4, 8, 16, 32)]
            if size == (224, 224):
                assert all(torch.equal(a, b) for a, b in zip(maps, expected, strict=True))


def test_tokens_stay_at_their_places():
    """A window changes where its pixels do: attention of the first two stages stays within one."""
    ours = make()
    take_any_size(ours)
    assert isinstance(ours.model, AnySizeHiera)
    images = torch.zeros(1, 3, 96, 160)
    changed = images.clone()
    changed[:, :, 32:64, 128:160] = 1
    with torch.no_grad():
        (before, *_), (after, *_) = ours(images), ours(changed)
    differs = (before != after).any(dim=1)[0]
    inside = torch.zeros_like(differs)
    inside[8:16, 32:40] = True
    # The first convolution reaches three pixels beyond a patch: into the windows beside, whose tokens then all change.
    assert differs[inside].all()
    assert not differs[:, :24].any()
