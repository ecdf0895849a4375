"""The configuration of one training run: frozen, keyword-only dataclasses, validated when made.

``Config`` is a tree of one dataclass per concern. It is plain data: it can be compared, hashed, written as JSON and
read back. Vary it with :func:`override`, which takes dotted keys and re-validates everything.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pgpc.adaptation.config import AdaptationConfig, ProCAConfig
from pgpc.contrast.config import ContrastConfig
from pgpc.data.config import DataConfig, EvaluationConfig, OnlineCriterion
from pgpc.data.streets.config import StreetsConfig
from pgpc.models.config import ModelConfig
from pgpc.optimization.config import OptimizerConfig
from pgpc.runtime import key_reference
from pgpc.runtime.checks import all_at_once, check, noted
from pgpc.runtime.coercion import coerce
from pgpc.runtime.fields import FieldInfo, Phase, check_fields, documented, fields_of, key, type_hints
from pgpc.runtime.json_text import parse_json

__all__ = [
    "AdaptationConfig",
    "Config",
    "ContrastConfig",
    "DataConfig",
    "EvaluationConfig",
    "ModelConfig",
    "OptimizerConfig",
    "ProCAConfig",
    "StreetsConfig",
    "TrainingConfig",
    "adjustable_keys",
    "bookkeeping_keys",
    "contrast_phase_keys",
    "explain",
    "field_of",
    "flatten",
    "from_dict",
    "from_text",
    "hyperparameter_keys",
    "override",
    "parse_settings",
    "place_keys",
    "reference",
    "to_dict",
    "trunk_length_keys",
    "unreported_keys",
]


KeepBest: TypeAlias = Literal["mIoU", OnlineCriterion]
"""What the best network of a run can be chosen by: mIoU, or a criterion of :mod:`pgpc.evaluation.criteria`."""


@documented
@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingConfig:
    """Length, batch and bookkeeping of a run."""

    iterations: int = key(
        40_000,
        doc="T, the number of optimizer steps; also the horizon of the learning rate. A run that is resumed may get "
        "more where its rate does not depend on T (optimizer.power=0).",
        low=1,
        unit="iterations",
        phase=Phase.START,
    )
    batch_size: int = key(
        2,
        doc="Images per domain and step over all processes; each of W processes takes batch_size / W of them.",
        low=1,
        unit="images",
        phase=Phase.START,
    )
    eval_interval: int = key(
        4_000,
        doc="Iterations between evaluations; a checkpoint is written at each, and at the end.",
        low=1,
        unit="iterations",
        phase=Phase.NEVER,
        reported=True,
    )
    log_interval: int = key(
        50,
        doc="Iterations between points of the training curves.",
        low=1,
        unit="iterations",
        phase=Phase.NEVER,
        reported=True,
    )
    accumulate: int = key(
        1,
        doc="Parts that each process computes its images of a step in, one after the other, with the memory of one "
        "part: their gradients add up to those of `batch_size` images. Pseudo-labels, draws and means are those of "
        "all images; batch norm normalizes each part by its own statistics, and dropout is drawn for each.",
        low=1,
        unit="parts",
        phase=Phase.START,
    )
    keep_best: KeepBest | None = key(
        None,
        doc="Score by which the best network of all evaluations is kept in best.pt, beside checkpoint.pt: mIoU, which "
        "needs labels of the target, or a criterion that needs none, such as bnm. Higher is better; of equals the "
        "first is kept, and None keeps none.",
        phase=Phase.NEVER,
        hyperparameter=False,
    )
    precision: Literal["float32", "bfloat16", "float16"] = key(
        "float32",
        doc='Type of the networks\' activations; losses are always float32. "float16" is for GPUs without bfloat16: '
        "losses are scaled, and a step whose gradients overflow is skipped.",
        phase=Phase.START,
    )
    merge_passes: Literal["auto", True, False] = key(
        "auto",
        doc="The encoder sees the images of all losses of a step as one batch (of one size; HRDA's crops apart), not "
        "one loss's after another's: more work at a time, at two to four times the memory. Not with batch norm. "
        '"auto" merges on a GPU that has the memory, computed before the first step, and never on a CPU, which it '
        "makes slower. The same but for rounding and for draws of dropout and stochastic depth.",
        phase=Phase.START,
    )
    exact: bool = key(
        False,
        doc="Products in float32 keep all of their 24 bits on a GPU, and cuDNN takes the same kernels each time; off, "
        "their factors have the 11 bits of TF32, and cuDNN tries out which kernel is the fastest. Of no effect on a "
        "CPU.",
        phase=Phase.START,
    )
    sync_batch_norm: bool = key(
        True,
        doc="Batch norm takes its statistics over the images of all processes, so that W processes with B / W images "
        "each compute what one with B does; off, each process normalizes by its own.",
        phase=Phase.START,
    )

    @all_at_once()
    def __post_init__(self) -> None:
        if not check_fields(self, "training"):
            return
        check(
            self.batch_size % self.accumulate == 0,
            f"training.accumulate must divide training.batch_size ({self.batch_size}), for parts of one size",
            self.accumulate,
        )


@documented
@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """All that determines a run. On CPUs equal configs, data, processes, threads and versions give equal runs."""

    name: str = key(
        "custom",
        doc="The preset that this config came from; a label, never parsed.",
        phase=Phase.NEVER,
        hyperparameter=False,
    )
    seed: int = key(
        0,
        doc="Seed of initial weights, sampling, augmentation and drawing.",
        low=0,
        phase=Phase.START,
    )
    base: str = key(
        "self_training",
        doc='How the target is used beside the contrast: a module of pgpc.bases ("self_training", "proca"), or with a '
        "dot the name of any importable module that has a subclass of `Base` called `BASE`.",
        phase=Phase.START,
        hyperparameter=False,
    )
    data: DataConfig = field(default_factory=DataConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    adaptation: AdaptationConfig = field(default_factory=AdaptationConfig)
    proca: ProCAConfig = field(default_factory=ProCAConfig)
    contrast: ContrastConfig = field(default_factory=ContrastConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    @all_at_once()
    def __post_init__(self) -> None:
        check_fields(self)
        check(
            all(part.isidentifier() for part in self.base.split(".")),
            "base must be a module of pgpc.bases, such as 'self_training' or 'proca', or with dots the name of another",
            self.base,
        )
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
            not contrast.enabled or contrast.source_from == "teacher" or self.base == "proca" or not on_source_alone,
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
            or self.base == "proca"
            or self.data.source_size == self.data.target_size,
            "data.crop=None needs data.source_size to equal data.target_size, since source pixels are pasted onto "
            f"target images ({self.data.target_size})",
            self.data.source_size,
            "Set data.crop.",
        )
        check(
            self.evaluation.report_share == 0 or self.data.eval_split is not None,
            "evaluation.report_share must be 0 where no split is scored (data.eval_split=none)",
            self.evaluation.report_share,
        )
        check(
            self.training.accumulate == 1 or not contrast.enabled or contrast.source_from == "teacher",
            "training.accumulate must be 1 with contrast.source_from='student', since the memory bank takes in all "
            "source pixels of a step before any loss is taken",
            self.training.accumulate,
            "Set contrast.source_from=teacher.",
        )
        check(
            self.model.finetuning != "frozen"
            or not self.adaptation.enabled
            or self.adaptation.feature_distance_weight == 0,
            "adaptation.feature_distance_weight must be 0 with model.finetuning=frozen, whose encoder stays as it is",
            self.adaptation.feature_distance_weight,
        )
        self._check_keep_best()
        self._check_detail_crop()
        self._check_proca()

    def _check_keep_best(self) -> None:
        """Refuse a score that no evaluation of the run has."""
        needs = {
            "mIoU": (self.data.eval_split is not None, "data.eval_split, the labeled split that is scored"),
            "source_mIoU": (self.data.holdout > 0, "data.holdout, the source images that it is measured on"),
            "teacher_agreement": (self.adaptation.enabled, "adaptation.enabled, for a teacher"),
        }
        name = self.training.keep_best
        if name is None:
            return
        measured = self.evaluation.criteria_images > 0
        fits, what = needs.get(name, (measured, "evaluation.criteria_images, the images that it is measured on"))
        check(fits, f"training.keep_best={name} needs {what}", "none", "Set that, or choose by another score.")
        check(
            measured or name in ("mIoU", "source_mIoU"),
            f"training.keep_best={name} needs evaluation.criteria_images to be at least 1",
            self.evaluation.criteria_images,
        )

    def _check_detail_crop(self) -> None:
        crop, detail = self.data.crop, self.model.detail_crop
        check(
            detail is None or not self.adaptation.masks_tokens,
            "adaptation.mask_unit must be 'block' for architecture 'hrda', which sees an image at two scales",
            self.adaptation.mask_unit,
        )
        if detail is not None:
            check(
                crop is not None and detail < crop and (crop - detail) % 8 == 0,
                f"model.detail_crop must be smaller than data.crop ({crop}) by a multiple of 8",
                detail,
            )

    def _check_proca(self) -> None:
        if self.base != "proca":
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
        check(self.adaptation.enabled, "base=proca needs adaptation.enabled, for the target", False)
        check(
            self.model.architecture != "hrda",
            "base=proca needs model.architecture 'daformer' or 'deeplabv2', which see an image at one scale",
            self.model.architecture,
        )
        for name in ("masked_weight", "feature_distance_weight"):
            value = getattr(self.adaptation, name)
            check(value == 0, f"base=proca needs adaptation.{name}=0, since ProCA has no such loss", value)
        check(
            not self.contrast.enabled or self.contrast.anchor_view == "target",
            "base=proca needs contrast.anchor_view='target', since ProCA mixes no images",
            self.contrast.anchor_view,
        )
        check(
            self.training.merge_passes is not True,
            "base=proca needs training.merge_passes=False, since source and target images are of two sizes",
            self.training.merge_passes,
        )

    @property
    def distilled(self) -> ModelConfig | None:
        """The network whose encoder is the frozen one of the distillation; None where a run has none."""
        adaptation = self.adaptation
        if self.base != "vfm_uda" or not adaptation.enabled or adaptation.distillation_weight == 0:
            return None
        return ModelConfig(
            architecture="vit_light",
            encoder=adaptation.distillation_encoder,
            drop_path=0.0,
            pretrained=adaptation.distillation_pretrained,
        )

    @property
    def networks(self) -> tuple[ModelConfig, ...]:
        """The networks whose initial weights a run reads: the one that it trains first."""
        return (self.model,) if self.distilled is None else (self.model, self.distilled)


def override(config: Config, changes: Mapping[str, Any]) -> Config:
    """Return a copy of a config with some values changed; everything is validated again.

    Args:
        config: The config to start from.
        changes: Dotted key to value, e.g. ``{"contrast.eta": 0.4}``. Strings are converted to the field's type
            (``"0.4"``, ``"true"``, ``"source,target"``, ``"none"``), so that command-line text can be passed as is.

    Raises:
        ValueError: A key does not exist (the message lists near ones), or its field refuses the value. The message
            lists all that is wrong.
    """
    # All changes are applied to plain data before anything is validated, so that values which are valid only together
    # (contrast.quota and contrast.bank_size, say) can be given in any order.
    tree = dataclasses.asdict(config)
    with all_at_once():
        for dotted, value in changes.items():
            with noted():
                info = field_of(dotted)
                *parents, leaf = dotted.split(".")
                node = tree
                for name in parents:
                    node = node[name]
                node[leaf] = coerce(value, info.kind, dotted)
        changed: Config = _build(Config, tree, "")
    return changed


def parse_settings(settings: Sequence[str]) -> dict[str, str]:
    """Split settings as typed on a command line, ``["contrast.eta=0.4"]``, into what :func:`override` takes.

    Raises:
        ValueError: A text has no "=".
    """
    for setting in settings:
        if "=" not in setting:
            raise ValueError(f"--set takes KEY=VALUE, for example contrast.eta=0.4, but got {setting!r}.")
    return {key.strip(): value.strip() for key, _, value in (setting.partition("=") for setting in settings)}


def to_dict(config: Config) -> dict[str, Any]:
    """Return a config as nested plain data, which :func:`from_dict` and JSON take."""
    tree: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return tree


class UnknownKey(ValueError):
    """There is no such key in this version; the text names it."""


def from_dict(tree: Mapping[str, Any]) -> Config:
    """Return the config that :func:`to_dict` was given, also from a file that an earlier version wrote.

    Raises:
        UnknownKey: A key is unknown, and nothing else is wrong.
        ValueError: A field refuses its value. The message lists all that is wrong.
    """
    with all_at_once():
        config: Config = _build(Config, _with_base(tree), "")
    return config


def from_text(text: str, where: Path | str) -> Config:
    """Return the config in a checkpoint or a file, as JSON.

    Args:
        text: The JSON.
        where: What holds it, for messages.

    Raises:
        ValueError: It is no JSON, or not that of a config; the message says where it is.
    """
    try:
        return from_dict(parse_json(text))
    except (ValueError, TypeError) as error:
        raise ValueError(f"The config in {where} cannot be read: {error}") from None


def flatten(config: Config) -> dict[str, Any]:
    """Return the values of a config by dotted key, in the order of the fields."""
    flat = {}
    for dotted in _infos():
        value: Any = config
        for name in dotted.split("."):
            value = getattr(value, name)
        flat[dotted] = value
    return flat


def field_of(key: str) -> FieldInfo:
    """Return all that is known of a key: meaning, default, range, unit, and when it first acts.

    Args:
        key: Dotted key of a value, such as "contrast.eta".

    Raises:
        UnknownKey: There is no such key; the message lists near ones.
    """
    infos = _infos()
    if key in infos:
        return infos[key]
    near = difflib.get_close_matches(key, infos, n=3, cutoff=0.5)
    near = near or [known for known in infos if known.endswith(key.rpartition(".")[2])][:3]
    hint = f"Did you mean {', '.join(near)}?" if near else "`pgpc show streets` lists all keys."
    raise UnknownKey(f"Unknown config key {key!r}. {_RENAMED.get(key, hint)}")


@functools.cache
def bookkeeping_keys() -> tuple[str, ...]:
    """Return the keys that never influence what is learned: a resumed run may set them differently."""
    return _keys(lambda info: info.phase is Phase.NEVER)


@functools.cache
def unreported_keys() -> tuple[str, ...]:
    """Return those of the bookkeeping keys that a run's reports do not depend on either."""
    return _keys(lambda info: info.phase is Phase.NEVER and not info.reported)


@functools.cache
def place_keys() -> tuple[str, ...]:
    """Return the keys that name files or folders, whose contents count and which may move."""
    return _keys(lambda info: info.place)


@functools.cache
def adjustable_keys() -> tuple[str, ...]:
    """Return the keys in which a run may differ from the run that it was forked from.

    They act on single steps only: the shape of no tensor depends on them, and nothing before the contrast.
    """
    return _keys(lambda info: info.adjustable)


@functools.cache
def contrast_phase_keys() -> tuple[str, ...]:
    """Return the keys that influence nothing before the memory bank begins to fill, whatever the others are."""
    return _keys(lambda info: info.phase is Phase.CONTRAST)


@functools.cache
def trunk_length_keys() -> tuple[str, ...]:
    """Return the keys that say when the memory bank begins to fill."""
    return _keys(lambda info: info.phase is Phase.TRUNK_LENGTH)


@functools.cache
def hyperparameter_keys() -> tuple[str, ...]:
    """Return the keys that TensorBoard shows as a run's hyperparameters."""
    return _keys(lambda info: info.hyperparameter)


def explain(key: str, config: Config, width: int) -> str:
    """Return what is known of a key, or of all keys of a group, as text for a terminal.

    Args:
        key: Dotted key, such as "contrast.eta", or "contrast" for a group; empty for all keys.
        config: Config whose values are shown.
        width: Columns of the terminal.

    Raises:
        ValueError: There is no such key; the message lists near ones.
    """
    chosen = [known for known in _infos() if known.startswith(f"{key}." if key else "")]
    if key not in _groups():
        chosen = [field_of(key).key]
    values = flatten(config)
    return "\n\n".join(key_reference.explain(field_of(known), values[known], width) for known in chosen)


def reference() -> str:
    """Return the reference page of all keys in Markdown, which is docs/configuration.md."""
    groups = {group: (cls, list(fields_of(cls, group).values())) for group, cls in _groups().items()}
    return key_reference.markdown(groups, "pgpc show --reference > docs/configuration.md")


_RENAMED = {"proca.enabled": "Set base=proca."}
"""Key that there was once, and what to do instead."""


def _with_base(tree: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return plain data with `base`, which files of earlier versions have as a switch of ProCA's settings."""
    proca = tree.get("proca", {}) if isinstance(tree, Mapping) else None
    if not isinstance(proca, Mapping) or "base" in tree or "enabled" not in proca:
        return tree
    settings = {name: value for name, value in proca.items() if name != "enabled"}
    return {**tree, "base": "proca" if proca["enabled"] else "self_training", "proca": settings}


def _keys(wanted: Callable[[FieldInfo], bool]) -> tuple[str, ...]:
    """Return the keys whose field is wanted, in the order of the fields."""
    return tuple(key for key, info in _infos().items() if wanted(info))


@functools.cache
def _infos() -> Mapping[str, FieldInfo]:
    """Return what is known of every key, in the order of the fields."""
    found: dict[str, FieldInfo] = {}

    def visit(cls: Any, group: str) -> None:
        infos = fields_of(cls, group)
        for f in dataclasses.fields(cls):
            dotted = f"{group}.{f.name}".lstrip(".")
            if f.name in infos:
                found[dotted] = infos[f.name]
            else:
                kind = type_hints(cls)[f.name]
                assert dataclasses.is_dataclass(kind), f"the config field {dotted} is not made with key(..)"
                visit(kind, dotted)

    visit(Config, "")
    return found


@functools.cache
def _groups() -> Mapping[str, type]:
    """Return the class of every group of keys by the group's dotted key, which is empty for the root."""
    found: dict[str, type] = {}

    def visit(cls: Any, group: str) -> None:
        found[group] = cls
        for name, kind in type_hints(cls).items():
            if dataclasses.is_dataclass(kind):
                visit(kind, f"{group}.{name}".lstrip("."))

    visit(Config, "")
    return found


def _build(cls: Any, tree: Any, prefix: str) -> Any:
    """Return an instance of a config class, made of plain data."""
    if not isinstance(tree, Mapping):
        what = f"the group {prefix.rstrip('.')} of a config" if prefix else "a config"
        raise ValueError(f"{what} must be an object of keys and values, but got {tree!r:.80}.")
    hints = type_hints(cls)
    values = {}
    for name, value in tree.items():
        dotted = f"{prefix}{name}"
        if name in hints and dataclasses.is_dataclass(hints[name]):
            values[name] = _build(hints[name], value, f"{dotted}.")
        else:
            with noted():
                values[name] = coerce(value, field_of(dotted).kind, dotted)
    return cls(**values)
