"""The weights that come with the package: those that the presets of the embedded pair start from.

They are made by :mod:`pgpc.training.streets_pretraining`; beside them lies how.
"""

from __future__ import annotations

import json
from pathlib import Path

from pgpc.models.config import STREETS, ModelConfig
from pgpc.runtime.checks import check

FOLDER = Path(__file__).parent
WEIGHTS_FILE = "streets.safetensors"
RECIPE_FILE = "streets.json"
"""Encoder, width of the decoder, recipe and checksum of the weights."""


def shipped_weights(config: ModelConfig) -> Path:
    """Return the file of the weights that come with the package.

    Args:
        config: The configuration of the network; its decoder may be another, which then starts at random.

    Raises:
        ValueError: Its encoder is not theirs.
    """
    made = json.loads((FOLDER / RECIPE_FILE).read_text())
    check(
        config.encoder == made["encoder"],
        f"model.pretrained={STREETS} needs model.encoder={made['encoder']}, of which the weights that come with the "
        "package are",
        config.encoder,
        "Leave the encoder as it is, or set model.pretrained=none for random weights.",
    )
    return FOLDER / WEIGHTS_FILE
