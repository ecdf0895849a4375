"""Arguments that several commands share."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence

from pgpc.config import Config, flatten, override, parse_settings
from pgpc.evaluation.names import NETWORKS
from pgpc.recipes.lengths import ITERATIONS, lengths_of
from pgpc.recipes.recipe import DEFAULT_PRESET, compose
from pgpc.runtime.launch import is_first

log = logging.getLogger(__name__)

PROTOCOL = ("data.target_size", "data.fit", "data.interpolation")
"""Keys that say, beside ``evaluation.*``, how an image is segmented."""

_SETTABLE = (*PROTOCOL, "data.loader_workers")


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add the name of a preset or of a config file, and ``--set``."""
    parser.add_argument(
        "preset",
        nargs="?",
        help="named config; that of custom/BASE takes its numbers from the packed shards that --set data.source and "
        f"--set data.target name (default: {DEFAULT_PRESET})",
    )
    parser.add_argument(
        "--config",
        metavar="FILE",
        help="config file in place of a preset: what pgpc init prints, a run's config.json, or YAML with values by key",
    )
    add_set(
        parser,
        "change one value of the config, e.g. --set contrast.eta=0.4; repeatable. With training.iterations the lengths "
        "that are not set change in proportion",
    )


def add_set(parser: argparse.ArgumentParser, help_text: str) -> None:
    """Add ``--set``, with a help text that says what may be changed."""
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="settings", help=help_text)


def config_of(arguments: argparse.Namespace, *, resumed: Config | None = None) -> Config:
    """Return the config that the arguments of :func:`add_config` name; say what follows from them.

    Args:
        arguments: The arguments.
        resumed: Config of the run that is to be resumed. Where the number of iterations is set, all other lengths that
            are not are those of the run.
    """
    settings = parse_settings(arguments.settings)
    if resumed is not None and ITERATIONS in settings:
        settings = {**lengths_of(resumed), **settings}
    recipe = compose(arguments.preset, arguments.config, settings)
    if is_first():
        for note in recipe.notes:
            log.info("%s", note)
    return recipe.config


def add_network(parser: argparse.ArgumentParser) -> None:
    """Add which network of which checkpoint."""
    parser.add_argument(
        "--checkpoint", required=True, help="run folder, its checkpoint.pt or best.pt, or an exported network"
    )
    parser.add_argument(
        "--network", default="student", choices=NETWORKS, help="which network of the checkpoint (default: %(default)s)"
    )


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add ``--set`` for a trained network."""
    add_set(
        parser,
        "change how images are segmented, e.g. --set evaluation.window=512 --set evaluation.window_stride=256: "
        f"evaluation.*, {', '.join(_SETTABLE)}; repeatable",
    )


def segmenting_config(config: Config, settings: Sequence[str]) -> Config:
    """Return a config that segments as another does, but for some settings; it is not one to train with.

    Args:
        config: The config that the network was trained with.
        settings: Settings as :func:`add_settings` gives them.

    Raises:
        ValueError: A setting is of something else than how images are segmented.
    """
    changes = parse_settings(settings)
    for key in changes:
        if not key.startswith("evaluation.") and key not in _SETTABLE:
            raise ValueError(
                f"--set must change how images are segmented (evaluation.*, {', '.join(_SETTABLE)}), but got {key!r}. "
                "All else is settled by the training; the data are chosen by flags of their own."
            )
    # Nothing else is taken over, so that no rule of training stands in the way of, say, another size.
    kept = {
        key: value
        for key, value in flatten(config).items()
        if key.startswith(("evaluation.", "data.streets.", "training.precision"))
        or key in ("data.source", "data.source_size", "data.holdout", "data.target", "data.eval_split", *_SETTABLE)
        or key in ("data.bands", "data.bits", "data.mean", "data.std")
    }
    return override(Config(), {**kept, **changes})
