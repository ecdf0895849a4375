"""The command ``pgpc pack``: packing of a data set into shards, and checks of shards."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgpc.cli.progress import Progress
from pgpc.data.pixel_form import RGB

if TYPE_CHECKING:
    from pgpc.data.shards.manifest import Manifest
    from pgpc.data.shards.pack import Packed

SUMMARY = "pack a data set into shards, or check shards"
"""What `pgpc --help` says of the command."""

# The names of pgpc.data.layouts.known.LAYOUTS, which takes too long to import for a help text; a test compares them.
_LAYOUTS = (
    "gta5, synthia, cityscapes, darkzurich, acdc, bdd100k, bdd100k-day, bdd100k-night, loveda-rural, loveda-urban, "
    "potsdam-rgb, potsdam-irrg, potsdam-rgbir, vaihingen; or folder, your own pictures"
)


_OF_PACKING = (
    *("photos", "shards", "labels", "layout", "root", "out", "splits", "classes", "skip_bad"),
    *("image_suffixes", "label_suffixes", "split_files", "label_orientation", "bands", "bits"),
)


def add(commands: Any) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser(
        "pack",
        description=run.__doc__,
        epilog="An interrupted run resumes where it stopped when the same command is given again. Shards that are up "
        "to date are left alone.",
    )
    parser.add_argument(
        "photos",
        nargs="?",
        type=Path,
        metavar="PHOTOS",
        help="folder of your own photos, by themselves or in folders train, val and test; with SHARDS in place of "
        "--layout folder --root PHOTOS --out SHARDS",
    )
    parser.add_argument("shards", nargs="?", metavar="SHARDS", help="folder for the shards, or its address on S3")
    parser.add_argument(
        "--labels", type=Path, metavar="FOLDER", help="folder of the labels of PHOTOS, with files of the same names"
    )
    parser.add_argument(
        "--layout",
        help=f"how the data set lies on disk: {_LAYOUTS}",
    )
    parser.add_argument("--root", type=Path, help="folder of the data set")
    parser.add_argument("--out", help="folder for the shards, which is made, or its address on S3 (s3://BUCKET/NAME)")
    parser.add_argument(
        "--split",
        action="append",
        dest="splits",
        metavar="SPLIT",
        help="pack this split; repeatable (default: all splits that are there)",
    )
    parser.add_argument(
        "--classes",
        type=Path,
        metavar="FILE",
        help="for layout folder: JSON file that says what the labels mean, by ids or by colors (default: Cityscapes' "
        "train ids)",
    )
    _add_names(parser)
    parser.add_argument(
        "--skip-bad", action="store_true", help="leave out images that cannot be packed, and list them at the end"
    )
    parser.add_argument(
        "--check", metavar="SHARDS", help="instead of packing: read all of a folder of shards, or an address on S3"
    )
    parser.set_defaults(
        run=run, on_interrupt=". Nothing was published; the same command resumes after the files that were finished."
    )


def _add_names(parser: argparse.ArgumentParser) -> None:
    """Add what says how the files of a data set of one's own are called, and how their labels lie."""
    parser.add_argument(
        "--image-suffix",
        action="append",
        default=[],
        dest="image_suffixes",
        metavar="SUFFIX",
        help="for layout folder: what names of images end with, such as _rgb.png; repeatable (default: .jpg, .png and "
        "others)",
    )
    parser.add_argument(
        "--label-suffix",
        action="append",
        default=[],
        dest="label_suffixes",
        metavar="SUFFIX",
        help="for layout folder: what names of labels end with in place of that, such as _mask.png; repeatable "
        "(default: .png or .tif)",
    )
    parser.add_argument(
        "--split-file",
        action="append",
        default=[],
        dest="split_files",
        metavar="SPLIT=FILE",
        help="for layout folder: text file that lists the images of a split, one a line, by their path below images/ "
        "with or without suffix; repeatable, in place of folders for splits",
    )
    parser.add_argument(
        "--label-orientation",
        choices=("upright", "stored"),
        help="how labels lie whose photo EXIF says to turn: upright, as it is shown (the default), or stored, as its "
        "pixels are",
    )
    parser.add_argument(
        "--bands",
        type=int,
        metavar="NUMBER",
        help="bands that all images have; 3 makes RGB of gray, palettes, ink and alpha (default: that of the layout, "
        "which is 3 for all but potsdam-rgbir)",
    )
    parser.add_argument(
        "--bits",
        type=int,
        choices=(8, 16),
        help="bits of each band, all of whose values are kept: neither scaled nor clipped (default: 8)",
    )


def run(arguments: argparse.Namespace) -> None:
    """Check every image and label of a data set and write them as Arrow shards, which training reads."""
    if arguments.check is not None:
        _check(arguments)
        return
    _take_photos(arguments)
    missing = [f"--{name}" for name in ("layout", "root", "out") if getattr(arguments, name) is None]
    if missing:
        raise ValueError(
            f"Packing needs PHOTOS and SHARDS, or --layout, --root and --out, but got no {' and no '.join(missing)}. "
            "See pgpc pack --help."
        )
    from pgpc.data.shards.pack import pack

    progress = Progress("packed")
    try:
        packed = pack(
            arguments.layout,
            arguments.root,
            arguments.out,
            splits=arguments.splits,
            description=arguments.classes,
            image_suffixes=arguments.image_suffixes,
            label_suffixes=arguments.label_suffixes,
            lists=_lists(arguments.split_files),
            labels=arguments.labels,
            labels_lie=arguments.label_orientation or "upright",
            bands=arguments.bands,
            bits=arguments.bits or 8,
            skip_bad=arguments.skip_bad,
            on_progress=progress,
        )
    finally:
        progress.close()
    skipped = packed.manifest.skipped
    if skipped and not packed.up_to_date:
        print(f"left out {_count(len(skipped), 'image')}:")
        for image in skipped:
            print(f"  {image.problem}")
    print(f"{arguments.out} {'is up to date' if packed.up_to_date else 'is packed'}: {_summary(packed.manifest)}")
    _print_labels(arguments, packed)


def _take_photos(arguments: argparse.Namespace) -> None:
    """Bring a folder of photos and one for their shards into the place of the flags that say the same."""
    if arguments.photos is None:
        return
    given = [f"--{name}" for name in ("root", "out") if getattr(arguments, name) is not None]
    if given or arguments.layout not in (None, "folder") or arguments.shards is None:
        raise ValueError(
            "PHOTOS must be followed by SHARDS, and stand in place of --layout folder, --root and --out, but got "
            f"{arguments.shards!r} and {' and '.join(given) or arguments.layout or 'no flag'}. Give either."
        )
    arguments.layout, arguments.root, arguments.out = "folder", arguments.photos, arguments.shards


def _lists(given: list[str]) -> dict[str, Path]:
    """Return the files that ``--split-file`` names, by split."""
    lists: dict[str, Path] = {}
    for text in given:
        split, equals, file = text.partition("=")
        if not (split and equals and file):
            raise ValueError(f"--split-file must be SPLIT=FILE, such as train=train.txt, but got {text!r}.")
        if split in lists:
            raise ValueError(f"--split-file must be given once a split, but {split!r} has {lists[split]} and {file}.")
        lists[split] = Path(file)
    return lists


def _print_labels(arguments: argparse.Namespace, packed: Packed) -> None:
    """Print what the labels hold, and warn of what may be meant otherwise."""
    from pgpc.cli.pack_text import band_warnings, class_table, label_warnings, unused_warning

    manifest = packed.manifest
    warnings = [*band_warnings(manifest), *label_warnings(manifest)]
    unused = unused_warning(packed.unused, arguments.root)
    warnings += [*packed.notes, *([] if unused is None else [unused])]
    if arguments.layout == "folder" and arguments.classes is None and any(s.labeled for s in manifest.splits.values()):
        warnings.append(
            "Without --classes labels are taken for Cityscapes' train ids: 0 road, 1 sidewalk, .., 18 bicycle, 255 "
            "ignored. For others describe your classes in a file, see pgpc pack --help."
        )
    if table := class_table(manifest):
        print("\n".join(["", *table]))
    sys.stdout.flush()  # before the warnings, where both go to one place
    for warning in warnings:
        print(f"pgpc pack: warning: {warning}", file=sys.stderr)


def _check(arguments: argparse.Namespace) -> None:
    from pgpc.data.shards.manifest import read_manifest
    from pgpc.data.shards.verify import verify

    if any(getattr(arguments, name) for name in _OF_PACKING):
        raise ValueError("--check reads shards and packs nothing: give it alone, as pgpc pack --check SHARDS.")
    arguments.on_interrupt = "; not everything was checked."
    progress = Progress("checked")
    try:
        verify(arguments.check, progress)
    finally:
        progress.close()
    print(f"{arguments.check} is sound: {_summary(read_manifest(arguments.check))}")


def _summary(manifest: Manifest) -> str:
    """Return the numbers of images, files and classes, in words."""
    splits = [
        f"{name} {_count(split.count, 'image')} ({split.labeled} with labels) in " + _count(len(split.files), "file")
        for name, split in manifest.splits.items()
    ]
    left_out = f"; {len(manifest.skipped)} left out, listed in the manifest" if manifest.skipped else ""
    form = "" if manifest.pixels == RGB else f"; {manifest.pixels}"
    # Where nothing has labels, classes are those that labels would have had.
    has_labels = any(split.labeled for split in manifest.splits.values())
    classes = f"; {len(manifest.classes.names)} classes" if has_labels else ""
    return f"{', '.join(splits)}{classes}{form}{left_out}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
