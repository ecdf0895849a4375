"""``pgpc draw``."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgpc.cli.progress import Progress
from pgpc.runtime.checks import check

if TYPE_CHECKING:
    from pgpc.data.shards.reader import Shards
    from pgpc.evaluation.loaded_model import LoadedModel


def add(commands: Any) -> None:
    """Add the command and its three kinds of figures."""
    parser = commands.add_parser("draw", help="draw figures for a paper", description="Draw a figure for a paper.")
    figures = parser.add_subparsers(dest="figure", required=True, metavar="FIGURE")
    _add_comparison(figures)
    _add_embedding(figures)
    _add_selection(figures)


def _add_comparison(figures: Any) -> None:
    parser = figures.add_parser(
        "comparison", help="predictions of several networks side by side", description=comparison.__doc__
    )
    _add_checkpoints(parser)
    _add_data(parser)
    parser.add_argument(
        "--images",
        nargs="+",
        default=["4"],
        metavar="N|NAME",
        help="how many, evenly spaced over the split, or which (default: 4)",
    )
    parser.add_argument(
        "--most-different",
        action="store_true",
        help="take the N images of the split on which most pixels differ between networks; say so in the caption",
    )
    _finish(parser, comparison)


def _add_embedding(figures: Any) -> None:
    parser = figures.add_parser(
        "embedding", help="the feature space of networks, by class", description=embedding.__doc__
    )
    _add_checkpoints(parser)
    _add_data(parser)
    parser.add_argument(
        "--features",
        choices=("projection", "decoder"),
        help="the space: the projection head's, or what the classifier reads (default: projection where all networks "
        "have the head)",
    )
    parser.add_argument("--method", default="tsne", choices=("tsne", "pca"), help="(default: %(default)s)")
    parser.add_argument(
        "--images",
        nargs="+",
        default=["50"],
        metavar="N|NAME",
        help="how many to take pixels from, evenly spaced over the split, or which (default: 50)",
    )
    parser.add_argument("--pixels", type=int, default=100, help="of each class (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the pixels and of t-SNE (default: %(default)s)")
    _finish(parser, embedding)


def _add_selection(figures: Any) -> None:
    parser = figures.add_parser(
        "selection", help="the pixels that four ways of selection take", description=selection.__doc__
    )
    parser.add_argument(
        "--checkpoint", required=True, type=Path, help="run folder, its checkpoint.pt, or an exported network"
    )
    _add_data(parser)
    parser.add_argument(
        "--network", choices=("student", "teacher"), help="whose prediction (default: the teacher's if there is one)"
    )
    parser.add_argument("--image", metavar="NAME|ROW", help="which one (default: the middle one of the split)")
    parser.add_argument("--eta", type=float, help="share that is selected (default: contrast.eta of the config)")
    _finish(parser, selection)


def _add_checkpoints(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint",
        required=True,
        action="append",
        type=Path,
        dest="checkpoints",
        help="run folder, its checkpoint.pt, or an exported network; repeatable",
    )
    parser.add_argument(
        "--label",
        action="append",
        default=[],
        dest="labels",
        metavar="TEXT",
        help="a checkpoint's name in the figure, once for each, in their order (default: that of the run's folder)",
    )
    parser.add_argument(
        "--network", default="student", choices=("student", "teacher"), help="of the checkpoints (default: %(default)s)"
    )


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", metavar="SHARDS", help="folder of packed shards (default: the target of the config)")
    parser.add_argument("--split", help="of the data (default: data.eval_split of the config)")


def _finish(parser: argparse.ArgumentParser, run: Any) -> None:
    parser.add_argument("--out", required=True, type=Path, help="picture to write, for example .pdf or .png; replaced")
    parser.set_defaults(run=run, on_interrupt="; nothing was written.")
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # or it lists every glyph that a PDF embeds


def comparison(arguments: argparse.Namespace) -> None:
    """Draw what several networks make of the same images: image, predictions, ground truth."""
    from pgpc.figures.canvas import check_picture_file, save
    from pgpc.figures.comparison import comparison_figure, disagreement, most_different
    from pgpc.figures.networks import compare, find_rows, load_networks

    check_picture_file(arguments.out)
    titles = _titles(arguments)
    networks = load_networks(arguments.checkpoints, arguments.network)
    shards = _shards(arguments, networks)
    rows = find_rows(shards, arguments.images)
    if arguments.most_different:
        differences, progress = [], Progress("compared")
        for row in range(len(shards)):
            differences.append(disagreement(compare(networks, shards, row).predictions))
            progress(row + 1, len(shards))
        rows = most_different(differences, len(rows))
    images = [compare(networks, shards, row) for row in rows]
    save(comparison_figure(images, titles, networks[0].classes), arguments.out)
    _print_result(arguments, [shards.names[row] for row in rows])


def embedding(arguments: argparse.Namespace) -> None:
    """Lay out equally many pixels of each class by their features, the same pixels for all networks."""
    from pgpc.figures.canvas import check_picture_file, save
    from pgpc.figures.embedding import describe, embedding_figure, to_plane
    from pgpc.figures.networks import find_rows, load_networks, pixel_features

    check_picture_file(arguments.out)
    check(arguments.pixels > 0, "--pixels must be at least 1", arguments.pixels)
    titles = _titles(arguments)
    networks = load_networks(arguments.checkpoints, arguments.network)
    shards = _shards(arguments, networks)
    space = arguments.features
    if space is None:
        space = "projection" if all(loaded.student.projection is not None for loaded in networks) else "decoder"
    features, labels = pixel_features(
        networks,
        shards,
        find_rows(shards, arguments.images),
        space,
        per_class=arguments.pixels,
        seed=arguments.seed,
        on_progress=Progress("measured"),
    )
    planes = [to_plane(points, arguments.method, arguments.seed) for points in features]
    titles = [f"{title}\n{describe(loaded.student, space)}" for title, loaded in zip(titles, networks, strict=True)]
    save(embedding_figure(planes, titles, labels, networks[0].classes), arguments.out)
    _print_result(arguments, [f"{len(labels)} pixels"])


def selection(arguments: argparse.Namespace) -> None:
    """Draw the pixels that entropy and confidence select, globally and within classes, and how many are right."""
    from pgpc.figures.canvas import check_picture_file, save
    from pgpc.figures.comparison import evenly_spaced
    from pgpc.figures.networks import draw_selection, find_row, load_selecting

    check_picture_file(arguments.out)
    loaded, network = load_selecting(arguments.checkpoint, arguments.network)
    shards = _shards(arguments, [loaded])
    row = evenly_spaced(len(shards), 1)[0] if arguments.image is None else find_row(shards, arguments.image)
    eta = loaded.config.contrast.eta if arguments.eta is None else arguments.eta
    save(draw_selection(loaded, network, shards, row, eta), arguments.out)
    _print_result(arguments, [shards.names[row]])


def _titles(arguments: argparse.Namespace) -> list[str]:
    from pgpc.figures.networks import titles_of

    if not arguments.labels:
        return titles_of(arguments.checkpoints)
    check(
        len(arguments.labels) == len(arguments.checkpoints),
        f"--label must be given once for each of the {len(arguments.checkpoints)} checkpoints, or not at all",
        arguments.labels,
    )
    return arguments.labels


def _shards(arguments: argparse.Namespace, networks: Sequence[LoadedModel]) -> Shards:
    from pgpc.data.domains import open_shards
    from pgpc.figures.networks import check_data

    data = networks[0].config.data
    shards = open_shards(arguments.data or data.target, data, arguments.split or data.eval_split)
    check_data(networks, shards)
    return shards


def _print_result(arguments: argparse.Namespace, lines: Sequence[str]) -> None:
    print("\n".join([*lines, f"-> {arguments.out}"]))
