"""Figures of ``pgpc evaluate`` as text: JSON, CSV, and a table for people."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pgpc.evaluation.names import REPORT_PREFIX
from pgpc.runtime.display import csv_cell

_WIDTHS = (8, 11, 8, 8, 17)
"""Letters of the columns of a table behind the name: IoU, precision, recall, F1, and the share of pixels."""


def _means(figures: Mapping[str, Any]) -> dict[str, float | None]:
    return {name: value for name, value in figures.items() if name.removeprefix(REPORT_PREFIX).startswith("mIoU")}


def as_json(figures: Mapping[str, Any]) -> str:
    """Write everything."""
    return json.dumps(figures, indent=2, ensure_ascii=False) + "\n"


def as_csv(figures: Mapping[str, Any]) -> str:
    """Write one row per class, then one per mean; empty where there is no score."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = ("IoU", "accuracy", "pixels", "precision", "recall", "F1")
    writer.writerow(["class", *columns])
    for name in figures["IoU"]:
        writer.writerow([csv_cell(name), *(figures[column][name] for column in columns)])
    for name, mean in _means(figures).items():
        writer.writerow([name, mean, *[None] * (len(columns) - 1)])
    return text.getvalue()


WRITERS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {".json": as_json, ".csv": as_csv}
"""What makes the text of a file of scores, by the suffix of its name."""


def as_text(figures: Mapping[str, Any]) -> str:
    """Write all but the confusion matrix, for people."""
    iteration = "exported" if figures["iteration"] is None else f"iteration {figures['iteration']}"
    protocol = figures["protocol"]
    width, height = protocol["target_size"]
    fit = {"inside": "resized to fit", "exact": "resized to"}[protocol["fit"]]
    how = "whole" if protocol["window"] is None else "in windows of {window} every {window_stride}".format(**protocol)
    how = f"{fit} {width} x {height}, {how}{_augmentation(protocol)}"
    lines = [f"{figures['network']} of {figures['checkpoint']}, {iteration}"]
    if "IoU" in figures:
        lines += [f"{figures['data']}, {figures['split']}: {_images(figures)}, {how}", "", *_table(figures)]
    if "criteria" in figures:
        images = figures["criteria_images"]
        lines += [""] if "IoU" in figures else []
        lines += [f"{figures['data']}, train: {images} images without labels, {how}", "", *_criteria_table(figures)]
    return "\n".join(lines) + "\n"


def _augmentation(protocol: Mapping[str, Any]) -> str:
    """Return in which forms an image is segmented beside as it is, for the end of a line."""
    scales = ", ".join(f"{scale:g}" for scale in protocol.get("scales", (1.0,)))
    at_scales = "" if scales == "1" else f", at {'scale' if ',' not in scales else 'scales'} {scales}"
    return at_scales + (", also mirrored" if protocol.get("flip") else "")


def _images(figures: Mapping[str, Any]) -> str:
    """Return how many images the table is over, and which."""
    images, reported = figures["images"], figures.get("report_images")
    if reported is None:
        return f"{images} images"
    return f"{images} of {images + reported} images (evaluation.report_share={figures['report_share']:g})"


def _criteria_table(figures: Mapping[str, Any]) -> list[str]:
    """Return a line per criterion."""
    column = max(map(len, figures["criteria"]))
    return [
        f"{'criterion':{column}}  higher is better",
        *(f"{name:{column}}  {value:>16.4f}" for name, value in figures["criteria"].items()),
    ]


def _table(figures: Mapping[str, Any]) -> list[str]:
    """Return a line per class and mean."""
    total = sum(figures["pixels"].values())
    scores = ("IoU", "precision", "recall", "F1")
    shares = {name: 100 * pixels / total if total else None for name, pixels in figures["pixels"].items()}
    rows = [(name, *(figures[score][name] for score in scores), share) for name, share in shares.items()]
    scored = sum(iou is not None for iou in figures["IoU"].values())
    names = {"mIoU": f"mIoU ({len(rows)})" if scored == len(rows) else f"mIoU ({scored}/{len(rows)})"}
    means: list[tuple[Any, ...]] = [(names.get(name, name), mean) for name, mean in _means(figures).items()]
    means[0] += tuple(figures[f"mean_{score}"] for score in scores[1:])
    below = [("pixel accuracy", figures["pixel_accuracy"])]
    if "calibration" in figures:
        below.append(("calibration error", figures["calibration"]["ECE"]))
    column = max(len(row[0]) for row in [*rows, *means, *below])
    heads = [f"{head:>{width}}" for head, width in zip((*scores, "share of pixels"), _WIDTHS, strict=True)]
    lines = [
        f"{'%':{column}}{''.join(heads)}",
        *(_row(row, column) for row in rows),
        "",
        *(_row(row, column) for row in [*means, *below]),
    ]
    if None in figures["IoU"].values():
        lines.append("A class that is neither labeled nor predicted has no IoU and is left out of the means.")
    if "calibration" in figures:
        lines.append(_of_calibration(figures["calibration"]))
    if "report_images" in figures:
        lines.append(
            f"What begins with {REPORT_PREFIX} is over the other images ({figures['report_images']}), which the run "
            "keeps out of choices; --set evaluation.report_share=0 scores all as one."
        )
    return lines


def _row(cells: Sequence[Any], column: int) -> str:
    """Return a line of a name and numbers, under the heads of the table."""
    name, *numbers = cells
    return f"{name:{column}}" + "".join(f"{_percent(n):>{width}}" for n, width in zip(numbers, _WIDTHS, strict=False))


def _of_calibration(calibration: Mapping[str, Any]) -> str:
    """Return what the calibration error is made of."""
    mean, accuracy = (_percent(calibration[name]) for name in ("mean_confidence", "accuracy"))
    bins = len(calibration["bins"])
    return f"The calibration error is ECE over {bins} bins; mean confidence {mean} %, right {accuracy} % of the pixels."


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
