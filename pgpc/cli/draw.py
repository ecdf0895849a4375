"""``pgpc draw``: figures for papers, one kind per sub-command."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pgpc.cli.progress import Progress
from pgpc.evaluation.names import NETWORKS, SPACES
from pgpc.figures.embedding import METHODS
from pgpc.runtime.checks import check

if TYPE_CHECKING:
    from pgpc.data.shards.reader import Shards
    from pgpc.evaluation.loaded_model import LoadedModel

SUMMARY = "draw figures for a paper"
"""What `pgpc --help` says of the command."""


def add(commands: Any) -> None:
    """Add the command and its kinds of figures."""
    parser = commands.add_parser("draw", description="Draw a figure for a paper.")
    figures = parser.add_subparsers(dest="figure", required=True, metavar="FIGURE")
    for figure in FIGURES:
        sub_parser = figures.add_parser(figure.name, help=figure.help, description=figure.draw.__doc__)
        figure.add_arguments(sub_parser)
        sub_parser.add_argument(
            "--out", required=True, type=Path, help="picture to write, for example .pdf or .png; replaced"
        )
        sub_parser.set_defaults(run=figure.draw, on_interrupt="; nothing was written.")
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # or it lists every glyph that a PDF embeds


def _add_comparison(parser: argparse.ArgumentParser) -> None:
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


def _add_embedding(parser: argparse.ArgumentParser) -> None:
    _add_checkpoints(parser)
    _add_data(parser)
    parser.add_argument(
        "--features",
        choices=SPACES,
        help="feature space: the projection head's, or what the classifier reads (default: projection where all "
        "networks have the head)",
    )
    parser.add_argument(
        "--method",
        default="tsne",
        choices=tuple(METHODS),
        help="how features are laid out in the plane (default: %(default)s)",
    )
    parser.add_argument(
        "--images",
        nargs="+",
        default=["50"],
        metavar="N|NAME",
        help="how many to take pixels from, evenly spaced over the split, or which (default: 50)",
    )
    parser.add_argument("--pixels", type=int, default=100, help="number of pixels of each class (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the draw of pixels and of t-SNE (default: %(default)s)"
    )


def _add_selection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint",
        required=True,
        type=Path,
        help="run folder, its checkpoint.pt or best.pt, or an exported network",
    )
    _add_data(parser)
    parser.add_argument(
        "--network", choices=NETWORKS, help="whose prediction it is (default: the teacher's if there is one)"
    )
    parser.add_argument("--image", metavar="NAME|ROW", help="which image (default: the middle one of the split)")
    parser.add_argument(
        "--eta", type=float, help="share of the pixels that is selected (default: contrast.eta of the config)"
    )


def _add_checkpoints(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--checkpoint",
        required=True,
        action="append",
        type=Path,
        dest="checkpoints",
        help="run folder, its checkpoint.pt or best.pt, or an exported network; repeatable",
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
        "--network", default="student", choices=NETWORKS, help="which network of each (default: %(default)s)"
    )


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", metavar="SHARDS", help="folder of packed shards (default: the target of the config)")
    parser.add_argument("--split", help="split of the data (default: data.eval_split of the config)")


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
    from pgpc.evaluation.pixel_features import describe
    from pgpc.figures.canvas import check_picture_file, save
    from pgpc.figures.embedding import embedding_figure, to_plane
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


class Figure(NamedTuple):
    """A kind of figures.

    Attributes:
        name: What users call it.
        help: What it shows, in words.
        add_arguments: Function that adds its arguments to a parser; all kinds have ``--out``.
        draw: Function that draws it as the arguments ask; its docstring describes the command.
    """

    name: str
    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    draw: Callable[[argparse.Namespace], None]


FIGURES = (
    Figure("comparison", "predictions of several networks side by side", _add_comparison, comparison),
    Figure("embedding", "the feature space of networks, by class", _add_embedding, embedding),
    Figure("selection", "the pixels that four ways of selection take", _add_selection, selection),
)
"""All kinds of figures."""


def _titles(arguments: argparse.Namespace) -> list[str]:
    """Return the names of the networks in the figure."""
    from pgpc.figures.networks import titles_of

    if not arguments.labels:
        return titles_of(arguments.checkpoints)
    check(
        len(arguments.labels) == len(arguments.checkpoints),
        f"--label must be given once for each of the {len(arguments.checkpoints)} checkpoints, or not at all",
        arguments.labels,
    )
    return list(arguments.labels)


def _shards(arguments: argparse.Namespace, networks: Sequence[LoadedModel]) -> Shards:
    """Open the split that the images are taken from."""
    from pgpc.data.domains import open_shards
    from pgpc.figures.networks import check_data

    data = networks[0].config.data
    split = arguments.split or data.eval_split
    if split is None:
        raise ValueError("The config has no split to draw (data.eval_split=none). Name one with --split.")
    shards = open_shards(arguments.data or data.target, data, split)
    check_data(networks, shards)
    return shards


def _print_result(arguments: argparse.Namespace, lines: Sequence[str]) -> None:
    print("\n".join([*lines, f"-> {arguments.out}"]))
