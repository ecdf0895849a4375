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
WARM_UP = 2
"""Images before the clock runs: the first ones choose kernels and fill caches."""


def inference_rate(checkpoint: Path) -> float:
    """Images per second on this machine, one at a time, as in the evaluation. Reading them is not counted.

    Args:
        checkpoint: of a run; the student is taken.
    """
    trained, device = load_model(checkpoint), local_device()
    config, model = trained.config, trained.student.segmenter.to(device)
    scored = open_shards(config.data.target, config.data, config.data.eval_split)
    samples = list(itertools.islice(evaluation_samples(scored, config.data), NUM_IMAGES))
    began = 0.0
    for i, (image, label, _) in enumerate(itertools.islice(itertools.cycle(samples), WARM_UP + NUM_IMAGES)):
        if i == WARM_UP:
            began = _now(device)
        predict(model, image.to(device), label.shape, evaluation=config.evaluation)
    return NUM_IMAGES / (_now(device) - began)


def _now(device: torch.device) -> float:
    """Seconds, when all that was asked of the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
