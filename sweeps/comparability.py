"""Whether the runs that a driver is about to train can be compared with those that there are.

A resumed sweep, its confirmation and a search that is told about an earlier one take the data by their places only.
Here the contents are compared, and versions, device and threads with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from optuna.distributions import CategoricalDistribution

import pgpc
from pgpc.config import Config, place_keys
from pgpc.data.contents import SOURCE, Place, changed, class_names, contents
from pgpc.runtime.environment import settings
from pgpc.runtime.files import expand_user
from pgpc.training.provenance import places_of
from sweeps.common.surroundings import Surroundings
from sweeps.common.words import listed
from sweeps.definition.folder import SWEEP_FILE
from sweeps.definition.sweep import Sweep, versions
from sweeps.search.trial_spec import Workers

_REMEDY = "or go on with --accept-changed-data, which every report then says."


def look_around(sweep: Sweep, workers: Workers) -> Surroundings:
    """Return what the runs of a sweep depend on now, and what of it has changed since the last driver.

    Args:
        sweep: The sweep, which may be new.
        workers: The workers of every run.

    Raises:
        ValueError: The data have other classes than before, or other contents, and that is not accepted.
        OSError: Something cannot be read.
    """
    found = _places(sweep)
    device = "cuda" if workers.gpus else "cpu"
    now = Surroundings(
        threads=_threads(sweep, workers),
        device=device,
        data=contents(found, needed=False),  # what cannot be read is said by who needs it
        classes=class_names(places_of(sweep.config)[SOURCE].where) or (),
        determinism=settings(),
    )
    accepted, changes = _compared_data(sweep, now)
    changes += [*_changed_environment(sweep, now, workers), *_compared_warm_start(sweep, now)]
    return Surroundings(**{**vars(now), "accepted": accepted, "changes": tuple(changes)})


def _places(sweep: Sweep) -> dict[str, Place]:
    """Return all that any run of a sweep takes from outside, by the names of the places."""
    choices = {
        key: known.choices
        for key, known in sweep.space.items()
        if key in place_keys() and isinstance(known, CategoricalDistribution)
    }
    searched = [pgpc.override(sweep.config, {key: choice}) for key, all_ in choices.items() for choice in all_]
    return {str(place): place for config in (*sweep.configs, *searched) for place in places_of(config).values()}


def _threads(sweep: Sweep, workers: Workers) -> int:
    """Return the threads of each worker: those that the first driver has chosen, one for each of its CPUs."""
    first = next(iter(_before(sweep)), None)
    return first.threads if first else max(1, int(workers.cpus))


def _before(sweep: Sweep) -> Sequence[Surroundings]:
    """Return what the drivers before have found; those of the sweep that is confirmed count, too."""
    confirmed = Sweep.load(sweep.report_folder).surroundings if sweep.confirms else ()
    return (*confirmed, *sweep.surroundings)


def _compared_data(sweep: Sweep, now: Surroundings) -> tuple[tuple[str, ...], list[str]]:
    """Return the places whose contents have changed, if that is accepted, and a sentence on them."""
    last = next(iter(reversed(_before(sweep))), None)
    if last is None:
        return (), []
    if last.classes and now.classes and last.classes != now.classes:
        raise ValueError(
            f"A sweep must go on with the classes that it was begun with, in their order, but they were "
            f"{', '.join(last.classes)} and the data now have {', '.join(now.classes)}. Pack the data as they were, or "
            "start a new sweep under another --name."
        )
    strange = changed(last.data, now.data)
    if not strange:
        return (), []
    places = listed(strange)
    if not sweep.options.accept_changed_data:
        raise ValueError(
            "A sweep must go on with the data that it was begun with, or its trials cannot be compared, but the "
            f"contents of {places} have changed. Put the data back, start a new sweep under another --name, {_REMEDY}"
        )
    return tuple(strange), [
        f"On {datetime.now():%Y-%m-%d} the sweep went on with other contents of {places} than before, which was "
        "accepted: scores from before and after are not of the same data."
    ]


def _changed_environment(sweep: Sweep, now: Surroundings, workers: Workers) -> list[str]:
    """Return a sentence on what computes otherwise than for the driver before."""
    if not sweep.drivers:
        return []
    found: list[str] = []
    before: Mapping[str, Any] = sweep.drivers[-1].get("versions", {})
    after = versions()
    found += [
        f"{name} {before[name]}, now {after[name]}" for name in before if after.get(name) not in (None, before[name])
    ]
    if sweep.surroundings:
        last = sweep.surroundings[-1]
        found += [f"device {last.device}, now {now.device}"] * (last.device != now.device)
        names = dict.fromkeys([*last.determinism, *now.determinism])
        pairs = {name: (last.determinism.get(name, "none"), now.determinism.get(name, "none")) for name in names}
        found += [f"{name} {old}, now {new}" for name, (old, new) in pairs.items() if old != new]
    sentences = []
    if found:
        sentences.append(
            f"On {datetime.now():%Y-%m-%d} the sweep went on in another environment ({'; '.join(found)}), so that its "
            "runs from before and after are not alike bit for bit."
        )
    if now.device == "cpu" and now.threads != max(1, int(workers.cpus)):
        sentences.append(
            f"Each worker keeps the {now.threads} threads that the sweep was begun with, although it has "
            f"{workers.cpus:g} CPUs now, so that its runs stay comparable."
        )
    return sentences


def _compared_warm_start(sweep: Sweep, now: Surroundings) -> list[str]:
    """Return a sentence on the trials of an earlier sweep, where they were trained on other data.

    Raises:
        ValueError: They were, and that is not accepted.
    """
    where = sweep.options.warm_start
    if not where:
        return []
    folder = _sweep_folder(where)
    earlier = Sweep.load(folder) if folder else None
    if earlier is None or not earlier.surroundings:
        return [f"It is not known on which data the trials of {where} were trained, which the search is told about."]
    strange = _other_data(sweep.config, now, earlier.config, earlier.surroundings[-1])
    if not strange:
        return []
    if not sweep.options.accept_changed_data:
        raise ValueError(
            f"--warm-start takes trials of the same data, but those of {where} were trained on another "
            f"{listed(strange)}. Choose another study, leave it out, {_REMEDY}"
        )
    return [f"The search was told about the trials of {where}, which were trained on another {listed(strange)}."]


def _sweep_folder(where: str) -> Path | None:
    """Return the folder of the sweep that a study belongs to; None for one of somebody else."""
    url = where.partition("#")[0]
    paths = (expand_user(where), Path(url.removeprefix("sqlite:///")).parent)
    return next((path for path in paths if (path / SWEEP_FILE).is_file()), None)


def _other_data(ours: Config, now: Surroundings, theirs: Config, then: Surroundings) -> list[str]:
    """Return the parts in which the data of two sweeps differ, as far as that is known of both."""
    here, there = places_of(ours), places_of(theirs)
    digests = {part: now.data[str(place)] for part, place in here.items() if str(place) in now.data}
    before = {part: then.data[str(place)] for part, place in there.items() if str(place) in then.data}
    found = changed(before, digests)
    embedded = [part for part, place in here.items() if place.where.startswith("streets:") and part not in found]
    if ours.data.streets != theirs.data.streets:
        found += embedded
    return found + ["set of classes"] * bool(then.classes and now.classes and then.classes != now.classes)
