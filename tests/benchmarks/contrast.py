"""Time and memory of the contrast beside those of the way it is published.

    OMP_NUM_THREADS=2 python -m tests.benchmarks.contrast [--rounds 3]

Published means: class by class, gather the M x N x D negatives, cosine similarity, cross-entropy, and one backward pass
through all of it. Ours is `info_nce` on the same indices, and with one draw per class that all its anchors share. Each
way runs in a process of its own, in turns; a time is the shortest of all turns, with the gradient of the anchors. The
extra memory is the process's peak (VmHWM of /proc/self/status, set back before) less what it held before the first
call; on a GPU what CUDA's allocator counts. Then what the memory bank costs, a whole step of the contrast by
parts, and how the time grows with each size: the exponent that fits best.

Expected: the published way passes ten times over 2.5 GB, 5 to 10 s on two cores; ours reads 2.5 GB once forward and
once backward, 0.2 to 0.25 s, 25 to 30 times as fast; shared, 2.5 GFlop, 15 to 25 ms.
Found (2 shared CPU cores, OMP_NUM_THREADS=2, 2026-11-23, two turns on a quiet machine): published 10.2 s, ours 0.171 s
(59 times as fast; 51 in another run), shared 0.0156 s (650 times). More memory: published 3157 MB, ours 112 MB
(0.036), shared 89 MB. The values of the first two are equal to the last digit. All products and a choice of them, in
an earlier run: 0.51 to 0.84 s. Adding a step's rows and their prototype 7.9 ms (20 before sums were doubles; without
prototype 1.4), reading the prototypes 0.016 ms, a full sum 21 ms. A step's contrast: bank of the source 17 ms, of
the target 11 ms, loss 176 ms, with negatives per class 19 ms. Growth, exponents of ours and shared: anchors 0.75,
0.92; negatives 0.73, 0.88; size of the bank 0.41 (its cache misses), 0.01; classes 1.03, 0.94.
On an H100, an estimate that nothing was run for: two readings of 2.5 GB at 3.35 TB/s are 1.5 ms; each class's 17 MB fit
in the second-level cache, at about 5.5 TB/s 0.9 ms; with the passes over 10 MB of products and the launches 1.1 to 1.7.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pgpc.contrast import FeatureBank, PixelContrast, PrototypeBank, info_nce, reliable
from pgpc.contrast.config import ContrastConfig

SIZES = {"classes": 19, "anchors": 256, "negatives": 512, "dim": 256, "bank": 16_384}
QUOTA = 256
SWEEPS = {
    "anchors": (64, 128, 256, 512),
    "negatives": (128, 256, 512, 1024),
    "bank": (8192, 16_384, 32_768),
    "classes": (5, 10, 19, 38),
}
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def inputs(classes: int, anchors: int, negatives: int, dim: int, bank: int) -> tuple[Tensor, ...]:
    """Return random unit vectors: anchors with gradient, positives and bank; and the index of the negatives."""
    generator = torch.Generator(DEVICE).manual_seed(0)

    def unit(*shape: int) -> Tensor:
        return F.normalize(torch.randn(shape, generator=generator, device=DEVICE), dim=-1)

    index = torch.randint(bank, (classes, anchors, negatives), generator=generator, device=DEVICE)
    return unit(classes, anchors, dim).requires_grad_(), unit(classes, dim), unit(classes, bank, dim), index


def published(anchors: Tensor, positives: Tensor, bank: Tensor, index: Tensor, temperature: float) -> Tensor:
    """Return the loss of Eq. 5, computed as it is written."""
    losses = []
    for k in range(len(anchors)):
        every = torch.cat([positives[k].expand(len(anchors[k]), 1, -1), bank[k][index[k]]], dim=1)
        similarity = F.cosine_similarity(anchors[k][:, None], every, dim=2) / temperature
        first = torch.zeros(len(similarity), dtype=torch.long, device=similarity.device)
        losses.append(F.cross_entropy(similarity, first))
    return torch.stack(losses).mean()


def shared(anchors: Tensor, positives: Tensor, bank: Tensor, index: Tensor, temperature: float) -> Tensor:
    """Return `info_nce` with the negatives of each class's first anchor for all of them."""
    return info_nce(anchors, positives, bank, index[:, 0], temperature)


WAYS = {"published": published, "info_nce": info_nce, "shared": shared}


def seconds(function: Callable[[], object], repeats: int = 5) -> float:
    """Return the shortest of some runs after a first one."""
    times = []
    for _ in range(repeats + 1):
        start = _now()
        function()
        times.append(_now() - start)
    return min(times[1:])


def _now() -> float:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def with_gradient(way: Callable[..., Tensor], arguments: tuple[Tensor, ...]) -> Tensor:
    """Return the loss, after its backward pass."""
    arguments[0].grad = None
    loss = way(*arguments, 0.5)
    loss.backward()
    return loss.detach()


def measure(name: str) -> dict[str, float]:
    """Return time, extra peak memory and value of one way, in this process."""
    way, arguments = WAYS[name], inputs(**SIZES)
    with_gradient(info_nce, inputs(2, 8, 8, 16, 128))  # what the first call of anything takes
    if DEVICE.type == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")
        before = _status("VmRSS")
    times = []
    for _ in range(2 if name == "published" else 10):
        start = _now()
        value = with_gradient(way, arguments)
        times.append(_now() - start)
    peak = torch.cuda.max_memory_allocated() if DEVICE.type == "cuda" else _status("VmHWM")
    return {"seconds": min(times), "bytes": peak - before, "value": value.item()}


def _status(field: str) -> int:
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines[field].split()[0]) * 1024


def compare(rounds: int) -> None:
    """Print the table of all ways."""
    command = [sys.executable, "-m", "tests.benchmarks.contrast", "--one"]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    for _ in range(rounds):
        for name in WAYS:
            out = subprocess.run([*command, name], stdout=subprocess.PIPE, text=True, check=True).stdout
            found[name].append(json.loads(out))
            print(name, out, end="", flush=True)
    best = {name: {key: min(turn[key] for turn in turns) for key in turns[0]} for name, turns in found.items()}
    base = best["published"]
    for name, way in best.items():
        print(
            f"{name:10}{way['seconds'] * 1e3:9.1f} ms, {base['seconds'] / way['seconds']:6.1f} times as fast; "
            f"{way['bytes'] / 1e6:7.1f} MB more, {way['bytes'] / base['bytes']:.3f} of the published; "
            f"value {way['value']:.6f}, off by {abs(way['value'] - base['value']):.1e}",
            flush=True,
        )


def fill(bank: FeatureBank | None) -> tuple[Tensor, Tensor]:
    """Enqueue random rows until the bank is full, and return those that were enqueued last, with their counts."""
    assert bank is not None, "the default settings read this part of the memory bank"
    classes, size, dim = bank.rows.shape
    rows = F.normalize(torch.randn(classes, QUOTA, dim, device=DEVICE), dim=2)
    count = torch.full((classes,), QUOTA, device=DEVICE)
    for _ in range(size // QUOTA):
        bank.enqueue(rows, count)
    return rows, count


def compare_prototypes() -> None:
    """Print what enqueueing a step's rows and reading the prototypes take, beside a sum over the whole bank."""
    size = SIZES["bank"]
    bank = PrototypeBank(SIZES["classes"], size, SIZES["dim"]).to(DEVICE)
    rows, count = fill(bank)
    enqueue, read, full = (
        seconds(f) for f in (lambda: bank.enqueue(rows, count), bank.prototypes, lambda: bank.rows.sum(1) / size)
    )
    print(
        f"bank of {size} rows: enqueue {enqueue * 1e3:.2f} ms, prototypes {read * 1e3:.3f} ms; by a full sum "
        f"{full * 1e3:.1f} ms, {full / read:.0f} times as long"
    )


def print_step() -> None:
    """Print what a step's contrast is made of: two crops of 512 x 512 at stride 4."""
    classes, dim, side = SIZES["classes"], SIZES["dim"], 128
    generator = torch.Generator(DEVICE).manual_seed(0)
    features, free = (
        F.normalize(torch.randn(2, dim, side, side, generator=generator, device=DEVICE), dim=1) for _ in "ab"
    )
    free.requires_grad_()
    coarse = torch.randn(2, classes, 16, 16, generator=generator, device=DEVICE)
    logits = F.interpolate(coarse, size=(side, side), mode="bilinear")
    labels, usable = logits.argmax(1), torch.ones(2, side, side, dtype=torch.bool, device=DEVICE)
    sure = reliable(logits, 0.5)
    for per in ("anchor", "class"):
        config = ContrastConfig(bank_size=SIZES["bank"], dim=dim, negatives_per=per)
        contrast = PixelContrast(config, classes).to(DEVICE)
        fill(contrast.source)
        fill(contrast.target_negatives)
        parts = {
            "reliable": lambda: reliable(logits, 0.5),
            "enqueue_source": lambda of=contrast: of.enqueue_source(features, labels, generator),
            "enqueue_target": lambda of=contrast: of.enqueue_target(features, logits, labels, usable, sure, generator),
            "loss": lambda of=contrast: of.loss(free, labels, sure, generator),
            # Into no `grad`, whose order in memory is another.
            "loss, backward": lambda of=contrast: torch.autograd.grad(of.loss(free, labels, sure, generator)[0], free),
        }
        times = {name: seconds(part) * 1e3 for name, part in parts.items()}
        words = ", ".join(f"{name} {value:.1f}" for name, value in times.items())
        total = sum(times.values()) - times["loss"]
        print(f"step, negatives per {per}: {total:.2f} ms: {words}", flush=True)


def print_growth() -> None:
    """Print times over each size, with half the anchors and negatives where they are not that size, and exponents."""
    base = {**SIZES, "negatives": 256, "anchors": 128}
    for size, values in SWEEPS.items():
        times: dict[str, list[float]] = {"info_nce": [], "shared": []}
        for value in values:
            arguments = inputs(**{**base, size: value})
            for name, of_way in times.items():
                of_way.append(seconds(lambda way=WAYS[name], given=arguments: with_gradient(way, given)))
        for name, of_way in times.items():
            exponent = np.polyfit(np.log(values), np.log(of_way), 1)[0]
            row = ", ".join(f"{value}: {t * 1e3:.1f} ms" for value, t in zip(values, of_way, strict=True))
            print(f"{name} over {size}: {row}; exponent {exponent:.2f}", flush=True)


def main() -> None:
    """Print all comparisons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each way (default: %(default)s)")
    parser.add_argument("--step", action="store_true", help="only what a step's contrast is made of")
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one)))
        return
    if arguments.step:
        print_step()
        return
    where = torch.cuda.get_device_name() if DEVICE.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"{where}; {SIZES}")
    compare(arguments.rounds)
    compare_prototypes()
    print_step()
    print_growth()


if __name__ == "__main__":
    main()
