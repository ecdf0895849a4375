"""``pgpc export``: a trained network in a file of its own."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pgpc.cli.arguments import add_network
from pgpc.config import to_dict

if TYPE_CHECKING:
    from pgpc.evaluation.loaded_model import LoadedModel

SUMMARY = "write a trained network for use"
"""What `pgpc --help` says of the command."""


class _Format(NamedTuple):
    """A kind of file.

    Attributes:
        help: What it is, in words.
        write: Function that writes it; it is given the network, the file, and the height and width of the images in
            pixels.
    """

    help: str
    write: Callable[[LoadedModel, Path, tuple[int, int]], None]


def _write_weights(loaded: LoadedModel, out: Path, size: tuple[int, int]) -> None:
    from pgpc.models.export import export_weights

    export_weights(loaded.student.segmenter, to_dict(loaded.config), out, loaded.classes)


def _write_program(loaded: LoadedModel, out: Path, size: tuple[int, int]) -> None:
    from pgpc.models.export import export_program

    export_program(loaded.student.segmenter, out, size)


def _write_onnx(loaded: LoadedModel, out: Path, size: tuple[int, int]) -> None:
    from pgpc.models.onnx_file import export_onnx

    export_onnx(loaded.student.segmenter, loaded.config.data, out, loaded.classes)


FORMATS = {
    "weights": _Format("the weights with their config, for pgpc.load_exported", _write_weights),
    "program": _Format("a program for torch.export.load, which runs without pgpc", _write_program),
    "onnx": _Format("an ONNX file for images of any size, compared with the network by onnxruntime", _write_onnx),
}
"""All kinds of files by name; the first is the default."""


def add(commands: Any) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser("export", description=run.__doc__)
    add_network(parser)
    parser.add_argument("--out", required=True, type=Path, help="file to write; replaced if it is there")
    parser.add_argument(
        "--format",
        default=next(iter(FORMATS)),
        choices=tuple(FORMATS),
        help=f"{'; '.join(f'{name}: {format_.help}' for name, format_ in FORMATS.items())} (default: %(default)s)",
    )
    parser.add_argument(
        "--size",
        metavar="HEIGHTxWIDTH",
        help="size of the program's images in pixels (default: data.target_size of the config)",
    )
    parser.set_defaults(run=run, on_interrupt="; nothing was written.")


def run(arguments: argparse.Namespace) -> None:
    """Write the network of a checkpoint to a file, without all that only training needs."""
    from pgpc.evaluation.loaded_model import load_model

    out = arguments.out
    size = _size(arguments.size) if arguments.size is not None else None
    if size is not None and arguments.format != "program":
        raise ValueError(f"--size is that of a program's images, but got --format {arguments.format}. Leave it out.")
    loaded = load_model(arguments.checkpoint, arguments.network)
    if out.exists() and out.samefile(loaded.file):
        raise ValueError(f"--out must not be the checkpoint itself, but got {out}. Choose another file.")
    width, height = loaded.config.data.target_size
    FORMATS[arguments.format].write(loaded, out, size or (height, width))
    megabytes = [path.stat().st_size / 1e6 for path in (out, loaded.file)]
    print(f"exported {arguments.network}: {megabytes[0]:.1f} MB (checkpoint {megabytes[1]:.1f} MB) -> {out}")


def _size(text: str) -> tuple[int, int]:
    """Read a height and a width."""
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise ValueError(f"--size must be HEIGHTxWIDTH in pixels, for example 512x1024, but got {text!r}.")
    return int(height), int(width)
