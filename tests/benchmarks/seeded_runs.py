"""Digests of short seeded runs of every base, with and without PGPC: what a redesign must leave as it is, bit for bit.

    python -m tests.benchmarks.seeded_runs --write before.json      in the checkout before
    python -m tests.benchmarks.seeded_runs --compare before.json    in the checkout after, on the same machine

Two runs of one config are equal bit for bit on one machine, and may differ in the last bit on another, so the digests
are not kept in the repository.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

import pgpc

BASES = ("source-only", "dacs", "daformer", "mic-daformer", "hrda", "mic-hrda", "proca")
TINY: dict[str, Any] = {
    "data.streets.num_source": 8,
    "data.streets.num_target": 6,
    "data.streets.num_val": 4,
    "data.streets.height": 64,
    "data.streets.width": 128,
    "data.source_size": (128, 64),
    "data.target_size": (128, 64),
    "data.rare_class_min_pixels": 20,
    "adaptation.confidence": 0.0537,
    "adaptation.ignore_bottom": 4,
    "model.drop_path": 0.1,
    "model.head_channels": 8,
    "optimizer.warmup": 2,
    "model.pretrained": None,
    "contrast.dim": 8,
    "contrast.hidden": 8,
    "contrast.anchors": 16,
    "contrast.negatives": 32,
    "contrast.bank_size": 64,
    "contrast.quota": 16,
    "contrast.pool": 64,
    "contrast.start": 3,
    "contrast.fill": 1,
    "training.iterations": 8,
    "training.eval_interval": 4,
    "training.log_interval": 1,
}
"""Changes to a preset of "streets" that make a run of seconds with every part of the method in it."""
CROPS: dict[str, Any] = {"data.crop": 64}
STAGES: dict[str, Any] = {
    "proca.source_iterations": 2,
    "proca.source_horizon": 4,
    "proca.self_training_iterations": 2,
    "optimizer.warmup": 0,
    "adaptation.ignore_bottom": 0,
}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "anchors on mixed images": ("daformer+pgpc", {**CROPS, "contrast.anchor_view": "mixed"}),
    "source pixels of the student": ("mic-daformer+pgpc", {**CROPS, "contrast.source_from": "student"}),
    "merged passes": ("mic-daformer+pgpc", {**CROPS, "training.merge_passes": True}),
    "proca, source pixels of the student": ("proca+pgpc", {**STAGES, "contrast.source_from": "student"}),
}
"""Beside the presets: name -> preset and further changes."""


def configs() -> Iterator[tuple[str, pgpc.Config]]:
    """Yield the name and the config of each run."""
    for base in BASES:
        for name in (base, f"{base}+pgpc"):
            yield name, _config(name, STAGES if base == "proca" else CROPS)
    for name, (preset, changes) in VARIANTS.items():
        yield name, _config(preset, changes)


def _config(preset: str, changes: dict[str, Any]) -> pgpc.Config:
    detail = {"model.detail_crop": 32} if "hrda" in preset else {}
    return pgpc.override(pgpc.preset(f"streets/{preset}"), {**TINY, **changes, **detail})


def digest(config: pgpc.Config) -> str:
    """Return a digest of all that a run has learned and reported, times apart."""
    with tempfile.TemporaryDirectory() as folder:
        result = pgpc.train(config, out=Path(folder))
        state = torch.load(Path(folder) / "checkpoint.pt", weights_only=True)
    found = hashlib.sha256()
    # ProCA's part of the state was once called by its name.
    parts = {
        "student": state["student"],
        "teacher": state["teacher"],
        "contrast": state["contrast"],
        "base": state.get("base", state.get("proca")),
        "optimizer": {str(i): values for i, values in state["optimizer"]["state"].items()},
    }
    for part, content in parts.items():
        for name, value in sorted(_tensors(content or {}, part)):
            found.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    timed = ("seconds", "images_per_second")
    newer = ("pixel_accuracy", "mean_precision", "mean_recall", "mean_F1")  # than the runs that one compares with
    # How full the memory bank is was once called by another name.
    metrics = {name.replace("memory/", "bank_fill/"): number for name, number in result.metrics.items()}
    for name, number in sorted(metrics.items()):
        if name not in (*timed, *newer):
            found.update(f"{name} {number!r}".encode())
    return found.hexdigest()[:16]


def _tensors(tree: dict[str, Any], prefix: str) -> Iterator[tuple[str, torch.Tensor]]:
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from _tensors(value, f"{prefix}.{name}")
        elif isinstance(value, torch.Tensor):
            yield f"{prefix}.{name}", value


def main() -> int:
    """Return 0, or 1 where a digest differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--write", type=Path, metavar="FILE", help="keep the digests in a JSON file")
    what.add_argument("--compare", type=Path, metavar="FILE", help="compare with digests that were kept")
    parser.add_argument("--only", default="", metavar="TEXT", help="runs whose name holds this text")
    arguments = parser.parse_args()
    before = json.loads(arguments.compare.read_text()) if arguments.compare else {}
    found, differ = {}, 0
    for name, config in configs():
        if arguments.only not in name:
            continue
        found[name] = digest(config)
        verdict = ""
        if arguments.compare:
            equal = before.get(name) == found[name]
            differ += not equal
            verdict = "equal" if equal else f"DIFFERS, was {before.get(name)}"
        print(f"{name:36} {found[name]}  {verdict}", flush=True)
    if arguments.write:
        arguments.write.write_text(json.dumps(found, indent=1) + "\n")
    if arguments.compare:
        print(f"{len(found) - differ} of {len(found)} runs are equal bit for bit")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(main())
