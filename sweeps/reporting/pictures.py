"""How the best trial, the base and the worst trial segment a few images, as pictures within the page."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from pgpc.classes import IGNORE_INDEX, ClassSet, colorize
from sweeps.common.commands import report_command
from sweeps.reporting.data import SweepReport
from sweeps.results.rows import last_checkpoint

if TYPE_CHECKING:
    from pgpc.data.shards.reader import Shards
    from pgpc.evaluation.loaded_model import LoadedModel

_WIDTH = 512  # pixels; larger pictures are made smaller


@dataclass(kw_only=True)
class Gallery:
    """Pictures, and why some are missing.

    Attributes:
        images: Of each image its name and its panels, (heading, data URI) each.
        legend: (name, color as ``#rrggbb``) of each class that occurs.
        notes: A sentence for each thing that is missing.
    """

    images: list[tuple[str, list[tuple[str, str]]]] = field(default_factory=list)
    legend: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def gallery(report: SweepReport, *, num: int, seconds: float) -> Gallery:
    """Segment images of the validation split, evenly spaced over it, with up to three networks.

    Args:
        report: What is known of the sweep.
        num: Number of images.
        seconds: Time after which no further prediction is begun.
    """
    # Here, since they load torch, which a report without pictures does without.
    from pgpc.data.domains import open_shards
    from pgpc.figures.comparison import evenly_spaced
    from pgpc.figures.networks import check_data

    drawn, deadline = Gallery(), time.monotonic() + seconds
    networks = _load_networks(report, drawn.notes)
    if not networks:
        drawn.notes.append("There is no network to draw with yet.")
        return drawn
    first = next(iter(networks.values()))
    seen: set[int] = set()
    data = first.config.data
    if data.eval_split is None:
        drawn.notes.append("There are no pictures, since data.eval_split is none.")
        return drawn
    try:
        shards = open_shards(data.target, data, data.eval_split)
        check_data(list(networks.values()), shards)
        for index in evenly_spaced(len(shards), num):
            maps = _segment(networks, shards, index, deadline)
            if maps is None:
                drawn.notes.append(
                    f"Drawing was stopped after {seconds:.0f} s; `{report_command()} --seconds N` gives it longer."
                )
                break
            seen.update(*(np.unique(ids).tolist() for _, ids in maps.panels))
            panels = [(heading, _map_uri(ids, first.classes)) for heading, ids in maps.panels]
            drawn.images.append((shards.names[index], [("image", _photo_uri(maps.photo)), *panels]))
    except (ValueError, OSError, RuntimeError) as error:
        drawn.notes.append(f"The images could not be drawn: {error}")
    ids = sorted(seen - {IGNORE_INDEX})
    names, colors = first.classes.names, first.classes.colors
    drawn.legend += [(names[k], "#{:02x}{:02x}{:02x}".format(*colors[k])) for k in ids]
    return drawn


class _Maps(NamedTuple):
    """An image, and what the networks make of it.

    Attributes:
        photo: The image (H, W, 3), 8 bits per channel.
        panels: (heading, map of train ids (H, W)) of each network, and of the ground truth where there is one.
    """

    photo: np.ndarray
    panels: list[tuple[str, np.ndarray]]


def _load_networks(report: SweepReport, notes: list[str]) -> dict[str, LoadedModel]:
    """Load the networks of the best trial, the base and the worst trial, by heading; note those that are missing."""
    from pgpc.evaluation.loaded_model import load_model
    from pgpc.runtime import distributed

    networks = {}
    for role, trial in (("best", report.best), ("base", report.base), ("worst", report.worst)):
        if trial is None:
            continue
        heading = role if trial.label == role else f"{role}: {trial.label}"
        file = last_checkpoint(report.directory(trial.run))
        if file is None:
            notes.append(f"{heading} has left no checkpoint.")
            continue
        try:
            networks[heading] = load_model(file)
            networks[heading].student.to(distributed.local_device())
        except (ValueError, OSError, RuntimeError) as error:
            notes.append(f"{heading} could not be loaded: {error}")
    return networks


def _segment(networks: Mapping[str, LoadedModel], shards: Shards, index: int, deadline: float) -> _Maps | None:
    """Segment one image with each network; None where the deadline, on the monotonic clock, passes before the end."""
    from pgpc.figures.networks import compare

    panels, compared = [], None
    for heading, network in networks.items():
        if time.monotonic() > deadline:
            return None
        compared = compare([network], shards, index)
        panels.append((heading, compared.predictions[0]))
    assert compared is not None, "there is a network"
    if compared.label is not None:
        panels.append(("ground truth", compared.label))
    return _Maps(compared.photo, panels)


def _photo_uri(picture: np.ndarray) -> str:
    image = Image.fromarray(picture)
    return _uri(image.resize(_smaller(image.size), Image.Resampling.LANCZOS), "jpeg", quality=82)


def _map_uri(ids: np.ndarray, classes: ClassSet) -> str:
    """Return a map of train ids as a PNG with a palette, which takes a tenth of one without."""
    image = Image.fromarray(ids.astype(np.uint8))
    image = image.resize(_smaller(image.size), Image.Resampling.NEAREST)
    image.putpalette(colorize(np.arange(256), classes).tobytes())
    return _uri(image, "png", optimize=True)


def _smaller(size: tuple[int, int]) -> tuple[int, int]:
    scale = min(1.0, _WIDTH / size[0])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _uri(image: Image.Image, kind: str, **options: object) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
