"""``pgpc diagnose``: what the contrast of a run works with."""

from __future__ import annotations

import argparse
import contextlib
import json
from pathlib import Path
from typing import Any

from pgpc.cli.diagnosis_text import as_text
from pgpc.cli.progress import Progress
from pgpc.runtime.checks import check
from pgpc.runtime.storage import is_url

SUMMARY = "say what the contrast of a run works with: classes, anchors, memory bank, gradients"
"""What `pgpc --help` says of the command."""


def add(commands: Any) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser(
        "diagnose",
        description=run.__doc__,
        epilog="Labels of target images in training are read here alone, to judge by: no training and no choice sees "
        "what comes out of it.",
    )
    parser.add_argument("--checkpoint", required=True, help="run folder, its address on S3, or its checkpoint.pt")
    parser.add_argument(
        "--source", metavar="SHARDS", help="folder of packed shards (default: the source of the config)"
    )
    parser.add_argument("--data", metavar="SHARDS", help="folder of packed shards (default: the target of the config)")
    parser.add_argument(
        "--steps", type=int, default=20, metavar="N", help="iterations that are looked at (default: %(default)s)"
    )
    parser.add_argument(
        "--least-share",
        type=float,
        default=0.05,
        metavar="PERCENT",
        help="share of the target's pixels from which on a class counts as predicted (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print everything as JSON in place of the text")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="also draw it to this file (.pdf, .png, .svg ..)")
    parser.set_defaults(run=run, on_interrupt="; nothing was written.")


def run(arguments: argparse.Namespace) -> None:
    """Look at some iterations of a run as training sees them, and say what its contrast works with.

    That is: the classes that the teacher predicts, the weight q of its pseudo-labels, the anchors of each class and how
    many are right, how full and old the memory bank is, and what part the contrast has in the encoder's gradient.
    These are the next iterations, or the last ones of a run that has ended; none is trained.
    """
    from pgpc.diagnosis.diagnose import diagnose, load_run
    from pgpc.figures.canvas import check_picture_file, save
    from pgpc.figures.diagnosis import diagnosis_figure
    from pgpc.models.checkpoint import fetched

    check(arguments.steps > 0, "--steps must be at least 1", arguments.steps)
    check(0 <= arguments.least_share <= 100, "--least-share must lie in [0, 100]", arguments.least_share)
    if arguments.picture is not None:
        check_picture_file(arguments.picture, "--picture")
    places = {"data.source": arguments.source, "data.target": arguments.data}
    changes = {key: value for key, value in places.items() if value is not None}
    where = arguments.checkpoint
    with fetched(where) if is_url(where) else contextlib.nullcontext(Path(where)) as path:
        state, left_out = load_run(path, changes)
    found = diagnose(
        state,
        num_steps=arguments.steps,
        least_share=arguments.least_share,
        left_out=left_out,
        on_progress=Progress("looked at"),
    )
    if arguments.picture is not None:
        save(diagnosis_figure(found), arguments.picture)
    if arguments.json:
        print(json.dumps({"checkpoint": where, **found.to_json()}, indent=2, ensure_ascii=False))
    else:
        print(as_text(where, found), end="")
