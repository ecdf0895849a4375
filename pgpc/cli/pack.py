"""``pgpc pack``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pgpc.cli.arguments import print_progress


def add(commands: Any) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser("pack", help="pack a data set into shards", description=run.__doc__)
    parser.add_argument("--layout", required=True, help="how the data set lies on disk: gta5, cityscapes")
    parser.add_argument("--root", required=True, type=Path, help="folder of the data set")
    parser.add_argument("--out", required=True, type=Path, help="folder for the shards; created")
    parser.set_defaults(run=run, on_interrupt="; nothing was written.")


def run(arguments: argparse.Namespace) -> None:
    """Check every image and label of a data set and write them as Arrow shards, which training reads."""
    from pgpc.data.pack import pack

    pack(arguments.layout, arguments.root, arguments.out, on_progress=print_progress)
