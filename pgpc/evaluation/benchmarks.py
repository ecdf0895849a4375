"""Benchmarks whose test labels are kept back, and what their servers take: a table. Importing it does not load torch.

None of the servers was asked; what they take is known from:

- Cityscapes: ``evalPixelLevelSemanticLabeling.py`` of github.com/mcordts/cityscapesScripts finds the prediction of an
  image anywhere in the zip as ``{city}_{sequence}_{frame}*.png`` and refuses a second one. Label ids and exactly one
  file per test image, by its maintainer (issues 15 and 65).
- Dark Zurich: folders ``labelTrainIds``, ``labelTrainIds_invalid`` and ``confidence`` of files named
  ``{sequence}_frame_{frame}*.png``, by those who submitted: github.com/BIT-DA/SePiCo (README), W-zx-Y/DANNet (issues 4,
  11 and 17), ygjwd12345/BiMix (issues 1 and 7). The server computes IoU from the first, UIoU and average UIoU from the
  others. That confidence has 16 bits, 65535 for 1, is from ``predict_dz.py`` of github.com/Attila94/CIConv alone.
- ACDC: train ids of 1920 x 1080, quoted from the server's page by the README of DTBS; a folder ``labelTrainIds`` of
  files named after their images, as DAFormer, HRDA and MIC (README, "Testing") and VBLC write it. MUSES, by the same
  authors, asks for ``labelTrainIds/`` with ``{sequence}_frame_{frame:0>6}*.png`` (github.com/timbroed/MUSES, issue 4).

Limits on the size of an upload are not known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from pgpc.classes import CITYSCAPES, ClassSet
from pgpc.evaluation.formats import Segmented, label_ids

_GOPRO = r"[A-Z0-9]+_frame_\d{6}"  # Dark Zurich and ACDC were filmed with the same kind of camera


class Benchmark(NamedTuple):
    """A test set with a server.

    Attributes:
        name: What users call it.
        title: What its authors call it.
        images: Number of images of the test set.
        size: Their width and height in pixels.
        key: Pattern that names an image uniquely, the begin of its file's name.
        suffix: What the names of the data set's own files have behind the key.
        classes: The classes that the server scores.
        entries: Function that gives, for a segmented image, the PNGs of the zip: their pixels by folder.
        formats: Names of the formats of ``pgpc predict`` that hold all that the entries are made of.
    """

    name: str
    title: str
    images: int
    size: tuple[int, int]
    key: str
    suffix: str
    classes: ClassSet
    entries: Callable[[Segmented], dict[str, np.ndarray]]
    formats: tuple[str, ...] = ("train-ids",)


def _cityscapes(segmented: Segmented) -> dict[str, np.ndarray]:
    return {"": label_ids(segmented.ids, CITYSCAPES)}


def _dark_zurich(segmented: Segmented) -> dict[str, np.ndarray]:
    return {
        "labelTrainIds/": segmented.ids,
        "labelTrainIds_invalid/": segmented.ids,  # a pixel may be called invalid (255) here; we call none so
        "confidence/": np.rint(65535 * segmented.confidence).astype(np.uint16),
    }


def _acdc(segmented: Segmented) -> dict[str, np.ndarray]:
    return {"labelTrainIds/": segmented.ids}


BENCHMARKS = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark(
            name="cityscapes",
            title="Cityscapes",
            images=1525,
            size=(2048, 1024),
            key=r"(berlin|bielefeld|bonn|leverkusen|mainz|munich)_\d{6}_\d{6}",
            suffix="_leftImg8bit",
            classes=CITYSCAPES,
            entries=_cityscapes,
        ),
        Benchmark(
            name="darkzurich",
            title="Dark Zurich",
            images=151,
            size=(1920, 1080),
            key=_GOPRO,
            suffix="_rgb_anon",
            classes=CITYSCAPES,
            entries=_dark_zurich,
            formats=("train-ids", "confidence"),
        ),
        Benchmark(
            name="acdc",
            title="ACDC",
            images=2000,
            size=(1920, 1080),
            key=_GOPRO,
            suffix="_rgb_anon",
            classes=CITYSCAPES,
            entries=_acdc,
        ),
    )
}
"""All benchmarks by name."""
