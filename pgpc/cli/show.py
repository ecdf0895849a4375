"""``pgpc show``."""

from __future__ import annotations

import argparse
from typing import Any

from pgpc.cli.arguments import add_config, config_of
from pgpc.config import flatten
from pgpc.presets import preset_names


def add(commands: Any) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser("show", help="print a resolved config, or the names of all", description=run.__doc__)
    add_config(parser)
    parser.add_argument("--list", action="store_true", help="print the names of all presets instead")
    parser.set_defaults(run=run, on_interrupt=".")


def run(arguments: argparse.Namespace) -> None:
    """Print every key and value of a config, as --set takes them."""
    if arguments.list:
        print("\n".join(preset_names()))
        return
    for key, value in flatten(config_of(arguments)).items():
        print(f"{key}={','.join(map(str, value)) if isinstance(value, tuple) else value}")
