"""Random numbers as a function of (seed, purpose, position), so that no generator's state has to be carried along."""

from __future__ import annotations

import zlib

import numpy as np
import torch


def derive(seed: int, purpose: str, *position: int) -> int:
    """Return a 64-bit seed that depends on all arguments, but for zeros at the end of the position.

    Positions of one purpose must therefore have the same length: (1,) and (1, 0) give the same seed.

    Args:
        seed: The seed of the run, at least 0.
        purpose: A name for what the random numbers are for; different purposes get independent numbers.
        *position: Whole numbers, each at least 0, that say where they are for, such as the step and the image.
    """
    entropy = [seed, zlib.crc32(purpose.encode()), *position]
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0])


def numpy_generator(seed: int, purpose: str, *position: int) -> np.random.Generator:
    """Return a new numpy generator for one purpose at one position; see :func:`derive`."""
    return np.random.default_rng(derive(seed, purpose, *position))


def torch_generator(device: torch.device, seed: int, purpose: str, *position: int) -> torch.Generator:
    """Return a new torch generator on a device for one purpose at one position; see :func:`derive`."""
    generator = torch.Generator(device)
    generator.manual_seed(derive(seed, purpose, *position) % 2**63)
    return generator


def seed_everything(seed: int, purpose: str, *position: int) -> None:
    """Seed torch's global generators, which initial weights, dropout and stochastic depth draw from.

    See :func:`derive` for the arguments.
    """
    torch.manual_seed(derive(seed, purpose, *position) % 2**63)
