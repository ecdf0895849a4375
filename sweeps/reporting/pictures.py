"""What the best trial, the base and the worst trial make of a few images, as pictures within the page."""

from __future__ import annotations

import base64
import io
import time
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from pgpc.classes import IGNORE_INDEX, ClassSet, colorize
from sweeps.reporting.data import Findings
from sweeps.results import rows as results

_WIDTH = 512  # pixels; larger pictures are made smaller


@dataclass(kw_only=True)
class Gallery:
    """Pictures, and why some are missing.

    Attributes:
        images: of each image its name and its panels, (heading, data URI) each.
        legend: (name, color as ``#rrggbb``) of each class that occurs.
        notes: a sentence for each thing that is missing.
    """

    images: list[tuple[str, list[tuple[str, str]]]] = field(default_factory=list)
    legend: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def gallery(findings: Findings, *, num: int, seconds: float) -> Gallery:
    """Segment images of the validation split, evenly spaced over it, with up to three networks.

    Args:
        findings: of the sweep.
        num: number of images.
        seconds: after which no further prediction is begun.
    """
    from pgpc.data.domains import open_shards
    from pgpc.evaluation.loaded_model import load_trained
    from pgpc.figures.comparison import evenly_spaced
    from pgpc.figures.networks import check_data, compare
    from pgpc.runtime import distributed

    found, deadline = Gallery(), time.monotonic() + seconds
    networks = {}
    for role, row in (("best", findings.best), ("base", findings.base), ("worst", findings.worst)):
        if row is None:
            continue
        heading = role if row["trial"] == role else f"{role}: {row['trial']}"
        file = results.last_checkpoint(findings.directory(row))
        if file is None:
            found.notes.append(f"{heading} has left no checkpoint.")
            continue
        try:
            networks[heading] = load_trained(file)
            networks[heading].student.to(distributed.local_device())
        except (ValueError, OSError, RuntimeError) as error:
            found.notes.append(f"{heading} could not be loaded: {error}")
    if not networks:
        found.notes.append("There is no network to draw with yet.")
        return found
    first = next(iter(networks.values()))
    seen: set[int] = set()
    try:
        shards = open_shards(first.config.data.target, first.config.data, first.config.data.eval_split)
        check_data(list(networks.values()), shards)
        for row in evenly_spaced(len(shards), num):
            panels, compared = [], None
            for heading, trained in networks.items():
                if time.monotonic() > deadline:
                    found.notes.append(
                        f"Drawing was stopped after {seconds:.0f} s; `python sweeps/report.py` takes --seconds."
                    )
                    return _with_legend(found, seen, first.classes)
                compared = compare([trained], shards, row)
                panels.append((heading, compared.predictions[0]))
            if compared.label is not None:
                panels.append(("ground truth", compared.label))
            seen.update(*(np.unique(ids).tolist() for _, ids in panels))
            uris = [(heading, _map_uri(ids, first.classes)) for heading, ids in panels]
            found.images.append((shards.names[row], [("image", _photo_uri(compared.photo)), *uris]))
    except (ValueError, OSError, RuntimeError) as error:
        found.notes.append(f"The images could not be drawn: {error}")
    return _with_legend(found, seen, first.classes)


def _with_legend(found: Gallery, seen: set[int], classes: ClassSet) -> Gallery:
    ids = sorted(seen - {IGNORE_INDEX})
    found.legend = [(classes.names[k], "#{:02x}{:02x}{:02x}".format(*classes.colors[k])) for k in ids]
    return found


def _photo_uri(picture: np.ndarray) -> str:
    image = Image.fromarray(picture)
    return _uri(image.resize(_smaller(image.size), Image.Resampling.LANCZOS), "jpeg", quality=82)


def _map_uri(ids: np.ndarray, classes: ClassSet) -> str:
    """A map of train ids as a PNG with a palette, which takes a tenth of one without."""
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
