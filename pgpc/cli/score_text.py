"""Figures of ``pgpc evaluate`` as text: JSON, CSV, and a table for people."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from typing import Any

from pgpc.evaluation.names import REPORT_PREFIX
from pgpc.runtime.display import csv_cell


def _means(figures: Mapping[str, Any]) -> dict[str, float | None]:
    return {name: value for name, value in figures.items() if name.removeprefix(REPORT_PREFIX).startswith("mIoU")}


def as_json(figures: Mapping[str, Any]) -> str:
    """Write everything."""
    return json.dumps(figures, indent=2, ensure_ascii=False) + "\n"


def as_csv(figures: Mapping[str, Any]) -> str:
    """Write one row per class, then one per mean; empty where there is no score."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["class", "IoU", "accuracy", "pixels"])
    for name, iou in figures["IoU"].items():
        writer.writerow([csv_cell(name), iou, figures["accuracy"][name], figures["pixels"][name]])
    for name, mean in _means(figures).items():
        writer.writerow([name, mean, None, None])
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
    how = f"{fit} {width} x {height}, {how}"
    lines = [f"{figures['network']} of {figures['checkpoint']}, {iteration}"]
    if "IoU" in figures:
        lines += [f"{figures['data']}, {figures['split']}: {_images(figures)}, {how}", "", *_table(figures)]
    if "criteria" in figures:
        images = figures["criteria_images"]
        lines += [""] if "IoU" in figures else []
        lines += [f"{figures['data']}, train: {images} images without labels, {how}", "", *_criteria_table(figures)]
    return "\n".join(lines) + "\n"


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
    rows = [
        (name, _percent(iou), _percent(figures["accuracy"][name]), _percent(100 * pixels / total if total else None))
        for (name, iou), pixels in zip(figures["IoU"].items(), figures["pixels"].values(), strict=True)
    ]
    scored = sum(iou is not None for iou in figures["IoU"].values())
    names = {"mIoU": f"mIoU ({len(rows)})" if scored == len(rows) else f"mIoU ({scored}/{len(rows)})"}
    means = [(names.get(name, name), _percent(mean)) for name, mean in _means(figures).items()]
    column = max(len(row[0]) for row in [*rows, *means])
    lines = [
        f"{'%':{column}}     IoU  accuracy  share of pixels",
        *(f"{name:{column}}  {iou:>6}  {accuracy:>8}  {share:>15}" for name, iou, accuracy, share in rows),
        "",
        *(f"{name:{column}}  {mean:>6}" for name, mean in means),
        f"{'all pixels':{column}}  {'':6}  {_percent(figures['pixel_accuracy']):>8}",
    ]
    if None in figures["IoU"].values():
        lines.append("A class that is neither labeled nor predicted has no IoU and is left out of the means.")
    if "report_images" in figures:
        lines.append(
            f"What begins with {REPORT_PREFIX} is over the other images ({figures['report_images']}), which the run "
            "keeps out of choices; --set evaluation.report_share=0 scores all as one."
        )
    return lines


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
