"""The configuration of the optimizer and its learning rate. Plain data: importing it does not load torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from pgpc.runtime.checks import all_at_once
from pgpc.runtime.fields import Phase, check_fields, documented, key


@documented
@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerConfig:
    """AdamW or SGD, and a learning rate that warms up linearly and decays to zero, unless it stays constant."""

    algorithm: Literal["adamw", "sgd"] = key(
        "adamw",
        doc="AdamW, or stochastic gradient descent with momentum (ProCA).",
        phase=Phase.START,
    )
    lr: float = key(
        6e-5,
        doc="Learning rate of the encoder before warmup and decay.",
        above=0,
        below=math.inf,
        phase=Phase.START,
    )
    lora_factor: float = key(
        10.0,
        doc="With model.finetuning=lora the low-rank matrices learn at `lr` times this.",
        above=0,
        below=math.inf,
        phase=Phase.START,
    )
    layer_decay: float = key(
        1.0,
        doc="What the learning rate of a plain vision transformer is multiplied by from each block to the one before; "
        "patch and position embeddings, the mask token and the norm behind the blocks come before the first. 1 gives "
        "all the same.",
        above=0,
        high=1,
        phase=Phase.START,
        source="VFM-UDA++",
    )
    head_factor: float = key(
        10.0,
        doc="The decoder and the projection head learn at `lr` times this.",
        above=0,
        below=math.inf,
        phase=Phase.START,
    )
    betas: tuple[float, float] = key(
        (0.9, 0.999),
        doc="AdamW's moment decays.",
        low=0,
        below=1,
        rule="must be two numbers in {interval}",
        phase=Phase.START,
    )
    momentum: float = key(
        0.9,
        doc="SGD's momentum.",
        low=0,
        below=1,
        phase=Phase.START,
    )
    weight_decay: float = key(
        0.01,
        doc="Weight decay, AdamW's decoupled; with AdamW on the encoder's normalization layers only "
        "with `decay_norms`.",
        low=0,
        below=math.inf,
        phase=Phase.START,
    )
    decay_norms: bool = key(
        False,
        doc="Whether AdamW decays the encoder's normalization layers, too.",
        phase=Phase.START,
        source="VFM-UDA",
    )
    warmup: int = key(
        1500,
        doc="Linear warmup; the decay acts during it too, but with base=vfm_uda. 0 starts with the full learning rate.",
        low=0,
        unit="iterations",
        phase=Phase.START,
    )
    warmup_ratio: float = key(
        1e-6,
        doc="Share of the learning rate at iteration 0.",
        above=0,
        high=1,
        phase=Phase.START,
    )
    power: float = key(
        1.0,
        doc="Exponent of the polynomial decay (1 - t/T)^power. 0 keeps the rate constant, so that a run that is "
        "resumed may be made longer.",
        low=0,
        below=math.inf,
        phase=Phase.START,
    )

    @all_at_once()
    def __post_init__(self) -> None:
        check_fields(self, "optimizer")
