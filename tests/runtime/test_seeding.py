"""Random numbers as functions of seed, purpose and position."""

from __future__ import annotations

import torch

from pgpc.runtime.seeding import derive, numpy_generator, seed_everything, torch_generator

CPU = torch.device("cpu")


def test_a_seed_by_hand() -> None:
    # Runs of every version must draw the same numbers: this one changes only with all results.
    assert derive(0, "crop", 3, 1) == 13696645414518350827


def test_every_argument_matters() -> None:
    seeds = [derive(0, "a"), derive(1, "a"), derive(0, "b"), derive(0, "a", 1), derive(0, "a", 0, 1), derive(0, "a", 2)]
    assert len(set(seeds)) == len(seeds) and all(0 <= seed < 2**64 for seed in seeds)


def test_positions_of_one_purpose_must_have_one_length() -> None:
    assert derive(0, "a", 1) == derive(0, "a", 1, 0)  # what derive() says of zeros at the end


def test_generators_are_their_own() -> None:
    assert numpy_generator(1, "x", 2).random() == numpy_generator(1, "x", 2).random()
    assert numpy_generator(1, "x", 2).random() != numpy_generator(1, "x", 3).random()
    before = torch.get_rng_state()
    first, again, other = (torch.rand(3, generator=torch_generator(CPU, 1, "x", k)) for k in (2, 2, 3))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_global_generators_are_seeded() -> None:
    with torch.random.fork_rng():
        seed_everything(3, "weights")
        first = torch.rand(3)
        seed_everything(3, "weights")
        assert torch.equal(torch.rand(3), first)
        seed_everything(4, "weights")
        assert not torch.equal(torch.rand(3), first)
