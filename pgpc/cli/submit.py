"""``pgpc submit``: a zip of predictions for a benchmark's server."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgpc.cli.arguments import add_settings, segmenting_config
from pgpc.cli.progress import Progress
from pgpc.evaluation.benchmarks import BENCHMARKS, Benchmark
from pgpc.evaluation.names import NETWORKS

if TYPE_CHECKING:
    from pgpc.evaluation.submission import Prediction

SUMMARY = "pack predictions for a benchmark's server"
"""What `pgpc --help` says of the command."""


def add(commands: Any) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser("submit", description=run.__doc__)
    made_by = parser.add_mutually_exclusive_group(required=True)
    made_by.add_argument(
        "--checkpoint", help="run folder, its checkpoint.pt or best.pt, or an exported network, which segments --data"
    )
    made_by.add_argument(
        "--predictions",
        type=Path,
        help=f"instead: folder that `pgpc predict` wrote, with {_needed_formats()}",
    )
    parser.add_argument(
        "--network", default="student", choices=NETWORKS, help="which network of the checkpoint (default: %(default)s)"
    )
    parser.add_argument("--data", help="folder of shards with the images of the test set")
    parser.add_argument("--split", default="test", help="split of the shards (default: %(default)s)")
    parser.add_argument(
        "--benchmark",
        required=True,
        choices=tuple(BENCHMARKS),
        help="; ".join(_in_words(benchmark) for benchmark in BENCHMARKS.values()),
    )
    parser.add_argument("--out", required=True, type=Path, help="zip to write; replaced if it is there")
    parser.add_argument(
        "--allow-incomplete",
        action="store_true",
        help="let images be missing, to try the command out; names and sizes must still be right",
    )
    add_settings(parser)
    parser.set_defaults(run=run, on_interrupt="; nothing was written.")


def _in_words(benchmark: Benchmark) -> str:
    width, height = benchmark.size
    return f"{benchmark.name}: {benchmark.title}, {benchmark.images} images of {width} x {height}"


def _needed_formats() -> str:
    """Say which formats of ``pgpc predict`` a submission is made of, by benchmark."""
    benchmarks: dict[tuple[str, ...], list[str]] = {}
    for benchmark in BENCHMARKS.values():
        benchmarks.setdefault(benchmark.formats, []).append(benchmark.name)
    return "; ".join(
        f"{' '.join(f'--format {name}' for name in formats)} for {' and '.join(names)}"
        for formats, names in benchmarks.items()
    )


def run(arguments: argparse.Namespace) -> None:
    """Write the zip that the server of a benchmark takes, after checking that it is what the server asks for."""
    from pgpc.evaluation.submission import write_submission, written_predictions

    if (arguments.checkpoint is None) != (arguments.data is None):
        raise ValueError("--checkpoint needs --data, the shards of the test set; --predictions does without.")
    if arguments.checkpoint is not None:
        predictions = _of_shards(arguments)
    else:
        predictions = written_predictions(arguments.predictions, arguments.benchmark)
    write_submission(
        arguments.benchmark,
        predictions,
        arguments.out,
        allow_incomplete=arguments.allow_incomplete,
        on_progress=Progress("segmented"),
    )
    print(f"{len(predictions)} images, {arguments.out.stat().st_size / 1e6:.1f} MB -> {arguments.out}")


def _of_shards(arguments: argparse.Namespace) -> list[Prediction]:
    """Return the predictions of a network for the images of ``--data``, which are yet to be computed."""
    from pgpc.data.domains import open_shards
    from pgpc.evaluation.loaded_model import load_model
    from pgpc.evaluation.submission import shard_predictions
    from pgpc.runtime.distributed import local_device

    loaded = load_model(arguments.checkpoint, arguments.network)
    loaded = loaded._replace(config=segmenting_config(loaded.config, arguments.settings))
    predictions = shard_predictions(loaded, open_shards(arguments.data, loaded.config.data, arguments.split))
    loaded.student.to(local_device())
    return predictions
