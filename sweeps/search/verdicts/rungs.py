"""The rungs, the iterations at which trials are compared: evaluations, of which none is the last one of a trial."""

from __future__ import annotations

from collections.abc import Iterable

from pgpc.config import Config


def halving_rungs(config: Config, first: int | None, factor: int) -> list[int]:
    """Return the rungs of successive halving.

    What a trial has had by a rung are its iterations with contrast, since trials of one seed are alike until then. The
    first rung gives them ``1 / factor ** 2`` of all that there are, and each later one `factor` times as many. A rung
    that is no evaluation is moved to the next one.

    Args:
        config: The config of the trials.
        first: The first rung, if the user says so, in iterations from the start. Where it lies before the contrast,
            all iterations count in place of those with contrast.
        factor: The reduction factor, at least 2.
    """
    start, total = _start(config), config.training.iterations
    if first is None:
        first = start + max(1, (total - start) // factor**2)
    origin = start if first > start else 0
    wanted, step = [], first - origin
    while origin + step < total:
        wanted.append(origin + step)
        step *= factor
    return _at_evaluations(config, wanted)


def warm_rungs(config: Config, first: int | None) -> list[int]:
    """Return every evaluation from the first rung on, which is after a quarter of the iterations with contrast.

    Args:
        config: The config of the trials.
        first: The first rung, if the user says so.
    """
    start, total, interval = _start(config), config.training.iterations, config.training.eval_interval
    if first is None:
        first = start + max(1, (total - start) // 4)
    return _at_evaluations(config, range(first, total, interval))


def population_rungs(config: Config) -> list[int]:
    """Return the ends of the fifths of the iterations with contrast but the last, each at the nearest evaluation."""
    start, total, interval = _start(config), config.training.iterations, config.training.eval_interval
    nearest = {interval * round((start + k * (total - start) / 5) / interval) for k in range(1, 5)}
    return sorted(rung for rung in nearest if start < rung < total)


def last_rung(config: Config) -> int:
    """Return the last evaluation before the one at the end, which is the last rung that there can be; 0 for none."""
    return (config.training.iterations - 1) // config.training.eval_interval * config.training.eval_interval


def _start(config: Config) -> int:
    return min(config.contrast.start, config.training.iterations)


def _at_evaluations(config: Config, iterations: Iterable[int]) -> list[int]:
    """Return the first evaluation at or after each iteration, in order and each once, without the one at the end."""
    interval = config.training.eval_interval
    found = {-(-iteration // interval) * interval for iteration in iterations}
    return sorted(rung for rung in found if rung < config.training.iterations)
