"""``pgpc export``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pgpc.cli.arguments import add_network
from pgpc.config import to_dict


def add(commands: Any) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser("export", help="write a trained network for use", description=run.__doc__)
    add_network(parser)
    parser.add_argument("--out", required=True, type=Path, help="file to write; replaced if it is there")
    parser.add_argument(
        "--format",
        default="weights",
        choices=("weights", "program"),
        help="weights with their config, for pgpc.load_exported, or a program for torch.export.load, which runs "
        "without pgpc (default: %(default)s)",
    )
    parser.add_argument(
        "--size", metavar="HEIGHTxWIDTH", help="of the program's images (default: data.target_size of the config)"
    )
    parser.set_defaults(run=run, on_interrupt="; nothing was written.")


def run(arguments: argparse.Namespace) -> None:
    """Write the network of a checkpoint to a file, without all that only training needs."""
    from pgpc.evaluation.loaded_model import load_model
    from pgpc.models.export import export_program, export_weights

    out = arguments.out
    size = _size(arguments.size) if arguments.size is not None else None
    if size is not None and arguments.format != "program":
        raise ValueError(f"--size is that of a program's images, but got --format {arguments.format}. Leave it out.")
    loaded = load_model(arguments.checkpoint, arguments.network)
    if out.exists() and out.samefile(loaded.file):
        raise ValueError(f"--out must not be the checkpoint itself, but got {out}. Choose another file.")
    segmenter = loaded.student.segmenter
    if arguments.format == "weights":
        export_weights(segmenter, to_dict(loaded.config), out, loaded.classes)
    else:
        width, height = loaded.config.data.target_size
        export_program(segmenter, out, size or (height, width))
    megabytes = [path.stat().st_size / 1e6 for path in (out, loaded.file)]
    print(f"exported {arguments.network}: {megabytes[0]:.1f} MB (checkpoint {megabytes[1]:.1f} MB) -> {out}")


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise ValueError(f"--size must be HEIGHTxWIDTH in pixels, for example 512x1024, but got {text!r}.")
    return int(height), int(width)
