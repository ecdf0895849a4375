"""``pgpc evaluate``: scores of a trained network on a labeled split."""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pgpc.cli.arguments import PROTOCOL, add_network, add_settings, segmenting_config
from pgpc.cli.progress import Progress
from pgpc.config import Config, flatten
from pgpc.runtime.files import write_file

if TYPE_CHECKING:
    from pgpc.data.shards.reader import Shards
    from pgpc.evaluation.loaded_model import LoadedModel
    from pgpc.evaluation.scores import Metrics


def add(commands: Any) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser(
        "evaluate",
        help="score a trained network on labeled images",
        description=run.__doc__,
        epilog="Several processes share the images: torchrun --nproc-per-node 2 -m pgpc evaluate --checkpoint runs/a",
    )
    add_network(parser)
    parser.add_argument("--data", metavar="SHARDS", help="folder of packed shards (default: the target of the config)")
    parser.add_argument("--split", help="labeled split of the data (default: data.eval_split of the config)")
    add_settings(parser)
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
    """Score a network on a labeled split: IoU per class and their mean, at the native size of the labels."""
    from pgpc.data.domains import open_shards
    from pgpc.data.loader import evaluation_samples
    from pgpc.evaluation.loaded_model import load_model
    from pgpc.evaluation.scoring import evaluate
    from pgpc.runtime import distributed

    _check_files(arguments.out)
    loaded = load_model(arguments.checkpoint, arguments.network)
    config = segmenting_config(loaded.config, arguments.settings)
    where, split = arguments.data or config.data.target, arguments.split or config.data.eval_split
    if split is None:
        raise ValueError("The config has no split to score (data.eval_split=none). Name a labeled one with --split.")
    scored = open_shards(where, config.data, split)
    _check_classes(loaded, scored)
    device = distributed.local_device()
    with distributed.process_group(device):
        rank, world_size = distributed.rank(), distributed.world_size()
        samples: Iterator[Any] = evaluation_samples(scored, config.data, rank=rank, world_size=world_size)
        if rank == 0:
            samples = _with_progress(samples, len(scored), world_size)
        model = loaded.student.segmenter.to(device)
        metrics = evaluate(model, samples, loaded.classes, evaluation=config.evaluation)
    if rank != 0:
        return
    figures = {
        "checkpoint": str(loaded.file),
        "network": arguments.network,
        "iteration": loaded.iteration,
        "data": where,
        "split": split,
        "images": len(scored),
        "protocol": _protocol(config),
        **_figures(metrics),
    }
    for file in arguments.out:
        _write(file, _WRITERS[file.suffix.lower()](figures))
    print(_json(figures) if arguments.json else _table(figures), end="")


def _check_files(files: Iterable[Path]) -> None:
    """Refuse what cannot be written before anything is computed."""
    for file in files:
        if file.suffix.lower() not in _WRITERS or file.is_dir():
            raise ValueError(f"--out must be a file that ends in {' or '.join(_WRITERS)}, but got {str(file)!r}.")


def _write(file: Path, text: str) -> None:
    write_file(file, lambda opened: opened.write(text.encode()))


def _check_classes(loaded: LoadedModel, scored: Shards) -> None:
    if loaded.classes.names != scored.classes.names:
        raise ValueError(
            f"The network and the data must have the same classes in the same order, but {loaded.file} has "
            f"{len(loaded.classes.names)} ({', '.join(loaded.classes.names)}) and {scored.folder} has "
            f"{len(scored.classes.names)} ({', '.join(scored.classes.names)}). Choose data with the network's classes."
        )


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
    return {key.partition(".")[2]: values[key] for key in (*PROTOCOL, *window)}


def _figures(metrics: Metrics) -> dict[str, Any]:
    """Return all scores in percent, None where there is none."""

    def by_class(values: Iterable[Any]) -> dict[str, Any]:
        return {name: _number(value) for name, value in zip(metrics.classes.names, values, strict=True)}

    return {
        **{name: _number(value) for name, value in metrics.means.items()},
        "pixel_accuracy": _number(metrics.pixel_accuracy),
        "IoU": by_class(metrics.iou),
        "accuracy": by_class(metrics.accuracy),
        "pixels": by_class(metrics.pixels.tolist()),
        "confusion": metrics.confusion.tolist(),
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value if isinstance(value, int) else float(value)


def _means(figures: Mapping[str, Any]) -> dict[str, float | None]:
    return {name: value for name, value in figures.items() if name.startswith("mIoU")}


def _json(figures: Mapping[str, Any]) -> str:
    return json.dumps(figures, indent=2, ensure_ascii=False) + "\n"


def _csv(figures: Mapping[str, Any]) -> str:
    """Write one row per class, then one per mean; empty where there is no score."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["class", "IoU", "accuracy", "pixels"])
    for name, iou in figures["IoU"].items():
        writer.writerow([name, iou, figures["accuracy"][name], figures["pixels"][name]])
    for name, mean in _means(figures).items():
        writer.writerow([name, mean, None, None])
    return text.getvalue()


_WRITERS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {".json": _json, ".csv": _csv}
"""What makes the text of a file of scores, by the suffix of its name."""


def _table(figures: Mapping[str, Any]) -> str:
    """Write all but the confusion matrix, for people."""
    iteration = "exported" if figures["iteration"] is None else f"iteration {figures['iteration']}"
    protocol = figures["protocol"]
    width, height = protocol["target_size"]
    fit = {"inside": "resized to fit", "exact": "resized to"}[protocol["fit"]]
    how = "whole" if protocol["window"] is None else "in windows of {window} every {window_stride}".format(**protocol)
    total = sum(figures["pixels"].values())
    rows = [
        (name, _percent(iou), _percent(figures["accuracy"][name]), _percent(100 * pixels / total if total else None))
        for (name, iou), pixels in zip(figures["IoU"].items(), figures["pixels"].values(), strict=True)
    ]
    names = {"mIoU": f"mIoU ({len(rows)})"}
    means = [(names.get(name, name), _percent(mean)) for name, mean in _means(figures).items()]
    column = max(len(row[0]) for row in [*rows, *means])
    lines = [
        f"{figures['network']} of {figures['checkpoint']}, {iteration}",
        f"{figures['data']}, {figures['split']}: {figures['images']} images, {fit} {width} x {height}, {how}",
        "",
        f"{'%':{column}}     IoU  accuracy  share of pixels",
        *(f"{name:{column}}  {iou:>6}  {accuracy:>8}  {share:>15}" for name, iou, accuracy, share in rows),
        "",
        *(f"{name:{column}}  {mean:>6}" for name, mean in means),
        f"{'all pixels':{column}}  {'':6}  {_percent(figures['pixel_accuracy']):>8}",
    ]
    if None in figures["IoU"].values():
        lines.append("A class that is neither labeled nor predicted has no IoU and is left out of the means.")
    return "\n".join(lines) + "\n"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
