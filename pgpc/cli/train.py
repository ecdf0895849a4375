"""``pgpc train``."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

from pgpc.cli.arguments import add_config, config_of
from pgpc.config import Config, from_text
from pgpc.runtime.launch import is_first

SUMMARY = "train one network"
"""What `pgpc --help` says of the command."""

log = logging.getLogger(__name__)


def add(commands: Any) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser(
        "train",
        description=run.__doc__,
        epilog="Several processes: torchrun --nproc-per-node 2 -m pgpc train --out runs/a; on Slurm srun pgpc train "
        "--out runs/a, whose tasks are the processes",
    )
    add_config(parser)
    parser.add_argument(
        "--out", required=True, help="folder for checkpoint, config and TensorBoard, or its address on S3"
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="resume the run in --out from its last checkpoint; with --set training.iterations=MORE make it longer, "
        "which takes a learning rate that does not depend on the length (optimizer.power=0)",
    )
    parser.add_argument(
        "--accept-changed-data",
        action="store_true",
        help="with --resume: go on although the contents of the data are others than before, which every report then "
        "says; other classes are refused all the same",
    )
    parser.set_defaults(run=run, on_interrupt="; add --resume to resume from the last checkpoint.")


def run(arguments: argparse.Namespace) -> None:
    """Train one network: in this process, or in all that torchrun or Slurm's srun start."""
    from pgpc.data.shards.manifest import MANIFEST
    from pgpc.evaluation.scores import over_classes
    from pgpc.models.checkpoint import BEST, CHECKPOINT, PREVIOUS
    from pgpc.runtime import storage
    from pgpc.runtime.locks import PATIENCE
    from pgpc.training import FRESH, Resume, train
    from pgpc.training.tracking import CURVES

    out = arguments.out
    if arguments.accept_changed_data and not arguments.resume:
        raise ValueError("--accept-changed-data goes with --resume, since a new run has no data before. Leave it out.")
    there = storage.sizes(out).keys() if storage.is_url(out) else {path.name for path in Path(out).glob("*.*")}
    if not arguments.resume and there & {CHECKPOINT, PREVIOUS}:
        raise ValueError(f"{out} holds a checkpoint already. Add --resume to resume from it, or choose another --out.")
    if MANIFEST in there:
        raise ValueError(
            f"A run needs a folder of its own, but {out} holds shards ({MANIFEST}), which could not be packed anew "
            "with a run among them. Choose another --out."
        )
    if BEST in there and not there & {CHECKPOINT, PREVIOUS}:
        raise ValueError(
            f"{out} holds a {BEST} of a run, but no checkpoint that it could be resumed from. Move it away, or choose "
            "another --out."
        )
    if not arguments.resume and any(name.startswith(CURVES) for name in there) and is_first():
        log.warning(
            "%s has TensorBoard curves of an earlier run, which has left no checkpoint. TensorBoard shows those of the "
            "new run in their place. Choose another --out to see both.",
            out,
        )
    if arguments.resume and not there & {CHECKPOINT, PREVIOUS}:  # before data are generated or fetched
        raise ValueError(f"No {CHECKPOINT} in {out}. Leave --resume out to begin there, or name the folder of a run.")
    begin = Resume(out, accept_changed_data=arguments.accept_changed_data) if arguments.resume else FRESH
    # A job that is put back into the queue may start while the one before still ends.
    config = config_of(arguments, resumed=_config_of_run(out) if arguments.resume else None)
    result = train(config, out=out, begin=begin, patience=PATIENCE if arguments.resume else 0.0)
    if is_first():
        metrics = result.metrics
        score = f"mIoU {metrics['mIoU']:.2f} {over_classes(metrics)}  " if "mIoU" in metrics else "trained  "
        log.info("%s->  %s", score, result.out)
        if result.best is not None:
            name, value, iteration = result.best
            log.info(
                "best of all evaluations: %s %.4g at iteration %d  ->  %s",
                name,
                value,
                iteration,
                storage.join(result.out, BEST),
            )


def _config_of_run(out: str) -> Config | None:
    """Return the config in the checkpoint of a run; None where there is none that can be read, which is said later."""
    from pgpc.models.checkpoint import fetched, read_config_text

    try:
        with fetched(out) as folder:
            return from_text(read_config_text(folder), out)
    except (FileNotFoundError, ValueError):
        return None
