"""What ``model.pretrained=streets`` is made by: a small network, trained beforehand on scenes like those of the source.

    OMP_NUM_THREADS=1 python -m pgpc.training.streets_pretraining --out weights
    OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 -m pgpc.training.streets_pretraining --out weights

The scenes are in no pair of any seed, and in the style of the source alone; augmentation is generic. What is written is
``weights/streets.safetensors``, in 16 bits, and ``weights/streets.json`` with the recipe and the checksum, which is
printed. Several processes share each batch, and batch norm has the statistics of a share. The same seed gives the same
file on one machine, with one thread and the same number of processes. An interrupted training goes on where it last
saved when the same command is given again.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pgpc.adaptation.mixing import perturb
from pgpc.classes import CLASSES, IGNORE_INDEX
from pgpc.config import override
from pgpc.data.normalization import IMAGENET_PIXELS
from pgpc.data.on_device import normalized
from pgpc.data.streets.generator import render_apart
from pgpc.data.transforms import cut, draw_box, draw_flip
from pgpc.models import build_model
from pgpc.models.config import ModelConfig
from pgpc.models.segmenter import Segmenter
from pgpc.models.shipped import RECIPE_FILE, WEIGHTS_FILE
from pgpc.presets import preset
from pgpc.runtime import distributed
from pgpc.runtime.checks import check
from pgpc.runtime.files import sha256, write_file
from pgpc.runtime.launch import is_first
from pgpc.runtime.malloc import keep_freed_memory
from pgpc.runtime.seeding import numpy_generator, seed_everything

log = logging.getLogger(__name__)

_PARTIAL = "streets.partial.pt"
_SAVE_EVERY = 200
_CLIP = 1.0
"""Largest norm of a step's gradient."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """All that decides about the weights, beside the network, which is that of the presets.

    Attributes:
        scenes: Scenes, all in the style of the source.
        height: Height of a scene in pixels.
        width: Width of a scene in pixels.
        crop: Side of the crops in pixels.
        sides: Sides in pixels that crops are shown at; each batch has one of them, drawn uniformly.
        batch_size: Crops of an iteration, of all processes.
        processes: Processes that share them.
        iterations: Length.
        horizon: Iterations after which the learning rate is 0; a training of fewer is stopped before.
        lr: Largest learning rate, of all of the network; it rises linearly, then falls as half a cosine.
        warmup: Share of the horizon in which it rises.
        weight_decay: AdamW's.
        rare: Exponent e of the weight f^-e of a class with the share f of the pixels; 0 weighs all alike.
        jitter: Half-width of the color jitter; 0 for none.
        blur: Share of the batches that are blurred.
        seed: Seed of scenes, initial weights and all draws.
    """

    scenes: int = 1200
    height: int = 128
    width: int = 256
    crop: int = 128
    sides: tuple[int, ...] = (64, 96, 128, 128)
    batch_size: int = 8
    processes: int = 1
    iterations: int = 2500
    horizon: int = 2500
    lr: float = 1.5e-3
    warmup: float = 0.05
    weight_decay: float = 0.01
    rare: float = 0.5
    jitter: float = 0.2
    blur: float = 0.0
    seed: int = 0


class Scenes(NamedTuple):
    """Scenes in memory.

    Attributes:
        images: ``(N, H, W, 3)`` uint8 RGB.
        labels: ``(N, H, W)`` uint8 train ids.
    """

    images: np.ndarray
    labels: np.ndarray


def network_config() -> ModelConfig:
    """Return the configuration of the network that is trained: that of the presets, from random weights."""
    return override(preset("streets/source-only"), {"model.pretrained": None}).model


def render_scenes(recipe: Recipe) -> Scenes:
    """Render all scenes, which takes about 40 ms each."""
    shape = (recipe.scenes, recipe.height, recipe.width)
    scenes = Scenes(np.empty((*shape, 3), dtype=np.uint8), np.empty(shape, dtype=np.uint8))
    for i in range(recipe.scenes):
        scenes.images[i], scenes.labels[i] = render_apart(recipe.seed, i, recipe.height, recipe.width)
    return scenes


def class_weights(labels: np.ndarray, exponent: float) -> Tensor:
    """Return f^-e of each class, ``(C,)``, scaled so that the mean over all labeled pixels is 1.

    Args:
        labels: Train ids.
        exponent: e; f is a class's share of the labeled pixels.
    """
    counts = np.bincount(labels.ravel(), minlength=IGNORE_INDEX + 1)[: len(CLASSES)]
    shares = counts / counts.sum()
    weights = np.where(counts > 0, np.maximum(shares, 1e-12) ** -exponent, 0.0)
    return torch.tensor(weights / (weights * shares).sum(), dtype=torch.float32)


def learning_rate(step: int, recipe: Recipe) -> float:
    """Return the learning rate of an iteration, counted from 0."""
    rise = max(recipe.warmup * recipe.horizon, 1.0)
    if step < rise:
        return recipe.lr * (step + 1) / (rise + 1)
    return recipe.lr * 0.5 * (1 + math.cos(math.pi * (step - rise) / (recipe.horizon - rise)))


def draw_batch(scenes: Scenes, recipe: Recipe, step: int) -> tuple[Tensor, Tensor]:
    """Return the crops of an iteration, a function of seed and iteration alone.

    Returns:
        Normalized images ``(B, 3, s, s)`` of one of the recipe's sides, and train ids ``(B, s, s)``.
    """
    rng = numpy_generator(recipe.seed, "pretraining batch", step)
    side = recipe.sides[int(rng.integers(len(recipe.sides)))]
    images, labels = [], []
    for index in rng.integers(len(scenes.images), size=recipe.batch_size):
        box = draw_box(rng, recipe.height, recipe.width, recipe.crop)
        image, label = cut(scenes.images[index], box), cut(scenes.labels[index], box)
        if draw_flip(rng):
            image, label = image[:, ::-1], label[:, ::-1]
        images.append(torch.from_numpy(image.copy()).permute(2, 0, 1))
        labels.append(torch.from_numpy(label.copy()))
    shown, truth = normalized(torch.stack(images), IMAGENET_PIXELS), torch.stack(labels)
    if side != recipe.crop:
        shown = F.interpolate(shown, size=(side, side), mode="bilinear", antialias=True)
        truth = F.interpolate(truth[:, None], size=(side, side), mode="nearest")[:, 0]
    shown = perturb(
        shown,
        jitter=recipe.jitter,
        blur=bool(rng.random() < recipe.blur),
        rngs=[rng] * recipe.batch_size,
        normalization=IMAGENET_PIXELS,
    )
    return shown, truth.long()


def learn(network: nn.Module, optimizer: torch.optim.Optimizer, batch: tuple[Tensor, Tensor], weights: Tensor) -> float:
    """Take one step, and return its loss."""
    images, labels = batch
    logits = F.interpolate(network(images), size=labels.shape[1:], mode="bilinear", align_corners=False)
    loss = F.cross_entropy(logits, labels, weight=weights, ignore_index=IGNORE_INDEX)
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), _CLIP)
    optimizer.step()
    return loss.item()


def pretrain(recipe: Recipe, out: Path) -> str:
    """Train the network and write its weights, its recipe and their checksum.

    Args:
        recipe: How it is trained.
        out: Folder of what is written, and of what an interrupted training has left.

    Returns:
        The SHA-256 checksum of the file of weights, on process 0, which writes; "" on others.

    Raises:
        ValueError: An interrupted training in the folder was of another recipe, or the processes cannot share a batch.
    """
    keep_freed_memory()
    device, rank = torch.device("cpu"), distributed.rank()
    check(
        recipe.batch_size % recipe.processes == 0,
        f"--batch-size must be a multiple of the number of processes ({recipe.processes})",
        recipe.batch_size,
    )
    share = np.s_[rank :: recipe.processes]
    log.info("Rendering %d scenes.", recipe.scenes)
    scenes = render_scenes(recipe)
    weights = class_weights(scenes.labels, recipe.rare)
    seed_everything(recipe.seed, "pretraining weights")
    network = build_model(network_config())
    optimizer = torch.optim.AdamW(network.parameters(), recipe.lr, weight_decay=recipe.weight_decay, fused=True)
    first = _resume(out / _PARTIAL, recipe, network, optimizer)
    replica = distributed.replicate(network, device)
    began, mean = time.monotonic(), 0.0
    for step in range(first, recipe.iterations):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, recipe)
        seed_everything(recipe.seed, "pretraining dropout", step, rank)
        images, labels = draw_batch(scenes, recipe, step)
        loss = learn(replica, optimizer, (images[share], labels[share]), weights)
        mean = loss if step == first else 0.98 * mean + 0.02 * loss
        if (step + 1) % _SAVE_EVERY == 0 and rank == 0:
            content = {"recipe": asdict(recipe), "step": step + 1, "network": network.state_dict()}
            content["optimizer"] = optimizer.state_dict()
            write_file(out / _PARTIAL, lambda file, content=content: torch.save(content, file))  # type: ignore[misc]  # of the default
            left = (time.monotonic() - began) / (step + 1 - first) * (recipe.iterations - step - 1)
            log.info("iteration %d of %d, loss %.3f, %.0f s left", step + 1, recipe.iterations, mean, left)
    if rank > 0:
        return ""
    checksum = write_weights(network, recipe, out)
    (out / _PARTIAL).unlink(missing_ok=True)
    return checksum


def write_weights(network: Segmenter, recipe: Recipe, out: Path) -> str:
    """Write the weights in 16 bits, and the recipe beside them; return the checksum of the weights."""
    from safetensors.torch import save

    entries = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in sorted(network.state_dict().items())
    }
    write_file(out / WEIGHTS_FILE, lambda file: file.write(save(entries)))
    checksum = sha256(out / WEIGHTS_FILE)
    config = network_config()
    made = {
        "encoder": config.encoder,
        "head_channels": config.head_channels,
        "recipe": asdict(recipe),
        "sha256": checksum,
        "torch": torch.__version__,
    }
    text = json.dumps(made, indent=2) + "\n"
    write_file(out / RECIPE_FILE, lambda file: file.write(text.encode()))
    return checksum


def _resume(file: Path, recipe: Recipe, network: Segmenter, optimizer: torch.optim.Optimizer) -> int:
    """Bring network and optimizer to where an interrupted training has saved them; return the iterations done."""
    if not file.is_file():
        return 0
    saved: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    if saved["recipe"] != asdict(recipe):
        raise ValueError(
            f"{file} must be of the same recipe, but it is of {saved['recipe']}. Give another --out, or delete it."
        )
    network.load_state_dict(saved["network"])
    optimizer.load_state_dict(saved["optimizer"])
    log.info("Going on at iteration %d.", saved["step"])
    return int(saved["step"])


def main(argv: Sequence[str] | None = None) -> None:
    """Train as the command line says, by default as what is shipped was trained."""
    parser = argparse.ArgumentParser(
        prog="python -m pgpc.training.streets_pretraining",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="folder of what is written")
    defaults = Recipe()
    for name in ("scenes", "iterations", "horizon", "batch_size", "lr", "jitter", "blur", "seed"):
        default = getattr(defaults, name)
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=type(default), default=default, help="see Recipe (default: %(default)s)")
    arguments = vars(parser.parse_args(argv))
    logging.basicConfig(level=logging.INFO if is_first() else logging.WARNING, format="%(message)s", stream=sys.stderr)
    if os.environ.get("OMP_NUM_THREADS") != "1":
        log.warning("The same weights come out with OMP_NUM_THREADS=1 only.")
    out = arguments.pop("out")
    with distributed.process_group(torch.device("cpu")):
        checksum = pretrain(Recipe(**arguments, processes=distributed.world_size()), out)
    if checksum:
        print(f"sha256 {checksum}  {out / WEIGHTS_FILE}")


if __name__ == "__main__":
    main()
