"""The configuration of one training run: frozen, keyword-only dataclasses, validated when made.

``Config`` is a tree of one dataclass per concern. It is plain data: it can be compared, hashed, written as JSON and
read back. Vary it with :func:`override`, which takes dotted keys and re-validates everything.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pgpc.adaptation.config import AdaptationConfig, ProCAConfig
from pgpc.data.config import DataConfig, EvaluationConfig
from pgpc.models.config import ModelConfig
from pgpc.runtime.checks import check


@dataclass(frozen=True, kw_only=True, slots=True)
class ContrastConfig:
    """The paper's contribution: anchors, positives, negatives and InfoNCE (Eqs. 5-11)."""

    enabled: bool = True
    """Whether the contrastive loss is part of the training; off is the base."""
    r: int = 4
    """Eq. 11: a target pixel is a negative of class c when c is not among the teacher's r most probable classes."""
    eta: float = 0.5
    """Share of target pixels, those of lowest entropy, that may become anchors (Eqs. 7, 8)."""
    weight: float = 0.1
    """lambda_c of Eq. 6."""
    anchors: int = 256
    """M of Eq. 5: anchors per class and step, drawn with replacement."""
    negatives: int = 512
    """N of Eq. 5: negatives per anchor, drawn with replacement."""
    temperature: float = 0.5
    """tau of Eq. 5."""
    start: int = 20_000
    """First iteration (0-based) with the loss."""
    fill: int = 500
    """The memory is filled during this many iterations before `start`."""
    dim: int = 256
    """Length of the projected, L2-normalized pixel features."""
    hidden: int = 256
    """Width of the projection head's hidden layer."""
    bank_size: int = 4096
    """Rows that the memory keeps per class; the oldest are overwritten."""
    quota: int = 256
    """Most rows that one step adds per class, over all processes."""
    pool: int = 4096
    """Rows per class from which the anchors of one step draw their negatives; itself drawn from the whole memory."""
    negatives_per: Literal["anchor", "class"] = "anchor"
    """What N negatives are drawn for: each "anchor", from the pool, as the paper does; or once for each "class", from
    the whole memory, and shared by its anchors: the same negatives on average, at a fraction of the time."""
    family: Literal["hybrid", "pixel_to_pixel", "pixel_to_prototype"] = "hybrid"
    """What an anchor is drawn to and pushed from (Fig. 1): "hybrid", the paper's, to a prototype and from pixels; or,
    the two that it argues against, to and from pixels, and to and from prototypes."""
    positive: Literal["source_prototype", "target_prototype"] = "source_prototype"
    """Which domain's memory the prototype of Eq. 9 is the mean of (SP and TP in Table 6); in "pixel_to_pixel" the
    positives are drawn from that memory, and in "pixel_to_prototype" the negatives are its other means."""
    negative: tuple[Literal["source", "target"], ...] = ("source", "target")
    """Where negatives come from: source pixels (Eq. 10, SN), target pixels (Eq. 11, TN), or both, half and half;
    ignored in "pixel_to_prototype"."""
    average: Literal["valid", "all"] = "valid"
    """What the sum over classes is divided by: the classes that have anchors, a positive and negatives, or all C as
    Eq. 5 is written."""
    head_warmup: int = 0
    """Iterations from `start` on in which the learning rate of the projection head, untrained until then, rises
    linearly; 0 starts with the full one."""
    anchor_view: Literal["target", "mixed"] = "target"
    """Anchors are the student's features of the clean target image (one more pass), or of the mixed image."""
    source_from: Literal["teacher", "student"] = "teacher"
    """Whose encoder the memory has its source pixels from, projected by the teacher's head: the "teacher"'s (one more
    pass), as the paper has it, or the "student"'s, which sees the source images anyway, with its dropout and, in ProCA,
    in other colors; ignored where nothing reads source pixels."""
    reliable_by: Literal["entropy", "confidence"] = "entropy"
    """What ranks target pixels by reliability (Table 7)."""
    reliable_per: Literal["image", "batch", "class"] = "image"
    """Over what the share `eta` is taken (Table 7): each image, all images of the step, or each pseudo-class of an
    image."""

    def __post_init__(self) -> None:
        check(self.r >= 1, "contrast.r must be >= 1", self.r, "The paper uses 4.")
        check(0 < self.eta <= 1, "contrast.eta must lie in (0, 1]", self.eta, "The paper uses 0.5.")
        check(0 <= self.weight < math.inf, "contrast.weight must be finite and >= 0", self.weight)
        for name in ("anchors", "negatives", "dim", "hidden", "bank_size", "quota", "pool"):
            check(getattr(self, name) >= 1, f"contrast.{name} must be >= 1", getattr(self, name))
        check(
            self.quota <= self.bank_size,
            f"contrast.quota must not exceed contrast.bank_size ({self.bank_size})",
            self.quota,
        )
        check(
            self.bank_size <= 2**18,
            f"contrast.bank_size must be at most {2**18}, up to which prototypes are exact",
            self.bank_size,
        )
        check(0 < self.temperature < math.inf, "contrast.temperature must be finite and > 0", self.temperature)
        check(self.start >= 0, "contrast.start must be >= 0", self.start)
        check(self.fill >= 0, "contrast.fill must be >= 0", self.fill)
        check(self.head_warmup >= 0, "contrast.head_warmup must be >= 0", self.head_warmup)
        check(
            len(self.negative) > 0 and len(set(self.negative)) == len(self.negative),
            "contrast.negative must name 'source', 'target' or both, each once",
            self.negative,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerConfig:
    """AdamW or SGD, and a learning rate that warms up linearly and decays to zero."""

    algorithm: Literal["adamw", "sgd"] = "adamw"
    """AdamW, or stochastic gradient descent with momentum (ProCA)."""
    lr: float = 6e-5
    """Learning rate of the encoder before warm-up and decay."""
    head_factor: float = 10.0
    """The decoder and the projection head learn at `lr` times this."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW's moment decays."""
    momentum: float = 0.9
    """SGD's momentum."""
    weight_decay: float = 0.01
    """Weight decay, AdamW's decoupled; with AdamW 0 on the encoder's normalization layers."""
    warmup: int = 1500
    """Iterations of linear warm-up; the decay acts during them too. 0 starts with the full learning rate."""
    warmup_ratio: float = 1e-6
    """Share of the learning rate at iteration 0."""
    power: float = 1.0
    """Exponent of the polynomial decay (1 - t/T)^power."""

    def __post_init__(self) -> None:
        check(0 < self.lr < math.inf, "optimizer.lr must be finite and > 0", self.lr)
        check(0 < self.head_factor < math.inf, "optimizer.head_factor must be finite and > 0", self.head_factor)
        check(
            len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas),
            "optimizer.betas must be two numbers in [0, 1)",
            self.betas,
        )
        check(0 <= self.momentum < 1, "optimizer.momentum must lie in [0, 1)", self.momentum)
        check(0 <= self.weight_decay < math.inf, "optimizer.weight_decay must be finite and >= 0", self.weight_decay)
        check(self.warmup >= 0, "optimizer.warmup must be >= 0", self.warmup)
        check(0 < self.warmup_ratio <= 1, "optimizer.warmup_ratio must lie in (0, 1]", self.warmup_ratio)
        check(self.power > 0, "optimizer.power must be > 0", self.power)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingConfig:
    """Length, batch and bookkeeping of a run."""

    iterations: int = 40_000
    """T, the number of optimizer steps; also the horizon of the learning rate."""
    batch_size: int = 2
    """Images per domain and step over all processes; each of W processes takes batch_size / W of them."""
    eval_interval: int = 4_000
    """Iterations between evaluations; a checkpoint is written at each, and at the end."""
    log_interval: int = 50
    """Iterations between points of the training curves."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Type of the networks' activations; losses are always float32."""
    merge_passes: bool = False
    """The encoder sees the images of all losses of a step as one batch (of one size; HRDA's crops apart), not one
    loss's after another's: more work at a time, at two to four times the memory. Not with batch norm."""
    sync_batch_norm: bool = True
    """Batch norm takes its statistics over the images of all processes, so that W processes with B / W images each
    compute what one with B does; off, each process normalizes by its own."""

    def __post_init__(self) -> None:
        for name in ("iterations", "batch_size", "eval_interval", "log_interval"):
            check(getattr(self, name) >= 1, f"training.{name} must be >= 1", getattr(self, name))


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Everything that determines a run. On CPUs two runs of equal configs, data and numbers of processes are equal."""

    name: str = "custom"
    """The preset this came from; a label, never parsed."""
    seed: int = 0
    """Seed of initial weights, sampling, augmentation and drawing."""
    data: DataConfig = field(default_factory=DataConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    adaptation: AdaptationConfig = field(default_factory=AdaptationConfig)
    proca: ProCAConfig = field(default_factory=ProCAConfig)
    contrast: ContrastConfig = field(default_factory=ContrastConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        check(self.seed >= 0, "seed must be >= 0", self.seed)
        check(
            not self.contrast.enabled or self.contrast.r < self.model.num_classes,
            f"contrast.r must be smaller than model.num_classes ({self.model.num_classes}), or no pixel is a negative",
            self.contrast.r,
            "The paper uses 4 of 19.",
        )
        check(
            not self.contrast.enabled or self.adaptation.enabled,
            "contrast.enabled needs adaptation.enabled, since anchors come from the teacher's pseudo-labels",
            self.contrast.enabled,
            "Set contrast.enabled=false or adaptation.enabled=true.",
        )
        check(
            not self.contrast.enabled or self.contrast.start < self.training.iterations,
            f"contrast.start must be smaller than training.iterations ({self.training.iterations}), "
            "or the contrast never begins",
            self.contrast.start,
            "The paper starts after a third of the iterations.",
        )
        adaptation, contrast = self.adaptation, self.contrast
        on_source_alone = adaptation.target_weight == adaptation.masked_weight == 0 and contrast.anchor_view == "target"
        check(
            not contrast.enabled or contrast.source_from == "teacher" or self.proca.enabled or not on_source_alone,
            "contrast.source_from must be 'teacher' where the decoder learns from the source alone, in the last pass",
            contrast.source_from,
        )
        crop, height = self.data.crop, self.data.target_size[1]
        rows = self.adaptation.ignore_top + self.adaptation.ignore_bottom
        check(
            not self.adaptation.enabled or rows < (crop or height),
            f"adaptation.ignore_top + adaptation.ignore_bottom must leave rows of a crop of {crop or height}",
            rows,
        )
        check(
            crop is not None
            or not self.adaptation.enabled
            or self.proca.enabled
            or self.data.source_size == self.data.target_size,
            "data.crop=None needs data.source_size to equal data.target_size, since source pixels are pasted onto "
            f"target images ({self.data.target_size})",
            self.data.source_size,
            "Set data.crop.",
        )
        self._check_detail_crop()
        self._check_proca()

    def _check_detail_crop(self) -> None:
        crop, detail = self.data.crop, self.model.detail_crop
        if detail is not None:
            check(
                crop is not None and detail < crop and (crop - detail) % 8 == 0,
                f"model.detail_crop must be smaller than data.crop ({crop}) by a multiple of 8",
                detail,
            )

    def _check_proca(self) -> None:
        if not self.proca.enabled:
            return
        adapt = self.training.iterations - self.proca.self_training_iterations
        check(
            self.proca.source_iterations < adapt,
            "proca.source_iterations + proca.self_training_iterations must leave iterations of training.iterations "
            f"({self.training.iterations})",
            self.proca.source_iterations + self.proca.self_training_iterations,
        )
        check(
            not self.contrast.enabled
            or (
                self.proca.source_iterations <= self.contrast.start - self.contrast.fill and self.contrast.start < adapt
            ),
            "contrast.start must lie in the stage of ProCA that adapts, contrast.fill before it included: "
            f"iterations {self.proca.source_iterations} to {adapt}",
            self.contrast.start,
        )
        check(self.adaptation.enabled, "proca.enabled needs adaptation.enabled, for the target", False)
        check(
            self.model.architecture != "hrda",
            "proca.enabled needs model.architecture 'daformer' or 'deeplabv2', which see an image at one scale",
            self.model.architecture,
        )
        for key in ("masked_weight", "feature_distance_weight"):
            value = getattr(self.adaptation, key)
            check(value == 0, f"proca.enabled needs adaptation.{key}=0, since ProCA has no such loss", value)
        check(
            not self.contrast.enabled or self.contrast.anchor_view == "target",
            "proca.enabled needs contrast.anchor_view='target', since ProCA mixes no images",
            self.contrast.anchor_view,
        )
        check(
            not self.training.merge_passes,
            "proca.enabled needs training.merge_passes=False, since source and target images are of two sizes",
            self.training.merge_passes,
        )


def override(config: Config, changes: Mapping[str, Any]) -> Config:
    """A copy of `config` with some values changed; everything is validated again.

    Args:
        config: the config to start from.
        changes: dotted key to value, e.g. ``{"contrast.eta": 0.4}``. Strings are converted to the field's type
            (``"0.4"``, ``"true"``, ``"source,target"``, ``"none"``), so that command-line text can be passed as is.

    Raises:
        ValueError: a key that does not exist (the message lists near ones) or a value that its field refuses.
    """
    # All changes are applied to plain data before anything is validated, so that values which are valid only together
    # (contrast.quota and contrast.bank_size, say) can be given in any order.
    tree = dataclasses.asdict(config)
    for key, value in changes.items():
        *parents, leaf = _resolve(key)
        node = tree
        for name in parents:
            node = node[name]
        node[leaf] = value
    return from_dict(tree)


def parse_settings(settings: Sequence[str]) -> dict[str, str]:
    """``["contrast.eta=0.4"]``, as typed on a command line, to ``{"contrast.eta": "0.4"}`` for :func:`override`.

    Raises:
        ValueError: text without "=".
    """
    for setting in settings:
        if "=" not in setting:
            raise ValueError(f"--set takes KEY=VALUE, for example contrast.eta=0.4, but got {setting!r}.")
    return {key.strip(): value.strip() for key, _, value in (setting.partition("=") for setting in settings)}


def to_dict(config: Config) -> dict[str, Any]:
    """`config` as nested plain data that :func:`from_dict` and JSON take."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def from_dict(tree: Mapping[str, Any]) -> Config:
    """The config that :func:`to_dict` gave.

    Raises:
        ValueError: an unknown key or a value that its field refuses.
    """
    return _build(Config, tree, "")


def flatten(config: Config) -> dict[str, Any]:
    """`config` as dotted key -> value, in the order of the fields."""
    flat: dict[str, Any] = {}

    def visit(node: Any, prefix: str) -> None:
        for f in dataclasses.fields(node):
            value = getattr(node, f.name)
            if dataclasses.is_dataclass(value):
                visit(value, f"{prefix}{f.name}.")
            else:
                flat[prefix + f.name] = value

    visit(config, "")
    return flat


def _resolve(key: str) -> list[str]:
    """The path of a dotted key that names a value, not a group."""
    path = key.split(".")
    cls: Any = Config
    for i, name in enumerate(path):
        fields = {f.name for f in dataclasses.fields(cls)} if dataclasses.is_dataclass(cls) else set()
        if name not in fields:
            break
        cls = _hints(cls)[name]
        if i == len(path) - 1 and not dataclasses.is_dataclass(cls):
            return path
    known = list(flatten(Config()))
    near = difflib.get_close_matches(key, known, n=3, cutoff=0.5) or [k for k in known if k.endswith(path[-1])][:3]
    hint = f"Did you mean {', '.join(near)}?" if near else "`pgpc show streets` lists all keys."
    raise ValueError(f"Unknown config key {key!r}. {hint}")


_hints = functools.cache(typing.get_type_hints)  # it evaluates the text of every annotation


def _build(cls: Any, tree: Mapping[str, Any], prefix: str) -> Any:
    hints = _hints(cls)
    values = {}
    for name, value in tree.items():
        if name not in hints:
            _resolve(prefix + name)
        if dataclasses.is_dataclass(hints[name]):
            values[name] = _build(hints[name], value, f"{prefix}{name}.")
        else:
            values[name] = _coerce(value, hints[name], prefix + name)
    return cls(**values)


def _coerce(value: Any, kind: Any, key: str) -> Any:
    """`value` as the type `kind`; text is parsed.

    Raises:
        ValueError: the value is not of that type.
    """
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        if value in args:
            return value
        raise ValueError(f"{key} must be one of {', '.join(map(repr, args))}, but got {value!r}.")
    if origin in (typing.Union, types.UnionType):  # only "X | None" is used
        if value is None or (isinstance(value, str) and value.lower() == "none"):
            return None
        return _coerce(value, next(a for a in args if a is not type(None)), key)
    if origin is tuple:
        items = value.split(",") if isinstance(value, str) else value
        if not isinstance(items, (list, tuple)):
            raise ValueError(f"{key} must be a list (on the command line: a,b), but got {value!r}.")
        items = [i.strip() if isinstance(i, str) else i for i in items]
        item_kinds = [args[0]] * len(items) if len(args) == 2 and args[1] is Ellipsis else list(args)
        if len(items) != len(item_kinds):
            raise ValueError(f"{key} must have {len(item_kinds)} items, but got {value!r}.")
        return tuple(_coerce(i, k, key) for i, k in zip(items, item_kinds))
    if kind is bool:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true"
        raise ValueError(f"{key} must be true or false, but got {value!r}.")
    if kind is str:
        if isinstance(value, str):
            return value
        raise ValueError(f"{key} must be text, but got {value!r}.")
    assert kind in (int, float), f"config field {key} has a type that cannot be converted: {kind}"
    try:
        number = float(value) if not isinstance(value, bool) else math.nan
        converted = int(value) if isinstance(value, (int, str)) and kind is int else kind(number)
    except (TypeError, ValueError, OverflowError):
        number, converted = math.nan, math.nan
    if math.isnan(number) or converted != number:
        noun = "a whole number" if kind is int else "a number"
        raise ValueError(f"{key} must be {noun}, but got {value!r}.")
    return converted
