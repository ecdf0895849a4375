"""``pgpc predict``: segmentations of pictures without labels."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgpc.cli.arguments import add_network, add_settings, segmenting_config
from pgpc.cli.progress import Progress
from pgpc.evaluation.formats import DEFAULT_FORMATS, FORMATS

if TYPE_CHECKING:
    from pgpc.evaluation.loaded_model import LoadedModel
    from pgpc.evaluation.prediction import Picture

SUMMARY = "segment pictures, videos or what a webcam sees; no labels are needed"
"""What `pgpc --help` says of the command."""


def add(commands: Any) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser(
        "predict",
        description=run.__doc__,
        epilog="Results lie in OUT/FORMAT, named after their pictures; OUT/legend.png shows the classes' colors. The "
        "overlay of a video, or of what a webcam sees until Ctrl-C, is a video; other formats are one picture a frame.",
    )
    add_network(parser)
    parser.add_argument(
        "--input",
        required=True,
        help="folder of photos (JPEG, PNG, WebP, BMP, TIFF, HEIC), one photo, a video, webcam:0, or a folder of shards",
    )
    parser.add_argument("--split", help="split of the shards (default: data.eval_split of the config)")
    parser.add_argument(
        "--out",
        required=True,
        type=Path,
        help="folder for the results, which are of one network: its own are replaced, "
        "and the folder of another one is refused",
    )
    parser.add_argument(
        "--format",
        action="append",
        dest="formats",
        choices=tuple(FORMATS),
        help=f"what to write; repeatable (default: {' and '.join(DEFAULT_FORMATS)}). "
        + "; ".join(f"{format_.name}: {format_.help}" for format_ in FORMATS.values()),
    )
    parser.add_argument("--skip-existing", action="store_true", help="leave out photos whose results are all there")
    add_settings(parser)
    parser.set_defaults(run=run, on_interrupt="; add --skip-existing to go on.")


def run(arguments: argparse.Namespace) -> None:
    """Segment pictures, for which no labels are needed."""
    from pgpc.evaluation.loaded_model import load_model
    from pgpc.evaluation.prediction import write_predictions
    from pgpc.evaluation.video.reading import is_video
    from pgpc.runtime.distributed import local_device

    if arguments.out.exists() and not arguments.out.is_dir():
        raise ValueError(f"--out must be a folder, but {arguments.out} is a file.")
    if is_video(arguments.input):
        _refuse_of_videos(arguments)
    loaded = load_model(arguments.checkpoint, arguments.network)
    loaded = loaded._replace(config=segmenting_config(loaded.config, arguments.settings))
    if is_video(arguments.input):
        _predict_video(arguments, loaded)
        return
    pictures = _pictures(arguments, loaded)
    loaded.student.to(local_device())
    write_predictions(
        loaded,
        pictures,
        arguments.out,
        arguments.formats or DEFAULT_FORMATS,
        skip_existing=arguments.skip_existing,
        on_progress=Progress("segmented"),
    )
    print(f"{len(pictures)} {'picture' if len(pictures) == 1 else 'pictures'} -> {arguments.out}")


def _refuse_of_videos(arguments: argparse.Namespace) -> None:
    """Refuse flags that are for pictures, and say what is kept at an interruption."""
    if arguments.skip_existing or arguments.split is not None:
        raise ValueError(
            f"--skip-existing and --split are for pictures and shards, but {arguments.input} is a video. Leave them "
            "out."
        )
    arguments.on_interrupt = "; the frames that were done are kept."


def _predict_video(arguments: argparse.Namespace, loaded: LoadedModel) -> None:
    from pgpc.evaluation.video.prediction import predict_video
    from pgpc.runtime.distributed import local_device

    loaded.student.to(local_device())
    formats = arguments.formats or DEFAULT_FORMATS
    progress = Progress("segmented", "frames")
    try:
        frames = predict_video(loaded, arguments.input, arguments.out, formats, on_progress=progress)
    finally:
        progress.close()
    print(f"{frames} {'frame' if frames == 1 else 'frames'} -> {arguments.out}")


def _pictures(arguments: argparse.Namespace, loaded: LoadedModel) -> list[Picture]:
    """Find the pictures that ``--input`` names: images of shards, or photos."""
    from pgpc.data.domains import open_shards
    from pgpc.data.shards.manifest import MANIFEST
    from pgpc.evaluation.prediction import find_photos, shard_pictures
    from pgpc.runtime.storage import is_url

    where, data = arguments.input, loaded.config.data
    if where.startswith("streets:") or is_url(where) or (Path(where) / MANIFEST).is_file():
        return shard_pictures(open_shards(where, data, arguments.split or data.eval_split or "train"))
    if arguments.split is not None:
        raise ValueError(f"--split is that of shards, but {where} are none. Leave it out.")
    return find_photos(Path(where), arguments.out, data.pixels)
