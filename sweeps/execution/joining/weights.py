"""Weights that configs name on the hub: fetched by each node, once, before the first trial.

Without that the workers of the first trials would fetch them, each node's while the others wait, and a node without a
way out would fail its trials one after the other. A node that joins later fetches them when its first trial starts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pgpc.models.config import ModelConfig, is_weights_name

FETCH_SECONDS = 900.0
"""Seconds that the nodes have to fetch the weights, of which the largest take a third of a gigabyte."""


def fetch_everywhere(models: Sequence[ModelConfig]) -> None:
    """Have every node of the cluster that trains fetch the weights that it lacks.

    Args:
        models: The configurations of the networks that are trained.

    Raises:
        ValueError: A node cannot have them; the message says which, and why.
    """
    named = [model for model in models if model.pretrained is not None and is_weights_name(model.pretrained)]
    nodes = [node for node in ray.nodes() if node["Alive"] and _trains(node)]
    if not named or len(nodes) < 2:  # this machine has fetched them already
        return
    fetch = ray.remote(fetch_here)
    asked = {}
    for node in nodes:
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        task = fetch.options(num_cpus=0, max_retries=0, scheduling_strategy=there)
        asked[task.remote(named)] = node["NodeManagerAddress"]
    done, _ = ray.wait(list(asked), num_returns=len(asked), timeout=FETCH_SECONDS)
    problems = {}
    for answer in done:
        try:
            problem = ray.get(answer)
        except ray.exceptions.RayError:  # a node that has gone meanwhile
            continue
        if problem:
            problems[asked[answer]] = problem
    refuse(problems)


def fetch_here(models: Sequence[ModelConfig]) -> str:
    """Fetch the weights that this node lacks, without a bar that nobody sees; return what is wrong, or ""."""
    from huggingface_hub.utils.tqdm import disable_progress_bars

    from pgpc.models.pretrained import weights_file

    disable_progress_bars()
    try:
        for model in models:
            weights_file(model)
    except (ValueError, OSError) as error:
        return str(error)
    return ""


def refuse(problems: Mapping[str, str]) -> None:
    """Refuse a cluster with nodes that cannot have the weights.

    Args:
        problems: Address of a node -> what is wrong there.

    Raises:
        ValueError: There are such nodes.
    """
    for problem in dict.fromkeys(problems.values()):
        where = ", ".join(node for node, other in problems.items() if other == problem)
        raise ValueError(f"Not all nodes of the cluster can have the encoder's weights. On {where}: {problem}")


def _trains(node: Mapping[str, Any]) -> bool:
    return any(node["Resources"].get(kind) for kind in ("CPU", "GPU"))
