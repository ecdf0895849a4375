"""``pgpc show``."""

from __future__ import annotations

import argparse
import shutil
from typing import Any

from pgpc.cli.arguments import add_config, config_of
from pgpc.config import explain, flatten, reference
from pgpc.presets import own_names, preset_names
from pgpc.runtime.coercion import as_setting

SUMMARY = "print a resolved config, what its keys mean, or the names of all"
"""What `pgpc --help` says of the command."""

_WIDEST = 120
"""Columns that explanations are wrapped to at most; longer lines are hard to read."""


def add(commands: Any) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser("show", description=run.__doc__)
    add_config(parser)
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--list", action="store_true", help="print the names of all presets instead")
    instead.add_argument(
        "--explain",
        nargs="?",
        const="",
        metavar="KEY",
        help="print what KEY means instead: its values, its unit, when it first acts, whether a running trial may "
        "change it; KEY may be a group, such as contrast; without KEY, all keys",
    )
    instead.add_argument("--reference", action="store_true", help="print the same of all keys as a page in Markdown")
    parser.set_defaults(run=run, on_interrupt=".")


def run(arguments: argparse.Namespace) -> None:
    """Print every key and value of a config, as --set takes them."""
    if arguments.list:
        print("\n".join([*preset_names(), *own_names()]))
    elif arguments.reference:
        print(reference(), end="")
    elif arguments.explain is not None:
        columns = min(shutil.get_terminal_size((100, 24)).columns, _WIDEST)
        print(explain(arguments.explain, config_of(arguments), columns))
    else:
        for key, value in flatten(config_of(arguments)).items():
            print(f"{key}={as_setting(value)}")
