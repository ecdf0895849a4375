"""Building networks without drawing their weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from pgpc.models.undrawn import without_draws


@pytest.mark.parametrize(
    "fill",
    [
        lambda x: x.normal_(),
        lambda x: x.uniform_(-1, 1),
        lambda x: nn.init.trunc_normal_(x, std=0.02),
        lambda x: nn.init.kaiming_normal_(x, mode="fan_out"),
        lambda x: nn.init.kaiming_uniform_(x),
        lambda x: nn.init.xavier_uniform_(tensor=x),
        lambda x: nn.init.xavier_normal_(x),
        lambda x: nn.init.normal_(x, std=2.0),
        lambda x: nn.init.uniform_(x),
    ],
)
def test_nothing_is_drawn_and_the_generator_stays_where_it_is(fill) -> None:
    x, generator = torch.full((2, 3), 0.25), torch.get_rng_state()
    with without_draws():
        assert fill(x) is x
    assert torch.equal(x, torch.full((2, 3), 0.25)) and torch.equal(torch.get_rng_state(), generator)
    fill(x)
    assert not torch.equal(torch.get_rng_state(), generator)


def test_what_is_not_drawn_is_as_always() -> None:
    with without_draws():
        made = nn.BatchNorm2d(3)
        nn.init.constant_(made.weight, 2.0)
    assert made.weight.tolist() == [2.0] * 3 and made.bias.tolist() == [0.0] * 3
