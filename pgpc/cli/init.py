"""``pgpc init``."""

from __future__ import annotations

import argparse
import logging
from typing import TYPE_CHECKING, Any

from pgpc.cli.arguments import add_set
from pgpc.config import parse_settings

if TYPE_CHECKING:
    from pgpc.recipes.own_data import Side

SUMMARY = "print a config file for your own data, to start from"
"""What `pgpc --help` says of the command."""

log = logging.getLogger(__name__)


def add(commands: Any) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser(
        "init",
        description=run.__doc__,
        epilog="pgpc init --source shards/mine --target shards/theirs > mine.json; then: pgpc train --config mine.json "
        "--out runs/mine",
    )
    parser.add_argument(
        "preset",
        nargs="?",
        default="custom/daformer+pgpc",
        help="preset that it starts from; those of custom take their numbers from the shards (default: %(default)s)",
    )
    parser.add_argument("--source", help="folder of packed shards with labels, or its address on S3")
    parser.add_argument("--target", help="folder of packed shards without labels, or its address on S3")
    add_set(parser, "change one value, e.g. --set training.iterations=4000; repeatable")
    parser.set_defaults(run=run, on_interrupt=".")


def run(arguments: argparse.Namespace) -> None:
    """Print a config file in JSON, with every value explained, whose numbers are taken from packed shards."""
    from pgpc.recipes.own_data import look_at
    from pgpc.recipes.recipe import from_preset
    from pgpc.recipes.starter import starter

    places = {"data.source": arguments.source, "data.target": arguments.target}
    settings = {**parse_settings(arguments.settings), **{key: where for key, where in places.items() if where}}
    recipe = from_preset(arguments.preset, settings)
    for note in recipe.notes:
        log.info("%s", note)
    sides = {key: look_at(where) for key, where in places.items() if where}
    remarks = {key: _remark(side) for key, side in sides.items()}
    print(starter(recipe.config, also=settings, remarks=remarks), end="")


def _remark(side: Side) -> str:
    """Return what is said of a domain: its images, and the classes where it has labels of any."""
    classes = f", classes: {', '.join(side.classes)}" if side.class_pixels.any() else ", without labels"
    return f"{len(side.sizes)} images, typically {side.typical[0]} x {side.typical[1]} pixels{classes}."
