"""``pgpc evaluate``."""

from __future__ import annotations

import argparse
import json
from typing import Any

from pgpc.cli.arguments import add_network


def add(commands: Any) -> None:
    """Add the command's arguments."""
    parser = commands.add_parser("evaluate", help="score a checkpoint", description=run.__doc__)
    add_network(parser)
    parser.set_defaults(run=run, on_interrupt=".")


def run(arguments: argparse.Namespace) -> None:
    """Score a network on the evaluation split of its target; prints JSON."""
    from pgpc.data.domains import open_shards
    from pgpc.data.loader import evaluation_samples
    from pgpc.distributed import local_device
    from pgpc.training import evaluate
    from pgpc.training.trained import load_trained

    trained = load_trained(arguments.checkpoint, arguments.network)
    config = trained.config
    scored = open_shards(config.data.target, config.data, config.data.eval_split)
    samples = evaluation_samples(scored, config.data, rank=0, world_size=1)
    model = trained.student.segmenter.to(local_device())
    metrics = evaluate(model, samples, trained.classes, evaluation=config.evaluation)
    print(json.dumps({"iteration": trained.iteration, **metrics.as_dict()}, indent=2))
