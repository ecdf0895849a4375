"""``pgpc evaluate``: scores of a trained network on a labeled split, and criteria that need no labels."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgpc.cli.arguments import PROTOCOL, add_network, add_settings, segmenting_config
from pgpc.cli.evaluate_criteria import check_classes, criteria_of, learned_of, open_measured
from pgpc.cli.progress import Progress
from pgpc.cli.score_text import WRITERS, as_json, as_text
from pgpc.config import Config, flatten, parse_settings
from pgpc.evaluation.names import REPORT_PREFIX
from pgpc.runtime.files import write_file

if TYPE_CHECKING:
    from pgpc.data.shards.reader import Shards
    from pgpc.evaluation.calibration import Calibration
    from pgpc.evaluation.loaded_model import LoadedModel
    from pgpc.evaluation.scores import Metrics

SUMMARY = "score a trained network on labeled images"
"""What `pgpc --help` says of the command."""


def add(commands: Any) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser(
        "evaluate",
        description=run.__doc__,
        epilog="The split that a run was scored on is scored as it was there: where a share of it is kept out of "
        "choices (evaluation.report_share), mIoU and the IoU of classes are over the other images, and report/mIoU is "
        "over that share; --set evaluation.report_share=0 scores all as one. Of other data all images are scored. "
        "Several processes share the images: torchrun --nproc-per-node 2 -m pgpc evaluate --checkpoint runs/a",
    )
    add_network(parser)
    parser.add_argument("--data", metavar="SHARDS", help="folder of packed shards (default: the target of the config)")
    parser.add_argument("--split", help="labeled split of the data (default: data.eval_split of the config)")
    add_settings(parser)
    parser.add_argument(
        "--criteria",
        action="store_true",
        help="also measure the criteria for choosing without labels, on images of the train split of the data; needs "
        "no labeled split",
    )
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="FILE",
        help="also measure how far the network's confidence is from the share of pixels that are right (ECE), and draw "
        "both to this file (.pdf, .png, .svg ..)",
    )
    parser.add_argument("--json", action="store_true", help="print all scores as JSON in place of the table")
    parser.add_argument(
        "--out",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="also write all scores to a .json file, or those per class to a .csv file; repeatable",
    )
    parser.set_defaults(run=run, on_interrupt="; nothing was written.")


def run(arguments: argparse.Namespace) -> None:
    """Score a network on a labeled split: IoU per class and their mean, at the native size of the labels.

    With --criteria also measure how good it seems without labels; where the config has no split to score, only that.
    """
    from pgpc.data.choices import split_report
    from pgpc.evaluation.calibration import Calibration
    from pgpc.evaluation.loaded_model import load_model
    from pgpc.figures.canvas import save
    from pgpc.figures.reliability import draw_reliability
    from pgpc.runtime import distributed
    from pgpc.runtime.device import VARIABLE

    _check_files(arguments)
    loaded = load_model(arguments.checkpoint, arguments.network)
    config = segmenting_config(loaded.config, arguments.settings)
    where = arguments.data or config.data.target
    scored = _open_scored(arguments, config, where)
    share, reported = 0.0, None
    if scored is not None:
        check_classes(loaded, scored)
        _say_learned(loaded.config, scored)
        share = _report_share(arguments, config, scored)
        scored, reported = split_report(scored, share)
    measured = open_measured(loaded, config, where) if arguments.criteria else None
    device = distributed.local_device()
    if measured is not None and device.type == "mps":
        raise ValueError(f"--criteria needs a device with double precision, but got 'mps'. Set {VARIABLE}=cpu.")
    loaded.student.segmenter.to(device)
    bins = None if arguments.calibration is None else Calibration("cpu" if device.type == "mps" else device)
    figures = {
        "checkpoint": str(loaded.file),
        "network": arguments.network,
        "iteration": loaded.iteration,
        "data": where,
        "protocol": _protocol(config),
    }
    with distributed.process_group(device):
        if scored is not None:
            figures |= {"split": scored.split, "images": len(scored), "report_share": share}
            figures |= _figures(_score(loaded, config, scored, bins))
        if reported is not None:
            figures |= {"report_images": len(reported), **_report_figures(_score(loaded, config, reported))}
        if measured is not None:
            figures |= criteria_of(arguments, loaded, config, measured)
        if distributed.rank() != 0:
            return
    if bins is not None:
        figures["calibration"] = bins.as_dict()
        save(draw_reliability(bins, f"{arguments.network} of {loaded.file}"), arguments.calibration)
    for file in arguments.out:
        _write(file, WRITERS[file.suffix.lower()](figures))
    print(as_json(figures) if arguments.json else as_text(figures), end="")


def _open_scored(arguments: argparse.Namespace, config: Config, where: str) -> Shards | None:
    """Open the labeled split; None where only criteria are to be measured, since there is none."""
    from pgpc.data.domains import open_shards
    from pgpc.data.label_coverage import Coverage
    from pgpc.data.shards.manifest import ShardError
    from pgpc.runtime import distributed

    split, scored = arguments.split or config.data.eval_split, None
    if split is None and not arguments.criteria:
        raise ValueError(
            "The config has no split to score (data.eval_split=none). Name a labeled one with --split, or measure the "
            "network without labels with --criteria."
        )
    try:
        if split is not None:
            scored = open_shards(where, config.data, split)
            scored.check_labeled()
            Coverage.of_shards("Scored images", scored).check_labeled()
    except ShardError as error:
        if arguments.split or not arguments.criteria:
            raise
        scored = None
        if distributed.rank() == 0:
            print(f"There are criteria only, no scores: {error}", file=sys.stderr)
    if scored is None and arguments.calibration is not None:
        raise ValueError("--calibration needs a labeled split, but none is scored. Name one with --split.")
    if scored is None and any(file.suffix.lower() == ".csv" for file in arguments.out):
        raise ValueError(
            "--out must be a .json file where no split is scored, since a .csv file has scores per class only, but got "
            f"{', '.join(map(str, arguments.out))!r}. Name a labeled split with --split."
        )
    return scored


def _say_learned(config: Config, scored: Shards) -> None:
    """Say that images are scored whose labels the run was trained on."""
    from pgpc.runtime import distributed

    learned = learned_of(config, scored)
    if learned and distributed.rank() == 0:
        print(
            f"The network was trained on the labels of {len(learned)} of these {len(scored)} images "
            f"(data.target_labels), {learned[0]!r} first: their score is that of images that were learned by heart.",
            file=sys.stderr,
        )


def _report_share(arguments: argparse.Namespace, config: Config, scored: Shards) -> float:
    """Return the share of the images that only give ``report/mIoU``.

    It is that of the run for the split that the run was scored on. No choice has seen others, which are scored as one
    unless ``--set`` asks for a share.
    """
    from pgpc.runtime import distributed

    share, data = config.evaluation.report_share, config.data
    is_the_runs = _place(arguments.data or data.target) == _place(data.target) and scored.split == data.eval_split
    if share == 0 or is_the_runs or "evaluation.report_share" in parse_settings(arguments.settings):
        return share
    if distributed.rank() == 0:
        print(
            f"All images are scored as one: the evaluation.report_share={share:g} of the run is of the split that it "
            f"was scored on, {data.eval_split} of {data.target}. --set evaluation.report_share={share:g} parts these, "
            "too.",
            file=sys.stderr,
        )
    return 0.0


def _place(where: str) -> str:
    """Return data's folder or address, the same however it is written."""
    from pgpc.runtime.storage import is_url

    return (
        where.rstrip("/") if is_url(where) or where.startswith("streets:") else str(Path(where).expanduser().resolve())
    )


def _score(loaded: LoadedModel, config: Config, scored: Shards, calibration: Calibration | None = None) -> Metrics:
    """Score the network on the images of all processes."""
    from pgpc.data.loader import evaluation_samples
    from pgpc.evaluation.scoring import evaluate
    from pgpc.runtime import distributed

    rank, world_size = distributed.rank(), distributed.world_size()
    samples: Iterator[Any] = evaluation_samples(scored, config.data, rank=rank, world_size=world_size)
    if rank == 0:
        samples = _with_progress(samples, len(scored), world_size)
    network = loaded.student.segmenter
    with loaded.in_precision():
        return evaluate(network, samples, loaded.classes, evaluation=config.evaluation, calibration=calibration)


def _check_files(arguments: argparse.Namespace) -> None:
    """Refuse what cannot be written before anything is computed."""
    from pgpc.figures.canvas import check_picture_file

    if arguments.calibration is not None:
        check_picture_file(arguments.calibration, "--calibration")
    for file in arguments.out:
        if file.suffix.lower() not in WRITERS or file.is_dir():
            raise ValueError(f"--out must be a file that ends in {' or '.join(WRITERS)}, but got {str(file)!r}.")


def _write(file: Path, text: str) -> None:
    write_file(file, lambda opened: opened.write(text.encode()))


def _with_progress(samples: Iterable[Any], total: int, world_size: int) -> Iterator[Any]:
    """Show the progress of the samples of process 0; the other processes are as far as it is."""
    progress = Progress("scored")
    for done, sample in enumerate(samples, start=1):
        yield sample
        progress(min(done * world_size, total), total)


def _protocol(config: Config) -> dict[str, Any]:
    """Return the keys and values that say how images were segmented."""
    values = flatten(config)
    window = ("evaluation.window", "evaluation.window_stride")[: 1 if config.evaluation.window is None else 2]
    augmented = ("evaluation.scales", "evaluation.flip") if config.evaluation.augments else ()
    return {key.partition(".")[2]: values[key] for key in (*PROTOCOL, *window, *augmented)}


def _figures(metrics: Metrics) -> dict[str, Any]:
    """Return all scores in percent, None where there is none."""

    def by_class(values: Iterable[Any]) -> dict[str, Any]:
        return {name: _number(value) for name, value in zip(metrics.classes.names, values, strict=True)}

    return {
        **{name: _number(value) for name, value in metrics.means.items()},
        **{name: _number(value) for name, value in metrics.overall.items()},
        "IoU": by_class(metrics.iou),
        "precision": by_class(metrics.precision),
        "recall": by_class(metrics.recall),
        "F1": by_class(metrics.f1),
        "accuracy": by_class(metrics.recall),  # as earlier versions call it
        "pixels": by_class(metrics.pixels.tolist()),
        "confusion": metrics.confusion.tolist(),
    }


def _report_figures(metrics: Metrics) -> dict[str, Any]:
    """Return the means over images that are kept out of choices, by the names that a run reports them under."""
    return {f"{REPORT_PREFIX}{name}": _number(value) for name, value in metrics.means.items()}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value if isinstance(value, int) else float(value)
