"""The command ``pgpc pack``: packing of a data set into shards, and checks of shards."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgpc.cli.progress import Progress

if TYPE_CHECKING:
    from pgpc.data.shards.manifest import Manifest

# The names of pgpc.data.layouts.LAYOUTS, which takes too long to import for a help text; a test compares them.
_LAYOUTS = "gta5, synthia, cityscapes, darkzurich, acdc; or folder, your own pictures"


def add(commands: Any) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser(
        "pack",
        help="pack a data set into shards, or check shards",
        description=run.__doc__,
        epilog="An interrupted run resumes where it stopped when the same command is given again. Shards that are up "
        "to date are left alone.",
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
        "--classes", type=Path, metavar="FILE", help="for layout folder: JSON file that says what the labels mean"
    )
    parser.add_argument(
        "--skip-bad", action="store_true", help="leave out images that cannot be packed, and list them at the end"
    )
    parser.add_argument(
        "--check", metavar="SHARDS", help="instead of packing: read all of a folder of shards, or an address on S3"
    )
    parser.set_defaults(
        run=run, on_interrupt=". Nothing was published; the same command resumes after the files that were finished."
    )


def run(arguments: argparse.Namespace) -> None:
    """Check every image and label of a data set and write them as Arrow shards, which training reads."""
    if arguments.check is not None:
        _check(arguments)
        return
    missing = [f"--{name}" for name in ("layout", "root", "out") if getattr(arguments, name) is None]
    if missing:
        raise ValueError(
            f"Packing needs --layout, --root and --out, but got no {' and no '.join(missing)}. See pgpc pack --help."
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


def _check(arguments: argparse.Namespace) -> None:
    from pgpc.data.shards.manifest import read_manifest
    from pgpc.data.shards.verify import verify

    if any(getattr(arguments, name) for name in ("layout", "root", "out", "splits", "classes", "skip_bad")):
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
    return f"{', '.join(splits)}; {len(manifest.classes.names)} classes{left_out}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
