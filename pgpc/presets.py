"""Named configs: the embedded pair "streets", and tasks x bases x with or without PGPC of the paper."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

from pgpc.config import Config, override

_BASES: dict[str, dict[str, Any]] = {
    # Nothing but labelled source images, drawn uniformly.
    "source-only": {
        "adaptation.enabled": False,
        "data.rare_class_sampling": False,
    },
    # Self-training with ClassMix alone.
    "dacs": {
        "data.rare_class_sampling": False,
        "adaptation.feature_distance_weight": 0.0,
    },
    # Self-training, rare class sampling, feature distance: the defaults.
    "daformer": {},
}
"""What a base changes in its task."""

_GTA5_CITYSCAPES: dict[str, Any] = {
    "data.source": "shards/gta5",
    "data.target": "shards/cityscapes",
    "contrast.enabled": False,
}

_STREETS: dict[str, Any] = {
    "contrast.enabled": False,
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
    # The bonnet at the bottom of the target's pictures; there are no rectification artefacts at the top.
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

_SHORT: dict[str, Any] = {
    "contrast.start": 40,
    "contrast.fill": 20,
    "training.iterations": 140,
    "training.eval_interval": 35,
}
"""What "streets" changes in "streets/daformer+pgpc", so that one trial of a sweep takes about a minute on a laptop."""

_TASKS = {"gta5-cityscapes": _GTA5_CITYSCAPES, "streets": _STREETS}


def preset(name: str) -> Config:
    """A named config.

    Args:
        name: ``"{task}/{base}"``, with ``"+pgpc"`` added for the contrast; ``"streets/oracle"``, which trains on the
            labels of the target, as an upper bound; or ``"streets"``, a short ``"streets/daformer+pgpc"`` for sweeps.

    Raises:
        ValueError: no preset has this name; the message lists the known ones.
    """
    makers = _presets()
    if name not in makers:
        near = difflib.get_close_matches(name, makers, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"Unknown preset {name!r}. {hint}Known presets: {', '.join(makers)}.")
    return override(makers[name](), {"name": name})


def preset_names() -> list[str]:
    """The names that :func:`preset` takes."""
    return list(_presets())


def _presets() -> Mapping[str, Callable[[], Config]]:
    makers: dict[str, Callable[[], Config]] = {
        "streets": lambda: override(_make("streets", "daformer", pgpc=True), _SHORT)
    }
    for task in _TASKS:
        for base in _BASES:
            makers[f"{task}/{base}"] = lambda task=task, base=base: _make(task, base, pgpc=False)
            if base != "source-only":
                makers[f"{task}/{base}+pgpc"] = lambda task=task, base=base: _make(task, base, pgpc=True)
    makers["streets/oracle"] = lambda: override(
        _make("streets", "source-only", pgpc=False), {"data.source": "streets:target"}
    )
    return makers


def _make(task: str, base: str, *, pgpc: bool) -> Config:
    changes = {**_TASKS[task], **_BASES[base]}
    if pgpc:
        changes["contrast.enabled"] = True
    return override(Config(), changes)
