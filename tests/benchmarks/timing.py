"""Timing of several variants in turns, and the training steps that the benchmarks time."""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

import pgpc
from pgpc.bases import TrainingState, make_base
from pgpc.config import Config
from pgpc.data.batch import Batch
from pgpc.models.config import STREETS
from pgpc.runtime.malloc import keep_freed_memory

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def prepare() -> None:
    """On CPUs compute with one thread, and keep freed memory as in training."""
    if DEVICE.type == "cpu":
        torch.set_num_threads(1)
        keep_freed_memory()


def seconds(function: Callable[[], Any]) -> float:
    """Return how long a call takes: on a GPU wall-clock time until it is done, else processor time.

    Others on the machine disturb processor time less.
    """
    if DEVICE.type == "cpu":
        start = time.process_time()
        function()
        return time.process_time() - start
    torch.cuda.synchronize()
    start = time.perf_counter()
    function()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def in_turns(variants: Mapping[str, Callable[[], Any]], repetitions: int) -> dict[str, list[float]]:
    """Return the seconds of every variant in every turn, after two turns that do not count."""
    for function in [*variants.values()] * 2:
        function()
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(repetitions):
        for name, function in variants.items():
            times[name].append(seconds(function))
    return times


def in_turns_apart(variants: Mapping[str, Callable[[], Callable[[], Any]]], repetitions: int) -> dict[str, list[float]]:
    """Return the seconds of every variant in every turn, each time in a process of its own.

    What one keeps in memory, or sets for its process, is then not there for another.

    Args:
        variants: Functions that can be pickled; each makes, in its process, what is timed.
        repetitions: The number of turns.
    """
    times: dict[str, list[float]] = {name: [] for name in variants}
    for turn in range(repetitions):
        for name, make in variants.items():
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
                times[name].append(process.submit(_measure, make).result())
            print(f"turn {turn + 1}, {name}: {times[name][-1]:.3f} s", file=sys.stderr, flush=True)
    return times


def _measure(make: Callable[[], Callable[[], Any]]) -> float:
    """Return the shorter of two runs, after two in which the process gets its memory."""
    torch.set_num_threads(1)
    function = make()
    return min([seconds(function) for _ in range(4)][2:])


def ratio(times: Mapping[str, list[float]], of: str, to: str) -> float:
    """Return the median over the turns of what `of` took to what `to` took."""
    return statistics.median(a / b for a, b in zip(times[of], times[to], strict=True))


def make_config(preset: str, encoder: str, crop: int, changes: Mapping[str, Any] | None = None) -> Config:
    """Return a preset with another encoder and crop, with contrast from the first step, without dropout.

    Without dropout, so that two ways of computing the same step can be compared by their losses.
    """
    config = pgpc.preset(preset)
    settings = {
        "model.encoder": encoder,
        "data.crop": crop,
        "adaptation.ignore_top": 0,
        "adaptation.ignore_bottom": 0,
        "model.dropout": 0,
        "model.drop_path": 0,
        "optimizer.warmup": 0,
        **(changes or {}),
    }
    if config.model.pretrained == STREETS:  # of one encoder, and any weights do
        settings["model.pretrained"] = None
    if config.contrast.enabled:
        settings |= {"contrast.start": 0, "contrast.fill": 0}
    return pgpc.override(config, settings)


def with_encoder_weights(config: Config, file: Path) -> Config:
    """Return the config with random weights of the encoder, in this file where the feature distance needs some.

    No network is needed: which numbers the weights are changes neither time nor memory.
    """
    at_random = pgpc.override(config, {"model.pretrained": None, "adaptation.feature_distance_weight": 0.0})
    if config.adaptation.feature_distance_weight == 0:
        return at_random
    torch.manual_seed(0)
    model = pgpc.build_model(at_random.model)
    torch.save({f"encoder.{key}": value for key, value in model.encoder.state_dict().items()}, file)
    return pgpc.override(config, {"model.pretrained": str(file)})


def make_state(config: Config) -> TrainingState:
    """Return a state before its first step, whose feature distance refers to random weights."""
    with tempfile.TemporaryDirectory() as folder:
        return make_base(with_encoder_weights(config, Path(folder) / "encoder.pt")).new_state(DEVICE)


def make_step(config: Config) -> partial[dict[str, Tensor]]:
    """Return a function that makes one training step after the other, always on the same batch."""
    return partial(make_base(config).step, make_state(config), make_batch(config))


def make_batch(config: Config) -> Batch:
    """Return smooth pictures, and labels in squares of 32 pixels."""
    num, side, generator = config.training.batch_size, config.data.crop, torch.Generator().manual_seed(0)
    assert side is not None, "the benchmarks of the step have crops"
    coarse = torch.randn(2, num, 3, side // 16, side // 16, generator=generator)
    source, target = (F.interpolate(x, size=(side, side), mode="bilinear") for x in coarse)
    labels = torch.randint(config.model.num_classes, (num, side // 32, side // 32), generator=generator)
    labels = labels.repeat_interleave(32, 1).repeat_interleave(32, 2)
    return Batch(source, labels, target, torch.ones_like(labels, dtype=torch.bool)).to(DEVICE)
