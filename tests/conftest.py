"""Weights and inputs that anyone can redraw, and what the public implementation computed from them."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

FOLDER = Path(__file__).parent / "golden"
STEPS = {"stage1": 4, "stage2": 2, "stage3": 2, "stage4": 1, "logits": 3}


def _generator(name: str) -> np.random.RandomState:
    # numpy's legacy generator is frozen, so the numbers are the same on every machine and version.
    return np.random.RandomState(zlib.crc32(name.encode()))


def _normal(name: str, shape: tuple[int, ...]) -> np.ndarray:
    return _generator(name).standard_normal(shape).astype(np.float32)


def _weight(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    *_, owner, kind = name.split(".")
    if kind == "num_batches_tracked":
        return torch.zeros(shape, dtype=torch.long)
    values = _normal(name, shape)
    if kind == "running_var":
        values = 0.5 + np.abs(values)
    elif kind == "running_mean":
        values = 0.1 * values
    elif len(shape) > 1:
        values = values / np.sqrt(np.prod(shape[1:]))
    elif kind == "weight" and ("norm" in owner or owner == "bn"):
        values = 1.0 + 0.1 * values
    else:
        values = 0.1 * values
    return torch.from_numpy(values)


@dataclass(frozen=True)
class Golden:
    """Reference figures, and the formulas of the weights and inputs that they belong to."""

    shapes: dict[str, list[int]]
    arrays: dict[str, np.ndarray]
    pieces: dict

    def checkpoint(self) -> dict[str, torch.Tensor]:
        return {name: _weight(name, tuple(shape)) for name, shape in self.shapes.items()}

    @property
    def train_step(self) -> dict:
        return self.pieces["train_step"]

    @staticmethod
    def normal(name: str, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.from_numpy(_normal(name, shape))

    @staticmethod
    def images(name: str, shape: tuple[int, int, int, int]) -> torch.Tensor:
        b, c, h, w = shape
        coarse = torch.from_numpy(_normal(name, (b, c, h // 8, w // 8)))
        smooth = F.interpolate(coarse, size=(h, w), mode="bilinear", align_corners=False)
        return smooth + 0.25 * torch.from_numpy(_normal(f"{name}/fine", shape))

    @staticmethod
    def labels(name: str, shape: tuple[int, int, int]) -> torch.Tensor:
        b, h, w = shape
        generator = _generator(name)
        blocks = generator.randint(0, 19, (b, h // 16, w // 16))
        blocks[generator.rand(*blocks.shape) < 0.1] = 255
        return torch.from_numpy(np.kron(blocks, np.ones((1, 16, 16), dtype=np.int64)))

    @staticmethod
    def thin(name: str, tensor: torch.Tensor) -> np.ndarray:
        return tensor.detach().float().numpy()[..., :: STEPS[name], :: STEPS[name]]


@pytest.fixture(scope="session")
def golden() -> Golden:
    with np.load(FOLDER / "daformer_b0.npz") as arrays:
        return Golden(
            shapes=json.loads((FOLDER / "daformer_b0.shapes.json").read_text()),
            arrays=dict(arrays),
            pieces=json.loads((FOLDER / "pieces.json").read_text()),
        )


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """The embedded pair is made below a temporary folder, once for all tests; never in the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGPC_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
