"""Operators of a training step, which a GPU must be told of one after the other: counted, no GPU is needed.

    python -m tests.benchmarks.operators [--most 20]

Prints how many a step of DAFormer with MiT-B5 launches, and how many with PGPC, in float32 and in bfloat16, with passes
one after the other and merged; with `--most`, of which operators there are most. The network is as deep as MiT-B5 and
as thin as it can be: numbers of operators depend on neither width nor crop. Counted is what torch dispatches below
autograd, without views and without allocations, which launch nothing. An operator on a list of tensors counts once.

A GPU can be told of 100,000 to 200,000 operators a second. Where a step has more than the GPU needs time for, the GPU
waits for the host.

Expected: PGPC at most 1.10 times DAFormer in the way that presets take on a GPU, merged; bfloat16 at most 1.10 times
float32; all of PGPC's step at most 5,500. Counted on 2026-11-30: 1.08, 0.99 merged and 1.00 otherwise (under autocast
1.51), and 4,538; passes one after the other 11,734, 1.59 times DAFormer.
"""

from __future__ import annotations

import argparse
import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pgpc.bases import TrainingState
from pgpc.models import mit
from tests.benchmarks.timing import make_config, make_step

_ALLOCATE = ("empty", "new_empty", "new_empty_strided", "empty_like", "empty_strided", "_unsafe_view")
_WAIT = (
    *("_local_scalar_dense", "item", "is_nonzero", "equal"),
    *("nonzero", "masked_select", "bincount", "unique_dim", "_unique2"),
)
_INDEX = ("index", "index_put", "index_put_", "_index_put_impl_")
_AUTOCAST = "bfloat16 under autocast"
WAYS: dict[str, dict[str, Any]] = {
    "float32": {},
    "bfloat16": {"training.precision": "bfloat16"},
    _AUTOCAST: {"training.precision": "bfloat16"},
    "float32, merged": {"training.merge_passes": True},
    "bfloat16, merged": {"training.merge_passes": True, "training.precision": "bfloat16"},
}
BASES = ("daformer", "daformer+pgpc")


# As deep as MiT-B1, for a test that is fast, and as MiT-B5; a sixteenth as wide.
mit.OUTLINES["thin_mit_b1"] = ((4, 8, 20, 32), (2, 2, 2, 2))
mit.OUTLINES["thin_mit_b5"] = ((4, 8, 20, 32), (3, 6, 40, 3))


class Operators(TorchDispatchMode):
    """Counts the operators that compute, by their names.

    Attributes:
        counted: How often each was called.
        waits: Those for whose result the host waits, or whose shapes depend on data: no CUDA graph can have them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counted: Counter[str] = Counter()
        self.waits: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        packet, returns = func.overloadpacket.__name__, func._schema.returns
        is_view = any(r.alias_info is not None and not r.alias_info.is_write for r in returns)
        if not is_view and packet not in _ALLOCATE:
            self.counted[packet] += 1
        if packet in _WAIT or (packet in _INDEX and any(_is_mask(x) for x in args[1])):
            self.waits[packet] += 1
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread for a while: maps of a few pixels are no work to share."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _is_mask(index: Any) -> bool:
    return isinstance(index, torch.Tensor) and index.dtype in (torch.bool, torch.uint8)


def operators(base: str, changes: dict[str, Any], encoder: str = "thin_mit_b5", *, autocast: bool = False) -> Operators:
    """Return what a step calls, once the optimizer has its moments and the memory bank rows.

    Args:
        base: Name of a base, with or without PGPC, on GTA5 to Cityscapes.
        changes: What is changed in its preset.
        encoder: One of this module's.
        autocast: Whether a lower precision is that of torch.autocast, as of encoders other than MiT.
    """
    narrow = {"model.head_channels": 8, "contrast.hidden": 8, "contrast.dim": 8, "contrast.bank_size": 64}
    narrow |= {"model.detail_crop": 32} if "hrda" in base else {}
    small = {"contrast.quota": 16, "contrast.pool": 64, "contrast.anchors": 8, "contrast.negatives": 8}
    config = make_config(f"gta5-cityscapes/{base}", encoder, 64, {**narrow, **small, **changes})
    with one_thread():
        step = make_step(config)
        state: TrainingState = step.args[0]
        for network in (state.student, state.require_teacher()):
            network._casts_weights &= not autocast
        step()
        with Operators() as found:
            step()
    return found


def main() -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--most", type=int, default=0, metavar="N", help="also print the N most frequent operators")
    arguments = parser.parse_args()
    print("| way | DAFormer | with PGPC | ratio | to float32 |\n| --- | --- | --- | --- | --- |")
    found: dict[str, list[int]] = {}
    for way, changes in WAYS.items():
        counted = [operators(base, changes, autocast=way == _AUTOCAST).counted for base in BASES]
        base, ours = found[way] = [sum(x.values()) for x in counted]
        same = found[way.replace("bfloat16", "float32") if way != _AUTOCAST else "float32"][1]
        print(f"| {way} | {base:,} | {ours:,} | {ours / base:.2f} | {ours / same:.2f} |", flush=True)
        if arguments.most:
            print(", ".join(f"{name} {number}" for name, number in counted[1].most_common(arguments.most)))


if __name__ == "__main__":
    main()
