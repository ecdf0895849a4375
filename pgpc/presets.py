"""Named configs: the embedded pair "streets", and tasks x bases x with or without PGPC of the paper.

A config is made of three layers, each of which changes what is below it: the task (which images, at which sizes), the
base (how the target is used), and the contrast. With PGPC a base differs from itself in nothing but the contrast, and
both are as long as the base's own paper says. PGPC's paper trains longer: set training.iterations=60000, in both.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from pgpc.config import Config, override

Changes = Mapping[str, Any]

_SELF_TRAINING: Changes = {"data.rare_class_sampling": False, "adaptation.feature_distance_weight": 0.0}
_MIC: Changes = {"adaptation.masked_weight": 1.0}
_BASES: Mapping[str, Changes] = {
    # Nothing but labeled source images, drawn uniformly.
    "source-only": {**_SELF_TRAINING, "adaptation.enabled": False},
    # Self-training with ClassMix alone.
    "dacs": _SELF_TRAINING,
    # Self-training, rare class sampling, feature distance: the defaults.
    "daformer": {},
    "mic-daformer": {**_MIC, "adaptation.mask_block": 32},
    # The same on images of twice the size, of which the network sees the whole at half size and a part in detail.
    "hrda": {"model.architecture": "hrda", "model.detail_crop": 512},
    "mic-hrda": {"model.architecture": "hrda", "model.detail_crop": 512, **_MIC, "adaptation.mask_block": 64},
    # Another network, whole images, SGD, and stages of its own.
    "proca": {
        "base": "proca",
        "model.architecture": "deeplabv2",
        "model.encoder": "resnet101",
        "model.drop_path": 0.0,
        "data.crop": None,
        "data.fit": "exact",
        "data.interpolation": "bicubic",
        "data.rare_class_sampling": False,
        "adaptation.feature_distance_weight": 0.0,
        "adaptation.ignore_top": 0,
        "adaptation.ignore_bottom": 0,
        "optimizer.algorithm": "sgd",
        "optimizer.lr": 5e-4,
        "optimizer.weight_decay": 5e-4,
        "optimizer.power": 0.9,
        "optimizer.warmup": 0,
        "contrast.start": 40_000,  # 20,000 iterations after the stage on the source alone
        "training.batch_size": 4,
        "training.iterations": 200_000,
        "training.eval_interval": 10_000,
    },
}
"""What a base changes in its task."""

_HIGH_RESOLUTION = ("hrda", "mic-hrda")

_CITYSCAPES_HIGH: Changes = {
    "data.target_size": (2048, 1024),
    "data.target_margins": (30, 240, 30, 30),  # rectification artifacts and the bonnet of the car
}
_NO_MARGINS: Changes = {"adaptation.ignore_top": 0, "adaptation.ignore_bottom": 0}
_CROP_HIGH: Changes = {
    **_NO_MARGINS,
    "data.crop": 1024,
    "data.rare_class_min_crop_ratio": 2.0,
    "evaluation.window": 1024,
    "evaluation.window_stride": 512,
}
_ADVERSE: Changes = {
    "data.source": "shards/cityscapes",
    "data.source_size": (1024, 512),
    "data.target_size": (960, 540),
}
_ADVERSE_HIGH: Changes = {**_CROP_HIGH, "data.source_size": (2048, 1024), "data.target_size": (1920, 1080)}

_TASKS: Mapping[str, Changes] = {
    "gta5-cityscapes": {
        "data.source": "shards/gta5",
        "data.source_size": (1280, 720),
        "data.target": "shards/cityscapes",
        "data.target_size": (1024, 512),
    },
    "synthia-cityscapes": {
        "data.source": "shards/synthia",
        "data.source_size": (1280, 760),
        "data.target": "shards/cityscapes",
        "data.target_size": (1024, 512),
    },
    "cityscapes-darkzurich": {**_ADVERSE, "data.target": "shards/darkzurich"},
    "cityscapes-acdc": {**_ADVERSE, "data.target": "shards/acdc"},
}

_TASKS_HIGH: Mapping[str, Changes] = {
    "gta5-cityscapes": {**_CROP_HIGH, **_CITYSCAPES_HIGH, "data.source_size": (2560, 1440)},
    "synthia-cityscapes": {**_CROP_HIGH, **_CITYSCAPES_HIGH, "data.source_size": (2560, 1520)},
    "cityscapes-darkzurich": _ADVERSE_HIGH,
    "cityscapes-acdc": _ADVERSE_HIGH,
}
"""What a base of high resolution changes in its task, beside its network."""

_MIC_ON_ADVERSE: Changes = {"adaptation.masked_images": "both", **_NO_MARGINS}

_STREETS: Changes = {
    # Images are used at their native size, and crops are as high as an image.
    "data.source_size": (256, 128),
    "data.target_size": (256, 128),
    "data.crop": 128,
    # Thresholds in pixels, scaled with the area of the crop from 512 x 512.
    "data.rare_class_min_pixels": 3000 * 128**2 // 512**2,
    "data.loader_workers": 0,
    # Narrow, and without pretrained weights to stay close to.
    "model.encoder": "mit_b0",
    "model.head_channels": 32,
    "model.drop_path": 0.0,
    "adaptation.feature_distance_weight": 0.0,
    # The bonnet at the bottom of the target's pictures; there are no rectification artifacts at the top.
    "adaptation.ignore_top": 0,
    "adaptation.ignore_bottom": 8,
    # From random weights in few iterations: a larger learning rate, a teacher with a shorter memory, and a third of the
    # iterations before the contrast, as in the paper.
    "adaptation.ema_decay": 0.99,
    "optimizer.lr": 6e-4,
    "optimizer.warmup": 50,
    "contrast.start": 400,
    "contrast.fill": 50,
    "contrast.dim": 64,
    "contrast.hidden": 64,
    "contrast.bank_size": 512,
    "contrast.quota": 32,
    "contrast.pool": 512,
    "training.iterations": 1200,
    "training.batch_size": 2,
    "training.eval_interval": 200,
    "training.log_interval": 10,
}

_MASKS_ON_STREETS: Changes = {"adaptation.mask_block": 8}  # the same share of a crop
_DETAIL_ON_STREETS: Changes = {"model.detail_crop": 64}  # the native size is the detail, its half the context
_BASES_ON_STREETS: Mapping[str, Changes] = {
    "mic-daformer": _MASKS_ON_STREETS,
    "hrda": _DETAIL_ON_STREETS,
    "mic-hrda": {**_DETAIL_ON_STREETS, **_MASKS_ON_STREETS},
    "proca": {
        "model.encoder": "resnet10t",
        "data.crop": None,
        "optimizer.lr": 5e-3,
        "optimizer.warmup": 0,
        "proca.source_iterations": 400,
        "proca.source_horizon": 600,
        "proca.adapt_lr": 2.5e-3,
        "proca.self_training_iterations": 400,
        "contrast.start": 500,
    },
}
"""What a base changes once more on the embedded pair."""

_SHORT: Changes = {
    "contrast.start": 40,
    "contrast.fill": 20,
    "training.iterations": 140,
    "training.eval_interval": 35,
}
"""What "streets" changes in "streets/daformer+pgpc", so that one trial of a sweep takes about a minute on a laptop."""


def preset(name: str) -> Config:
    """A named config.

    Args:
        name: ``"{task}/{base}"``, with ``"+pgpc"`` added for the contrast; ``"streets/oracle"``, which trains on the
            labels of the target, as an upper bound; or ``"streets"``, a short ``"streets/daformer+pgpc"`` for sweeps.

    Raises:
        ValueError: no preset has this name; the message lists the known ones.
    """
    presets = _presets()
    if name not in presets:
        near = difflib.get_close_matches(name, presets, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"Unknown preset {name!r}. {hint}Known presets: {', '.join(presets)}.")
    return override(Config(), {**presets[name], "name": name})


def preset_names() -> list[str]:
    """The names that :func:`preset` takes."""
    return list(_presets())


def _presets() -> dict[str, Changes]:
    """Name to what it changes in the default config."""
    presets = {"streets": {**_on_streets("daformer", pgpc=True), **_SHORT}}
    for task in ("streets", *_TASKS):
        for base in _BASES:
            for pgpc in (False, True):
                changes = _on_streets(base, pgpc=pgpc) if task == "streets" else _on_task(task, base, pgpc=pgpc)
                presets[f"{task}/{base}" + "+pgpc" * pgpc] = changes
    presets["streets/oracle"] = {**_on_streets("source-only", pgpc=False), "data.source": "streets:target"}
    return presets


def _on_task(task: str, base: str, *, pgpc: bool) -> Changes:
    high = _TASKS_HIGH[task] if base in _HIGH_RESOLUTION else {}
    adverse_mic = _MIC_ON_ADVERSE if base.startswith("mic") and task.startswith("cityscapes") else {}
    return _with_teacher({**_TASKS[task], **high, **_BASES[base], **adverse_mic, "contrast.enabled": pgpc})


def _on_streets(base: str, *, pgpc: bool) -> Changes:
    return _with_teacher({**_BASES[base], **_STREETS, **_BASES_ON_STREETS.get(base, {}), "contrast.enabled": pgpc})


def _with_teacher(changes: Changes) -> Changes:
    """On "source-only" the contrast brings the teacher that it needs, but no loss on its pseudo-labels."""
    if changes["contrast.enabled"] and not changes.get("adaptation.enabled", True):
        return {**changes, "adaptation.enabled": True, "adaptation.target_weight": 0.0}
    return changes
