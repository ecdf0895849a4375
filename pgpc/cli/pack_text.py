"""What ``pgpc pack`` says about the labels and the files of a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pgpc.data.label_coverage import Coverage
from pgpc.data.picture_names import by_folder
from pgpc.data.shards.manifest import Manifest, SplitManifest

_FEW = 8


def class_table(manifest: Manifest) -> list[str]:
    """Return a line per class: its pixels, their share and its images in each split that has labels."""
    splits = {name: split for name, split in manifest.splits.items() if split.labeled}
    if not splits:
        return []
    rows = [["class", *(f"{name}: {what}" for name in splits for what in ("pixels", "share", "images"))]]
    for k, name in enumerate(manifest.classes.names):
        cells = [cell for split in splits.values() for cell in _of_class(split, k)]
        rows.append([name, *cells])
    ignored = [cell for split in splits.values() for cell in _ignored(split)]
    rows.append(["(ignored)", *ignored])
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) if not k else cell.rjust(width) for k, (cell, width) in enumerate(zip(row, widths)))
        for row in rows
    ]


def _of_class(split: SplitManifest, k: int) -> tuple[str, str, str]:
    images = "?" if split.class_images is None else f"{split.class_images[k]:,}"
    return f"{split.class_pixels[k]:,}", _share(split.class_pixels[k], _all_pixels(split)), images


def _ignored(split: SplitManifest) -> tuple[str, str, str]:
    if split.totals is None:  # shards of an earlier release
        return "?", "?", ""
    ignored = split.totals.pixels - sum(split.class_pixels)
    return f"{ignored:,}", _share(ignored, split.totals.pixels), ""


def _all_pixels(split: SplitManifest) -> int:
    return sum(split.class_pixels) if split.totals is None else split.totals.pixels


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f} %" if whole else "-"


def label_warnings(manifest: Manifest) -> list[str]:
    """Return a sentence for each thing that looks as if labels did not mean what their description says."""
    found = []
    for name, split in manifest.splits.items():
        if not split.labeled:
            continue
        coverage = Coverage(name, manifest.classes.names, split.class_pixels)
        if not coverage.present:
            found.append(
                f"All pixels of the {split.labeled} labels of split {name!r} are ignored. Nothing can be trained or "
                "scored on it: the labels hold other values than the classes list."
            )
        elif coverage.absent:
            found.append(f"No pixel of split {name!r} is of {', '.join(coverage.absent)}.")
        found += _total_warnings(name, split) if coverage.present or split.totals else []
    return found


def band_warnings(manifest: Manifest) -> list[str]:
    """Return a sentence for each split with bands that have one value throughout, from which nothing can be learned."""
    found = []
    for name, split in manifest.splits.items():
        totals = split.pixel_totals
        bands = () if totals is None else totals.constant
        if bands and totals is not None:
            values = ", ".join(f"band {k + 1} is {totals.mean[k]:.0f}" for k in bands)
            found.append(
                f"In all pixels of split {name!r} {values}. Is it alpha, or a band that was not recorded? Choose bands "
                "that are, with `gdal_translate -b` for example."
            )
    return found


def _total_warnings(name: str, split: SplitManifest) -> list[str]:
    """Return sentences on what a split's labels hold beside classes, and how they lie."""
    totals, found = split.totals, []
    if totals is None:
        return []
    if totals.blank_images and totals.blank_images < split.labeled:
        found.append(f"Of split {name!r} {totals.blank_images} of {split.labeled} labels have no pixel of any class.")
    if totals.rest:
        swallowed = sum(totals.rest.values())
        found.append(
            f'"ignore": "rest" ignores {_share(swallowed, totals.pixels)} of the labels of split {name!r}, whose '
            f"values no class lists: {_rest(totals.rest, totals.pixels)}."
        )
    if totals.turned_images:
        found.append(
            f"Labeled photos of split {name!r} that were turned as their EXIF orientation says, as viewers show them: "
            f"{totals.turned_images}. See that their labels lie as --label-orientation says: upright, as the photo is "
            "shown (the default), or stored, as its pixels are."
        )
    return found


def _rest(rest: Mapping[str, int], pixels: int) -> str:
    ordered = sorted(rest.items(), key=lambda entry: -entry[1])
    named = [f"{value} ({_share(number, pixels)})" for value, number in ordered[:_FEW]]
    return ", ".join(named) + (f" and {len(ordered) - _FEW} more" if ordered[_FEW:] else "")


def unused_warning(unused: Sequence[Path], root: Path) -> str | None:
    """Return how many files that look like pictures were not used, and where they lie; None where there are none."""
    if not unused:
        return None
    lines = by_folder(unused, root)
    are = "1 picture is" if len(unused) == 1 else f"{len(unused)} files that look like pictures are"
    return "\n".join([f"{are} not used:", *(f"  {line}" for line in lines)])
