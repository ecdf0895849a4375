"""Arguments that several commands share."""

from __future__ import annotations

import argparse
import sys

from pgpc.config import Config, override, parse_settings
from pgpc.presets import preset


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add the name of a preset and ``--set``."""
    parser.add_argument("preset", nargs="?", default="streets", help="named config (default: %(default)s)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", dest="settings",
        help="change one value of the config, e.g. --set contrast.eta=0.4; repeatable",
    )  # fmt: skip


def config_of(arguments: argparse.Namespace) -> Config:
    """The config that :func:`add_config`'s arguments name."""
    return override(preset(arguments.preset), parse_settings(arguments.settings))


def add_network(parser: argparse.ArgumentParser) -> None:
    """Add which network of which checkpoint."""
    parser.add_argument("--checkpoint", required=True, help="run folder, its checkpoint.pt, or an exported network")
    parser.add_argument(
        "--network", default="student", choices=("student", "teacher"), help="of the checkpoint (default: %(default)s)"
    )


def print_progress(done: int, total: int) -> None:
    """A counter that overwrites itself, on a terminal only."""
    if sys.stderr.isatty():
        print(f"\r{done}/{total}", end="\n" if done == total else "", file=sys.stderr, flush=True)
