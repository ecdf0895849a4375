"""How fast a trained network segments images, for the paper's Table 5."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import torch

from pgpc.data.domains import open_shards
from pgpc.data.loader import evaluation_samples
from pgpc.evaluation.loaded_model import load_model
from pgpc.evaluation.segmentation import predict
from pgpc.runtime.distributed import local_device

NUM_IMAGES = 20
"""Images that are timed."""
NUM_UNTIMED = 2
"""Images before the clock runs: the first ones choose kernels and fill caches."""


def inference_rate(checkpoint: Path) -> float:
    """Return how many images a second this machine segments, one at a time, as in the evaluation.

    Reading the images is not counted.

    Args:
        checkpoint: The checkpoint of a run, of which the student is taken.
    """
    loaded, device = load_model(checkpoint), local_device()
    config, model = loaded.config, loaded.student.segmenter.to(device)
    assert config.data.eval_split, "a trial of a sweep is scored, so it has a split to be scored on"
    scored = open_shards(config.data.target, config.data, config.data.eval_split)
    samples = list(itertools.islice(evaluation_samples(scored, config.data), NUM_IMAGES))
    began = 0.0
    for i, (image, label, _) in enumerate(itertools.islice(itertools.cycle(samples), NUM_UNTIMED + NUM_IMAGES)):
        if i == NUM_UNTIMED:
            began = _now(device)
        predict(model, image.to(device), label.shape, evaluation=config.evaluation)
    return NUM_IMAGES / (_now(device) - began)


def _now(device: torch.device) -> float:
    """Return the time in seconds, when all that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
