"""What a run is started with, and whether that is what it was started with before."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from pgpc.bases.starts import Start
from pgpc.bases.state import TrainingState
from pgpc.config import Config, to_dict
from pgpc.data.contents import TARGET, Place, changed, contents, places
from pgpc.models.pretrained import weights_file
from pgpc.runtime import distributed
from pgpc.runtime.environment import Environment
from pgpc.training.begin import Begin, ForkParent, Resume

log = logging.getLogger(__name__)


def places_of(config: Config) -> dict[str, Place]:
    """Return what a run takes from outside, by its part in the run."""
    return places(
        config.data,
        pretrained=weights_file(config.model),
        distilled=None if config.distilled is None else weights_file(config.distilled),
        adapts=config.adaptation.enabled,
        measures=config.evaluation.criteria_images > 0,
        keeps_things=config.adaptation.keeps_things,
    )


def data_of(config: Config) -> dict[str, str]:
    """Return digests of what a run takes from outside, by its part in the run.

    Raises:
        ValueError: Something that it needs is missing or damaged.
        OSError: Something cannot be read.
    """
    found, optional = places_of(config), {}
    if TARGET in found and not config.adaptation.enabled:  # criteria are left out where it cannot be opened
        optional[TARGET] = found.pop(TARGET)
    return {**contents(found), **contents(optional, needed=False)}


def note_start(state: TrainingState, begin: Begin) -> None:
    """Compare what the run is started with with the start before, and note it in the state; all processes call this.

    Args:
        state: The state, at where the run begins.
        begin: Where that is.

    Raises:
        ValueError: The data are others than before, which is not accepted, or others than another process has.
    """
    data = data_of(state.config)
    _check_alike(state, data)
    start = Start(
        step=state.step,
        processes=distributed.world_size(),
        environment=_environment(state),
        data=data,
        changed=_changed_data(state, data, begin),
    )
    if state.starts and distributed.rank() == 0:
        _warn_of_differences(state.starts[-1], start)
    state.starts = [*state.starts, start]


def _environment(state: TrainingState) -> Environment:
    """Return the environment, with what of it has decided something that the config leaves open."""
    found = Environment.here(state.device)
    if state.config.training.merge_passes != "auto" or not state.student.merges_passes:
        return found
    return replace(found, determinism={**found.determinism, "training.merge_passes": "True"})


def check_same_run(config: Config, out: str, device: torch.device) -> None:
    """Refuse processes that were started together and are not told the same; all processes call this.

    Args:
        config: The config of this process.
        out: Where its results are to go.
        device: Its device.

    Raises:
        ValueError: Another process has another config, or another place for results.
    """
    strange = _strangers([to_dict(config), out], device)
    if strange:
        raise ValueError(
            "All processes that are started together train one network, so that they must have the same config and "
            f"--out, but processes {', '.join(map(str, strange))} have others than process 0. Give all the same, or "
            "WORLD_SIZE=1 in the environment of each that is to train by itself."
        )


def _check_alike(state: TrainingState, data: Mapping[str, str]) -> None:
    """Refuse processes that read different data under the same names, each on its own machine."""
    strange = _strangers([dict(data), list(state.classes.names)], state.device)
    if strange:
        raise ValueError(
            f"All processes must read the same data, but processes {', '.join(map(str, strange))} find other contents "
            f"than process 0 at {_listed(places_of(state.config), data)}. Copy the same files to all machines."
        )


def _strangers(told: Any, device: torch.device) -> list[int]:
    """Return the numbers of the processes that were told something else than process 0; plain data."""
    number = int(hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:15], 16)
    numbers = distributed.all_gather(torch.tensor(number, device=device)).tolist()
    return [rank for rank, other in enumerate(numbers) if other != numbers[0]]


def _changed_data(state: TrainingState, data: Mapping[str, str], begin: Begin) -> tuple[str, ...]:
    """Return which data are others than at the start before, if that is accepted."""
    if not isinstance(begin, Resume | ForkParent):
        return ()
    names = changed(state.starts[-1].data if state.starts else {}, data)
    if names and not begin.accept_changed_data:
        raise ValueError(
            f"A run must be resumed on the data that it was trained on, but since {begin.folder} was written the "
            f"contents of the {_listed(places_of(state.config), names)} have changed, so that scores from before and "
            "after would be of different data. Put the data back, start afresh in another folder, or go on with "
            "--accept-changed-data (accept_changed_data=True), which every report then says."
        )
    return tuple(names)


def _warn_of_differences(before: Start, now: Start) -> None:
    if now.changed:
        log.warning("The run goes on with other contents of the %s than before.", ", ".join(now.changed))
    differences = before.environment.differences(now.environment)
    if differences:
        log.warning(
            "The run goes on in another environment (%s): not bit for bit as without an interruption.",
            "; ".join(differences),
        )


def _listed(found: Mapping[str, Place], names: Mapping[str, str] | list[str]) -> str:
    return ", ".join(f"{name}, {found[name]}" if name in found else f"{name}, none now" for name in names)
