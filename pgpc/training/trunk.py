"""Trunks: the iterations before the contrast, trained once and forked by every run that begins with the same ones.

Until the memory bank begins to fill, ``contrast.fill`` iterations before ``contrast.start``, the contrast's settings
play no part: the teacher's features are not projected, nothing is remembered, and the projection head gets no gradient.
Runs that differ in these settings only are alike until then. A trunk is the folder of a run that was stopped there
(``train(..., until=..)``): its checkpoint, its curves, and ``warm_up.json``, which says what it depends on.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import inspect
import json
import logging
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pgpc.bases import Base, TrainingState, make_base
from pgpc.bases.starts import starts_of
from pgpc.bases.state import saved_base
from pgpc.classes import classes_to_json
from pgpc.config import Config, contrast_phase_keys, field_of, flatten, place_keys, trunk_length_keys, unreported_keys
from pgpc.data.band_numbers import with_normalization
from pgpc.data.contents import Place, split_files
from pgpc.data.shards.manifest import read_manifest
from pgpc.data.streets.config import STREETS_VERSION
from pgpc.data.target_labels import listed_names, split_of
from pgpc.models.checkpoint import read_checkpoint
from pgpc.models.pretrained import weights_file
from pgpc.runtime import distributed
from pgpc.runtime.checks import check
from pgpc.runtime.fields import Phase
from pgpc.runtime.files import expand_user, sha256, write_file
from pgpc.runtime.json_text import parse_json
from pgpc.runtime.storage import is_url

log = logging.getLogger(__name__)

FILE = "warm_up.json"
"""Name of the record in a trunk's folder; it is older than the word trunk."""

_PACKAGES = ("torch", "timm", "numpy", "pillow")
_CODE, _THREADS, _LABELED = "code", "threads", "labels of the target"


def length(config: Config) -> int:
    """Return how many of a run's first iterations the contrast has no part in; 0 if it has from the start.

    Without contrast the same as with it, for there the runs part that are alike until then.
    """
    return min(max(config.contrast.start - config.contrast.fill, 0), config.training.iterations)


def influential(config: Config, keys: Collection[str]) -> list[str]:
    """Return those of `keys` in which runs that share one trunk must not differ, in their order.

    Args:
        config: The config of one of the runs.
        keys: Dotted keys.
    """
    base = make_base(config)
    return [key for key in keys if key in trunk_length_keys() or not _is_neutral(key, base)]


def _is_neutral(key: str, base: Base) -> bool:
    """Return whether a key bears on no iteration of a trunk, whatever the others are, and on no report of them."""
    if field_of(key).phase is Phase.CONDITIONAL:
        return not base.acts_before_contrast(key)
    return key in contrast_phase_keys() or key in unreported_keys()


def influences(config: Config, *, processes: int, device: str, threads: int) -> dict[str, Any]:
    """Return all that the iterations before `length`, and the reports of them, depend on.

    With more than two processes the sums of gradients also depend on the order in which they are taken, which may
    differ after any interruption; see :class:`pgpc.bases.state.TrainingState`.

    Args:
        config: of the run.
        processes: that train together.
        device: type of their devices, "cpu" or "cuda".
        threads: of each process, which sums on the CPU depend on.

    Returns:
        Plain data by name: values of the config, contents of the data and of the pretrained weights, versions of the
        packages that compute, a digest of this package's code, processes, device and threads.

    Raises:
        ValueError: data that is missing or damaged.
        OSError: data or weights that cannot be read.
    """
    config = dataclasses.replace(config, data=with_normalization(config.data))
    base = make_base(config)
    values = {
        key: value
        for key, value in flatten(config).items()
        if key not in place_keys() and key not in trunk_length_keys() and not _is_neutral(key, base)
    }
    weights = weights_file(config.model)
    reads_target = config.adaptation.enabled or config.evaluation.criteria_images > 0  # reports have criteria on it
    found: dict[str, Any] = {
        **values,
        "data.source": _contents(config.data.source, "train"),
        "data.target": _contents(config.data.target, "train") if reads_target else None,
        "scored": _contents(config.data.target, config.data.eval_split),
        "model.pretrained": "" if weights is None else sha256(weights),
        "processes": processes,
        "device": device,
        _THREADS: threads if device == "cpu" else None,
        "versions": {package: importlib.metadata.version(package) for package in _PACKAGES},
        _CODE: _code(base),
    }
    if config.distilled is not None:
        frozen = weights_file(config.distilled)
        found["adaptation.distillation_pretrained"] = "" if frozen is None else sha256(frozen)
    if (named := config.data.target_labels) is not None:
        found[_LABELED] = [_contents(config.data.target, split_of(named)), sorted(listed_names(named))]
    plain: dict[str, Any] = json.loads(json.dumps(found))
    return plain


def address(config: Config, *, processes: int, device: str, threads: int) -> str:
    """Return a name for a run's trunk: a digest of its `influences` and `length`.

    Raises:
        ValueError: see `influences`.
        OSError: see `influences`.
    """
    found = {
        **influences(config, processes=processes, device=device, threads=threads),
        "length": length(config),
    }
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()[:32]


@dataclass
class TrunkRecord:
    """What lies beside the checkpoint of a trunk, in ``warm_up.json``.

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
        """Seconds that the training steps of a complete trunk took."""
        assert self.progress is not None, "the trunk is not complete"
        return float(self.progress["seconds"])

    def write(self, folder: Path) -> None:
        """Write it, whole or not at all."""
        write_file(folder / FILE, lambda file: file.write(json.dumps(asdict(self), indent=1).encode()))


def read_record(folder: Path) -> TrunkRecord:
    """Return the record of a trunk.

    Raises:
        ValueError: there is none in `folder`, or it is damaged.
    """
    try:
        return TrunkRecord(**parse_json((folder / FILE).read_bytes()))
    except FileNotFoundError:
        raise ValueError(
            f"A trunk has a {FILE}, but {folder} has none. Name the folder of train(.., until=..)."
        ) from None
    except (ValueError, TypeError) as error:
        raise ValueError(f"{folder / FILE} is damaged: {error}. Train the trunk again.") from None


def begin_record(folder: Path, state: TrainingState, base: Base) -> TrunkRecord:
    """Return the record of a trunk that is about to be trained, or to go on.

    Args:
        folder: The trunk's folder.
        state: The state that it begins with.
        base: The base of the run.
    """
    found = _influences_here(state, base)
    if state.step == 0 or not (folder / FILE).is_file():
        return TrunkRecord(found, [])
    record = read_record(folder)
    record.reports = [report for report in record.reports if report["iteration"] <= state.step]
    if record.iterations != state.step:
        record.iterations, record.progress = 0, None
    return record


def check_until(base: Base, until: int) -> None:
    """Refuse to stop where the contrast already plays a part.

    Args:
        base: The base of the run.
        until: Iterations after which it is to stop.

    Raises:
        ValueError: The contrast plays a part at iteration `until`, or there is no such iteration.
    """
    most = length(base.config)
    check(
        1 <= until <= most,
        f"until must lie in [1, {most}], before the memory bank begins to fill (contrast.start - contrast.fill), for "
        "other runs to be forked from there",
        until,
    )


def fork(state: TrainingState, base: Base, folder: Path) -> TrunkRecord:
    """Bring `state`, which is at step 0, to the end of a trunk.

    The projection head stays as it is, and the memory bank empty: nothing touches them before.

    Args:
        state: The state; it is changed in place.
        base: The base of the run.
        folder: The trunk's folder.

    Returns:
        The trunk's record.

    Raises:
        ValueError: `folder` holds no complete trunk, or one of runs that begin differently; the message says how.
    """
    record = read_record(folder)
    check(record.iterations > 0, f"The trunk in {folder} must be complete", record.iterations, "Resume it.")
    ours = _influences_here(state, base)
    theirs = record.influences
    differ = [name for name in {**theirs, **ours} if name != _CODE and _differs(name, theirs, ours)]
    if differ:
        listing = "; ".join(f"{name}: {theirs.get(name)!r} there, {ours.get(name)!r} here" for name in differ)
        raise ValueError(
            f"A trunk can only be forked by runs that begin as it did, but {folder} differs in {listing}. "
            "Train a trunk for this config, or start without one."
        )
    check(
        record.iterations <= length(base.config),
        f"A trunk must end before the memory bank begins to fill, at iteration {length(base.config)} of this config "
        "(contrast.start - contrast.fill)",
        record.iterations,
        "Train a shorter one, or start without one.",
    )
    if theirs[_CODE] != ours[_CODE] and distributed.rank() == 0:
        log.warning("The code of pgpc has changed since the trunk in %s was trained.", folder)
    saved = read_checkpoint(folder)
    _load_all_but_head(state.student, saved["student"])
    if state.teacher is not None:
        _load_all_but_head(state.teacher, saved["teacher"])
    state.load_part(state.base, saved_base(saved))
    _load_optimizer(state.optimizer, saved["optimizer"])
    state.load_scaler(saved)
    state.step = saved["step"]
    state.starts = starts_of(saved)
    return record


def _influences_here(state: TrainingState, base: Base) -> dict[str, Any]:
    return influences(
        base.config,
        processes=distributed.world_size(),
        device=state.device.type,
        threads=torch.get_num_threads(),
    )


def _differs(name: str, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> bool:
    """Return whether a trunk and a run that is to be forked from it differ in something that bears on both.

    A trunk that was trained before there was a key was trained as with its default; where the key says what is measured
    beside the training, the trunk's reports lack it, and no more. With how many threads it was trained is then unknown.
    """
    if name == _THREADS and name not in theirs:
        return False
    if name in theirs or name not in flatten(Config()):
        return bool(theirs.get(name) != ours.get(name))
    info = field_of(name)
    return info.phase is not Phase.NEVER and ours[name] != json.loads(json.dumps(info.default))


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
    """Return what tells one split of a domain from any other."""
    if split is None:
        return None
    if where.startswith("streets:"):
        return [where, split, STREETS_VERSION]  # the rest is in data.streets
    manifest = read_manifest(where if is_url(where) else expand_user(where))
    return [classes_to_json(manifest.classes), split_files(Place(where, split))]


def _code(base: Base) -> str:
    """Return a digest of the source of this package, but for what only shows or starts things, and of the base."""
    root = Path(__file__).parents[1]
    files = {
        file.relative_to(root).as_posix(): file
        for file in sorted(root.rglob("*.py"))
        if file.relative_to(root).parts[0] not in ("cli", "figures")
    }
    for kind in type(base).__mro__:  # a base may be a module of somebody else's
        source = inspect.getsourcefile(kind) if issubclass(kind, Base) else None
        if source is not None:
            files[f"base {kind.__module__}"] = Path(source)
    digest = hashlib.sha256()
    for name, file in files.items():
        digest.update(f"{name} {sha256(file)}\n".encode())
    return digest.hexdigest()
