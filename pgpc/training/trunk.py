"""Warm-ups: the iterations before the contrast, trained once and forked by every run that begins with the same ones.

Until the memory begins to fill, ``contrast.fill`` iterations before ``contrast.start``, the contrast's settings play no
part: the teacher's features are not projected, nothing is remembered, and the projection head gets no gradient. Runs
that differ in these settings only are alike until then. A warm-up is the folder of a run that was stopped there
(``train(..., until=..)``): its checkpoint, its curves, and ``warm_up.json``, which says what it depends on.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

import pgpc
from pgpc.bases.state import TrainingState, read_checkpoint
from pgpc.config import Config, flatten
from pgpc.data.domains import STREETS_VERSION
from pgpc.data.shards.reader import read_manifest, sha256
from pgpc.runtime import distributed
from pgpc.runtime.checks import check
from pgpc.runtime.files import write_file
from pgpc.runtime.storage import is_url

log = logging.getLogger(__name__)

FILE = "warm_up.json"

_LENGTH = ("contrast.start", "contrast.fill")
_NEUTRAL = (
    *_LENGTH,
    "contrast.r",
    "contrast.eta",
    "contrast.weight",
    "contrast.anchors",
    "contrast.negatives",
    "contrast.temperature",
    "contrast.bank_size",
    "contrast.quota",
    "contrast.pool",
    "contrast.family",
    "contrast.positive",
    "contrast.negative",
    "contrast.average",
    "contrast.head_warmup",
    "contrast.reliable_by",
    "contrast.reliable_per",
    "contrast.negatives_per",
    "contrast.source_from",
    # The head is drawn after the network, is touched by nothing before the contrast, and is no part of the warm-up.
    "contrast.dim",
    "contrast.hidden",
    "name",
    "data.loader_workers",
)
"""Keys without influence on any iteration before `length`, whatever the others are. Every other key counts as one that
has: a new one must be looked at before it is added here."""
_PLACES = ("data.source", "data.target", "model.pretrained")
"""Keys of whose files the contents count, not where they lie."""
_PACKAGES = ("torch", "timm", "numpy", "pillow")
_CODE = "code"


def length(config: Config) -> int:
    """How many of a run's first iterations the contrast has no part in; 0 if it has from the start.

    Without contrast the same as with it, for there the runs part that are alike until then.
    """
    return min(max(config.contrast.start - config.contrast.fill, 0), config.training.iterations)


def influential(config: Config, keys: Collection[str]) -> list[str]:
    """Those of `keys` in which runs that share one warm-up must not differ, in their order."""
    return [key for key in keys if key in _LENGTH or not _is_neutral(key, config)]


def _is_neutral(key: str, config: Config) -> bool:
    if key == "contrast.enabled":  # the stage of ProCA that adapts has its EMA teacher only for the contrast
        return config.base != "proca"
    if key == "contrast.anchor_view":  # without a loss on mixed images they are made for their anchors, from step 0 on
        return config.adaptation.target_weight > 0
    return key in _NEUTRAL


def influences(config: Config, *, processes: int, device: str) -> dict[str, Any]:
    """All that the iterations before `length`, and the reports of them, depend on.

    With more than two processes the sums of gradients also depend on the order in which they are taken, which may
    differ after any interruption; see :class:`pgpc.bases.state.TrainingState`.

    Args:
        config: of the run.
        processes: that train together.
        device: type of their devices, "cpu" or "cuda".

    Returns:
        Plain data by name: values of the config, contents of the data and of the pretrained weights, versions of the
        packages that compute, a digest of this package's code, processes and device.

    Raises:
        ValueError: data that is missing or damaged.
        OSError: data or weights that cannot be read.
    """
    values = {
        key: value for key, value in flatten(config).items() if key not in _PLACES and not _is_neutral(key, config)
    }
    found = {
        **values,
        "data.source": _contents(config.data.source, "train"),
        "data.target": _contents(config.data.target, "train") if config.adaptation.enabled else None,
        "scored": _contents(config.data.target, config.data.eval_split),
        "model.pretrained": sha256(Path(config.model.pretrained)) if config.model.pretrained else "",
        "processes": processes,
        "device": device,
        "versions": {package: importlib.metadata.version(package) for package in _PACKAGES},
        _CODE: _code(),
    }
    return json.loads(json.dumps(found))


def address(config: Config, *, processes: int, device: str) -> str:
    """A name for a run's warm-up: a digest of its `influences` and `length`.

    Raises:
        ValueError: see `influences`.
        OSError: see `influences`.
    """
    found = {**influences(config, processes=processes, device=device), "length": length(config)}
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:32]


@dataclass
class Record:
    """What lies beside the checkpoint of a warm-up, in ``warm_up.json``.

    Attributes:
        influences: what it depends on.
        reports: all reports so far.
        iterations: its length; 0 while it is being trained.
        progress: of ``Progress.state_dict()``, at the end.
    """

    influences: dict[str, Any]
    reports: list[dict[str, float]]
    iterations: int = 0
    progress: dict[str, Any] | None = None

    @property
    def seconds(self) -> float:
        """That its training steps took; of one that is complete."""
        return self.progress["seconds"]

    def write(self, folder: Path) -> None:
        """Write it, whole or not at all."""
        write_file(folder / FILE, lambda file: file.write(json.dumps(asdict(self), indent=1).encode()))


def read_record(folder: Path) -> Record:
    """The record of a warm-up.

    Raises:
        ValueError: there is none in `folder`, or it is damaged.
    """
    try:
        return Record(**json.loads((folder / FILE).read_bytes()))
    except FileNotFoundError:
        raise ValueError(
            f"A warm-up has a {FILE}, but {folder} has none. Name the folder of train(.., until=..)."
        ) from None
    except (ValueError, TypeError) as error:
        raise ValueError(f"{folder / FILE} is damaged: {error}. Train the warm-up again.") from None


def begin_record(folder: Path, state: TrainingState, device: torch.device) -> Record:
    """The record of a warm-up that is about to be trained in `folder`, or to go on from `state`."""
    found = influences(state.config, processes=distributed.world_size(), device=device.type)
    if state.step == 0 or not (folder / FILE).is_file():
        return Record(found, [])
    record = read_record(folder)
    record.reports = [report for report in record.reports if report["iteration"] <= state.step]
    if record.iterations != state.step:
        record.iterations, record.progress = 0, None
    return record


def check_until(config: Config, until: int) -> None:
    """Refuse to stop where the contrast already plays a part.

    Raises:
        ValueError: it does at iteration `until`, or there is no such iteration.
    """
    check(
        1 <= until <= length(config),
        f"until must lie in [1, {length(config)}], before the contrast remembers anything (contrast.start - "
        "contrast.fill), for other runs to go on from there",
        until,
    )


def fork(state: TrainingState, folder: Path, device: torch.device) -> Record:
    """Let `state`, which is at step 0, go on from the end of a warm-up.

    The projection head stays as it is, and the memory empty: nothing touches them before.

    Args:
        state: changed in place.
        folder: of the warm-up.
        device: of this process.

    Returns:
        The warm-up's record.

    Raises:
        ValueError: `folder` holds no complete warm-up, or one of runs that begin differently; the message says how.
    """
    record = read_record(folder)
    check(record.iterations > 0, f"The warm-up in {folder} must be complete", record.iterations, "Resume it.")
    ours = influences(state.config, processes=distributed.world_size(), device=device.type)
    theirs = record.influences
    differ = [name for name in {**theirs, **ours} if name != _CODE and theirs.get(name) != ours.get(name)]
    if differ:
        listing = "; ".join(f"{name}: {theirs.get(name)!r} there, {ours.get(name)!r} here" for name in differ)
        raise ValueError(
            f"A warm-up can only be forked by runs that begin as it did, but {folder} differs in {listing}. "
            "Train a warm-up for this config, or start without one."
        )
    check(
        record.iterations <= length(state.config),
        f"A warm-up must end before the contrast remembers anything, at iteration {length(state.config)} of this "
        "config (contrast.start - contrast.fill)",
        record.iterations,
        "Train a shorter one, or start without one.",
    )
    if theirs[_CODE] != ours[_CODE] and distributed.rank() == 0:
        log.warning("The code of pgpc has changed since the warm-up in %s was trained.", folder)
    saved = read_checkpoint(folder)
    _load_all_but_head(state.student, saved["student"])
    if state.teacher is not None:
        _load_all_but_head(state.teacher, saved["teacher"])
    if state.proca is not None:
        state.proca.load_state_dict(saved["proca"])
    _load_optimizer(state.optimizer, saved["optimizer"])
    state.step = saved["step"]
    return record


def _load_all_but_head(network: nn.Module, saved: Mapping[str, Any]) -> None:
    head = {name: value for name, value in network.state_dict().items() if name.startswith("projection.")}
    rest = {name: value for name, value in saved.items() if not name.startswith("projection.")}
    network.load_state_dict({**rest, **head})


def _load_optimizer(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    # The head's parameters are the last, so that the numbers of the others are the same with and without it.
    own = optimizer.state_dict()["param_groups"]
    groups = [group for group in saved["param_groups"] if group["name"] != "projection"]
    groups += [group for group in own if group["name"] == "projection"]
    optimizer.load_state_dict({"state": saved["state"], "param_groups": groups})


def _contents(where: str, split: str | None) -> Any:
    """What tells one split of a domain from any other."""
    if split is None:
        return None
    if where.startswith("streets:"):
        return [where, split, STREETS_VERSION]  # the rest is in data.streets
    manifest = read_manifest(where if is_url(where) else Path(where).expanduser())
    return [manifest["classes"], [file["sha256"] for file in manifest["splits"].get(split, {}).get("files", [])]]


def _code() -> str:
    """A digest of this package's source, but for what only shows or starts things."""
    root = Path(pgpc.__file__).parent
    files = [f for f in sorted(root.rglob("*.py")) if f.relative_to(root).parts[0] not in ("cli", "figures")]
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(root).as_posix()} {sha256(file)}\n".encode())
    return digest.hexdigest()
