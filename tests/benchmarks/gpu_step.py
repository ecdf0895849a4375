"""One way of making a step, measured in a process of its own: for `python -m tests.benchmarks --gpu`.

    python -m tests.benchmarks.gpu_step "DAFormer, float32" [--encoder mit_b5] [--crop 512]

Prints JSON: milliseconds of a step, milliseconds until the host has launched it, peak memory, operators. It runs on a
CPU too, which is for seeing that it runs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from pgpc.config import Config
from pgpc.runtime.device import arithmetic
from tests.benchmarks.operators import Operators
from tests.benchmarks.step import ours, theirs
from tests.benchmarks.timing import DEVICE, make_config

MERGED: dict[str, Any] = {"training.merge_passes": True}
APART: dict[str, Any] = {"training.merge_passes": False}
HALF: dict[str, Any] = {"training.precision": "bfloat16"}


@dataclass(frozen=True, kw_only=True)
class Way:
    """A way of making a step.

    Attributes:
        base: Name of a base, with or without PGPC, on GTA5 to Cityscapes.
        changes: What is changed in its preset.
        exact: Whether products keep all bits of float32; else they are those of a training by default.
        obvious: Whether it is the step written the obvious way.
    """

    base: str
    changes: dict[str, Any] = field(default_factory=dict)
    exact: bool = False
    obvious: bool = False


_KINDS: dict[str, dict[str, Any]] = {
    "float32": {"exact": True, "changes": APART},
    "TF32": {"changes": APART},
    "TF32, merged": {"changes": MERGED},
    "bfloat16": {"changes": {**APART, **HALF}},
    "bfloat16, merged": {"changes": {**MERGED, **HALF}},
}
_NAMES = {"DAFormer": "daformer", "PGPC": "daformer+pgpc", "HRDA": "hrda", "HRDA with PGPC": "hrda+pgpc"}
WAYS = {
    **{f"{name}, obvious": Way(base=_NAMES[name], exact=True, obvious=True) for name in ("DAFormer", "PGPC")},
    **{f"{name}, {kind}": Way(base=base, **how) for name, base in _NAMES.items() for kind, how in _KINDS.items()},
}
"""All ways by their names, in the order in which tables have them."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was measured of a way.

    Attributes:
        milliseconds: Median of a step, until the device is done.
        launching: Median of a step, until the host is done; where it is nearly all, the GPU waits for the host.
        peak: Most bytes that tensors have occupied; 0 on a CPU.
        operators: Operators that a step launches.
        images: Images that a step takes.
    """

    milliseconds: float
    launching: float
    peak: int
    operators: int
    images: int


def config_of(way: Way, encoder: str, crop: int, **sizes: Any) -> Config:
    """Return the config of a way; the crop is that of DAFormer, HRDA has one of twice the side."""
    side = 2 * crop if "hrda" in way.base else crop
    detail = {"model.detail_crop": crop} if "hrda" in way.base else {}
    return make_config(f"gta5-cityscapes/{way.base}", encoder, side, {**detail, **way.changes, **sizes})


def measure(way: Way, config: Config, *, warm_up: int = 4, steps: int = 10) -> Outcome:
    """Measure a way in this process.

    Args:
        way: The way.
        config: Its config.
        warm_up: Steps that do not count: the optimizer gets its moments, and cuDNN tries its kernels.
        steps: Steps that are timed.
    """
    with arithmetic(DEVICE, exact=way.exact):
        step = (theirs if way.obvious else ours)(config)
        for _ in range(warm_up):
            step()
        with Operators() as found:
            step()
        timed = [_timed(step) for _ in range(steps)]
    peak = torch.cuda.max_memory_allocated() if DEVICE.type == "cuda" else 0
    return Outcome(
        milliseconds=statistics.median(whole for whole, _ in timed),
        launching=statistics.median(host for _, host in timed),
        peak=peak,
        operators=found.counted.total(),
        images=2 * config.training.batch_size,
    )


def _timed(step: Callable[[], Any]) -> tuple[float, float]:
    """Return the milliseconds of a step until it is done, and until it is launched."""
    _wait()
    start = time.perf_counter()
    step()
    launched = time.perf_counter()
    _wait()
    return 1e3 * (time.perf_counter() - start), 1e3 * (launched - start)


def _wait() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    """Print the outcome as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("--encoder", default="mit_b5", help="(default: %(default)s)")
    parser.add_argument("--crop", type=int, default=512, help="of DAFormer; HRDA has twice (default: %(default)s)")
    arguments = parser.parse_args()
    way = WAYS[arguments.way]
    print(json.dumps(asdict(measure(way, config_of(way, arguments.encoder, arguments.crop)))))


if __name__ == "__main__":
    main()
