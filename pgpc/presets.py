"""Named configs: the embedded pair "streets", and tasks x bases x with or without PGPC of the paper.

A config is made of three layers, each of which changes what is below it: the task (which images, at which sizes), the
base (how the target is used), and the contrast. With PGPC a base differs from itself in nothing but the contrast, and
both are as long as the base's own paper says. PGPC's paper trains longer: set training.iterations=60000, in both.

A new task is one more :class:`Task` in `TASKS`, a new base one more :class:`BasePreset` in `BASES`.
"""

from __future__ import annotations

import difflib
import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pgpc.config import Config, override
from pgpc.models.config import IMAGENET, STREETS

Changes = Mapping[str, Any]

OWN = "custom"
"""Name of the task of one's own data; its numbers are taken from packed shards, see :mod:`pgpc.recipes.own_data`."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A pair of domains.

    Attributes:
        name: Name in front of the slash of a preset's.
        changes: What it changes in the default config.
        high_resolution: What it changes once more for a base of high resolution.
        adverse: Whether the target is one of adverse weather or of night.
        overrides_base: Whether its changes go over those of the base, not the base's over its own.
    """

    name: str
    changes: Changes
    high_resolution: Changes = field(default_factory=dict)
    adverse: bool = False
    overrides_base: bool = False


@dataclass(frozen=True, kw_only=True)
class BasePreset:
    """A way to use the target beside the contrast.

    Attributes:
        name: Name behind the slash of a preset's.
        changes: What it changes in its task.
        high_resolution: Whether it is for images of twice the size.
        on_adverse: What it changes once more on tasks of adverse weather.
        on_streets: What it changes once more on the embedded pair.
        with_pgpc: What the contrast needs on it, beside being turned on.
    """

    name: str
    changes: Changes = field(default_factory=dict)
    high_resolution: bool = False
    on_adverse: Changes = field(default_factory=dict)
    on_streets: Changes = field(default_factory=dict)
    with_pgpc: Changes = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A named config.

    Attributes:
        name: Its name.
        task: Name of its task.
        base: Name of its base.
        pgpc: Whether the contrast is on.
        changes: What it changes in the default config.
    """

    name: str
    task: str
    base: str
    pgpc: bool
    changes: Changes


_NO_MARGINS: Changes = {"adaptation.ignore_top": 0, "adaptation.ignore_bottom": 0}
_UNIFORM: Changes = {"data.rare_class_sampling": False, "adaptation.feature_distance_weight": 0.0}
_MASKS: Changes = {"adaptation.masked_weight": 1.0}
_MASKS_ON_ADVERSE: Changes = {"adaptation.masked_images": "both", **_NO_MARGINS}
_MASKS_ON_STREETS: Changes = {"adaptation.mask_block": 8}  # the same share of a crop
_DETAIL: Changes = {"model.architecture": "hrda", "model.detail_crop": 512}
_DETAIL_ON_STREETS: Changes = {"model.detail_crop": 64}  # the native size is the detail, its half the context

_VFM: Changes = {
    "base": "vfm_uda",
    "model.architecture": "vit_light",
    "model.encoder": "vit_base_patch14_dinov2",
    "model.image_scale": 1.1,
    "model.drop_path": 0.0,
    **_MASKS,
    "adaptation.mask_unit": "token",
    "adaptation.mirrored_teacher": True,
    "adaptation.source_colors": "weak",
    "adaptation.feature_distance_weight": 0.0,
    "data.rare_class_temperature": 0.05,
    "optimizer.lr": 5e-6 * math.sqrt(8),
    "optimizer.warmup_ratio": 1e-3,
    "optimizer.decay_norms": True,
    "training.batch_size": 8,
    "training.precision": "bfloat16",  # the authors' is float16 with scaled losses
}
_VFM_ON_STREETS: Changes = {
    # Tiny, and shown images at twice their size: from random weights patches of 16 of their pixels are coarse.
    "model.encoder": "test_vit",
    "model.pretrained": None,  # the weights that come with the package are a MiT's
    "model.image_scale": 2.0,
    "training.precision": "float32",
}

BASES: Sequence[BasePreset] = (
    # Nothing but labeled source images, drawn uniformly. The contrast brings the teacher that it needs, but no loss on
    # its pseudo-labels.
    BasePreset(
        name="source-only",
        changes={**_UNIFORM, "adaptation.enabled": False},
        with_pgpc={"adaptation.enabled": True, "adaptation.target_weight": 0.0},
    ),
    # Self-training with ClassMix alone, with the settings of the code of MIC.
    BasePreset(
        name="dacs",
        changes={**_UNIFORM, **_NO_MARGINS, "adaptation.ema_decay": 0.99},
        on_streets={"adaptation.ignore_bottom": 0},
    ),
    # Self-training, rare class sampling, feature distance: the defaults.
    BasePreset(name="daformer"),
    BasePreset(
        name="mic-daformer",
        changes={**_MASKS, "adaptation.mask_block": 32},
        on_adverse=_MASKS_ON_ADVERSE,
        on_streets=_MASKS_ON_STREETS,
    ),
    # The same on images of twice the size, of which the network sees the whole at half size and a part in detail.
    BasePreset(name="hrda", changes=_DETAIL, high_resolution=True, on_streets=_DETAIL_ON_STREETS),
    BasePreset(
        name="mic-hrda",
        changes={**_DETAIL, **_MASKS, "adaptation.mask_block": 64},
        high_resolution=True,
        on_adverse=_MASKS_ON_ADVERSE,
        on_streets={**_DETAIL_ON_STREETS, **_MASKS_ON_STREETS},
    ),
    # A plain vision transformer and a light decoder, tokens that are hidden, and the teacher's mirrored mean. Its
    # published rate is that of one image; the code multiplies it by the root of the batch size.
    BasePreset(name="vfm-uda", changes=_VFM, high_resolution=True, on_streets=_VFM_ON_STREETS),
    # With a pyramid, stronger colors, rates that fall from block to block, and features near those of a larger encoder.
    BasePreset(
        name="vfm-uda-plusplus",
        changes={
            **_VFM,
            "model.architecture": "pyramid",
            "adaptation.mask_unit": "block",
            "adaptation.mask_block": 64,
            "adaptation.source_colors": "strong",
            "adaptation.distillation_weight": 0.1,
            "optimizer.lr": 5e-6 * math.sqrt(4),
            "optimizer.layer_decay": 0.9,
            "training.batch_size": 4,
        },
        high_resolution=True,
        # There is no larger encoder with weights that know such pictures.
        on_streets={**_VFM_ON_STREETS, **_MASKS_ON_STREETS, "adaptation.distillation_weight": 0.0},
    ),
    # Another network, whole images, SGD, and stages of its own.
    BasePreset(
        name="proca",
        changes={
            "base": "proca",
            "model.architecture": "deeplabv2",
            "model.encoder": "resnet101",
            "model.drop_path": 0.0,
            "data.crop": None,
            "data.fit": "exact",
            "data.interpolation": "bicubic",
            **_UNIFORM,
            **_NO_MARGINS,
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
        on_streets={
            "model.encoder": "resnet18",  # the smallest of timm's ResNets whose shortcuts stay in place when dilated
            "model.pretrained": None,  # the weights that come with the package are a MiT's, which cannot be dilated
            "data.crop": None,
            "optimizer.lr": 5e-3,
            "optimizer.warmup": 0,
            "proca.source_iterations": 400,
            "proca.source_horizon": 600,
            "proca.adapt_lr": 2.5e-3,
            "proca.self_training_iterations": 400,
            "contrast.start": 500,
        },
    ),
)

_CROP_HIGH: Changes = {
    **_NO_MARGINS,
    "data.crop": 1024,
    "data.rare_class_min_crop_ratio": 2.0,
    "evaluation.window": 1024,
    "evaluation.window_stride": 512,
}
_CITYSCAPES_HIGH: Changes = {
    **_CROP_HIGH,
    "data.target_size": (2048, 1024),
    "data.target_margins": (30, 240, 30, 30),  # rectification artifacts and the bonnet of the car
}
_REAL: Changes = {"model.pretrained": IMAGENET}
_ADVERSE: Changes = {
    **_REAL,
    "data.source": "shards/cityscapes",
    "data.source_size": (1024, 512),
    "data.target_size": (960, 540),
}
_ADVERSE_HIGH: Changes = {**_CROP_HIGH, "data.source_size": (2048, 1024), "data.target_size": (1920, 1080)}

TASKS: Sequence[Task] = (
    # The embedded pair.
    Task(
        name="streets",
        changes={
            # Images are used at their native size, and crops are as high as an image.
            "data.source_size": (256, 128),
            "data.target_size": (256, 128),
            "data.crop": 128,
            # Thresholds in pixels, scaled with the area of the crop from 512 x 512.
            "data.rare_class_min_pixels": 3000 * 128**2 // 512**2,
            "data.loader_workers": 0,
            # There are few images to score, so that criteria on as many as elsewhere would take longer than these do.
            "evaluation.criteria_images": 8,
            # Narrow, with the weights that come with the package.
            "model.encoder": "mit_b0",
            "model.head_channels": 32,
            "model.drop_path": 0.0,
            "model.pretrained": STREETS,
            "adaptation.feature_distance_weight": 0.0,
            # The bonnet at the bottom of the target's pictures; there are no rectification artifacts at the top.
            "adaptation.ignore_top": 0,
            "adaptation.ignore_bottom": 8,
            # Few iterations: a larger learning rate, a teacher with a shorter memory, and a third of the iterations
            # before the contrast, as in the paper.
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
        },
        overrides_base=True,
    ),
    Task(
        name="gta5-cityscapes",
        changes={
            **_REAL,
            "data.source": "shards/gta5",
            "data.source_size": (1280, 720),
            "data.target": "shards/cityscapes",
            "data.target_size": (1024, 512),
        },
        high_resolution={**_CITYSCAPES_HIGH, "data.source_size": (2560, 1440)},
    ),
    Task(
        name="synthia-cityscapes",
        changes={
            **_REAL,
            "data.source": "shards/synthia",
            "data.source_size": (1280, 760),
            "data.target": "shards/cityscapes",
            "data.target_size": (1024, 512),
        },
        high_resolution={**_CITYSCAPES_HIGH, "data.source_size": (2560, 1520)},
    ),
    Task(
        name="cityscapes-darkzurich",
        changes={**_ADVERSE, "data.target": "shards/darkzurich"},
        high_resolution=_ADVERSE_HIGH,
        adverse=True,
    ),
    Task(
        name="cityscapes-acdc",
        changes={**_ADVERSE, "data.target": "shards/acdc"},
        high_resolution=_ADVERSE_HIGH,
        adverse=True,
    ),
    Task(
        name="bdd100k-day-night",
        changes={
            **_REAL,
            "data.source": "shards/bdd100k-day",
            "data.source_size": (910, 512),
            "data.target": "shards/bdd100k-night",
            "data.target_size": (910, 512),
        },
        # Enlarged from 1280 x 720, as the papers enlarge GTA5, so that crops of 1024 fit.
        high_resolution={**_CROP_HIGH, "data.source_size": (1820, 1024), "data.target_size": (1820, 1024)},
        adverse=True,
    ),
    Task(
        name="loveda-rural-urban",
        changes={
            **_REAL,
            **_NO_MARGINS,
            "model.num_classes": 7,
            "contrast.r": 1,  # the share of the classes that 4 of 19 are
            "data.source": "shards/loveda-rural",
            "data.source_size": (1024, 1024),
            "data.target": "shards/loveda-urban",
            "data.target_size": (1024, 1024),
        },
        high_resolution=_CROP_HIGH,
    ),
)

_SHORT: Changes = {
    "optimizer.warmup": 20,
    "contrast.start": 60,
    "contrast.fill": 20,
    "training.iterations": 200,
    "training.eval_interval": 50,
}
"""What "streets" changes in "streets/daformer+pgpc", so that one trial of a sweep takes about a minute on a laptop."""


def preset(name: str) -> Config:
    """Return the config of a name.

    Args:
        name: ``"{task}/{base}"``, with ``"+pgpc"`` added for the contrast; ``"streets/oracle"``, which trains on the
            labels of the target, as an upper bound; or ``"streets"``, a short ``"streets/daformer+pgpc"`` for sweeps.

    Raises:
        ValueError: No preset has this name, which the message has the nearest to; or it is of one's own data, which
            :func:`pgpc.own_preset` looks at.
    """
    presets = _presets()
    if name in own_names():
        raise ValueError(
            f"The preset {name!r} takes its numbers from packed shards, so that it needs data.source and data.target. "
            f"Set both, or in Python call pgpc.own_preset({name!r}, source=.., target=..)."
        )
    if name not in presets:
        known = [*presets, *own_names()]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"Unknown preset {name!r}. {hint}`pgpc show --list` lists all {len(known)}.")
    return override(Config(), {**presets[name].changes, "name": name})


def preset_names() -> list[str]:
    """Return the names that :func:`preset` takes."""
    return list(_presets())


def own_names() -> list[str]:
    """Return the names of the presets for one's own data, which :func:`pgpc.own_preset` takes."""
    return [_name(OWN, base.name, pgpc=pgpc) for base in BASES for pgpc in (False, True)]


def find_base(name: str) -> BasePreset:
    """Return the base of the name of a preset, the part behind its slash.

    Raises:
        ValueError: There is no such base; the message lists the known ones.
    """
    for base in BASES:
        if name.partition("/")[2].removesuffix("+pgpc") == base.name:
            return base
    raise ValueError(f"A preset ends in one of {', '.join(base.name for base in BASES)}, but got {name!r}.")


def find(*, task: str, base: str, pgpc: bool) -> Config:
    """Return the config of a base on a task.

    Args:
        task: Name of one of `TASKS`.
        base: Name of one of `BASES`.
        pgpc: Whether the contrast is on.

    Raises:
        ValueError: There is no such task or base; the message says what lists the presets.
    """
    return preset(_name(task, base, pgpc=pgpc))


def task_of(config: Config) -> str:
    """Return the name of the task of the preset that a config came from.

    Raises:
        ValueError: The config came from no preset.
    """
    presets = _presets()
    if config.name in own_names():
        return OWN
    if config.name not in presets:
        raise ValueError(
            f"A config's task is that of its preset, so its name must be a preset's, but got {config.name!r}. "
            "Start from a preset, and leave its name as it is."
        )
    return presets[config.name].task


def _name(task: str, base: str, *, pgpc: bool) -> str:
    return f"{task}/{base}" + "+pgpc" * pgpc


@functools.cache
def _presets() -> Mapping[str, Preset]:
    """Return all presets by their names."""
    tasks, bases = {task.name: task for task in TASKS}, {base.name: base for base in BASES}
    streets = tasks["streets"]
    short = {**_compose(streets, bases["daformer"], pgpc=True), **_SHORT}
    presets = [Preset(name="streets", task="streets", base="daformer", pgpc=True, changes=short)]
    for task in TASKS:
        for base in BASES:
            for pgpc in (False, True):
                name, changes = _name(task.name, base.name, pgpc=pgpc), _compose(task, base, pgpc=pgpc)
                presets.append(Preset(name=name, task=task.name, base=base.name, pgpc=pgpc, changes=changes))
    oracle = {**_compose(streets, bases["source-only"], pgpc=False), "data.source": "streets:target"}
    presets.append(Preset(name="streets/oracle", task="streets", base="source-only", pgpc=False, changes=oracle))
    return {found.name: found for found in presets}


def _compose(task: Task, base: BasePreset, *, pgpc: bool) -> Changes:
    """Return what a base on a task changes in the default config."""
    of_task = {**task.changes, **(task.high_resolution if base.high_resolution else {})}
    if task.overrides_base:
        changes = {**base.changes, **of_task, **base.on_streets}
    else:
        changes = {**of_task, **base.changes, **(base.on_adverse if task.adverse else {})}
    return {**changes, "contrast.enabled": pgpc, **(base.with_pgpc if pgpc else {})}
