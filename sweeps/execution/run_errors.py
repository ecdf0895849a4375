"""Errors of a run: which of them would only come again, and what is said of them."""

from __future__ import annotations

from typing import Any

import ray
import ray.train

from sweeps.common import faults
from sweeps.common.private_ray import ControllerError, WorkerGroupError, WorkerGroupStartupFailedError, user_error


class FailFast(ray.train.UserCallback):
    """Ends a Train run at an error that would only repeat itself; lost processes are left to Train's own retries."""

    def after_exception(self, run_context: Any, worker_exceptions: dict[int, Exception]) -> None:
        """Raise an error of a worker that would come again, which ends the run; called by Train."""
        for _, error in sorted(worker_exceptions.items()):
            cause = user_error(error)
            # A worker that was killed for its memory is no cause of its own, and is started again.
            if not isinstance(cause, ray.exceptions.RayError) and _would_come_again(cause):
                # Raising here makes it an error of the controller, which Train does not retry.
                raise error


def _would_come_again(error: BaseException) -> bool:
    from pgpc.training import NonFiniteLoss  # here, since it loads torch

    text = _text(error)
    return isinstance(error, (NonFiniteLoss, ValueError)) or faults.out_of_memory(text) or faults.cannot_write(text)


def describe(error: BaseException) -> str:
    """Return one line that names the first cause of `error`: what a worker raised, where one did."""
    if isinstance(error, WorkerGroupError):
        causes = [user_error(e) for _, e in sorted(error.worker_failures.items())]
        # When one process is lost, the others fail in the middle of a collective: name the one that was lost.
        lost = [c for c in causes if isinstance(c, ray.exceptions.RayError)]
        return describe((lost or causes)[0]) if causes else str(error)
    if isinstance(error, ControllerError):
        return describe(lost_at_start(error) or user_error(error.controller_failure))
    if isinstance(error, ray.exceptions.RayTaskError) and error.cause is not None:
        return describe(error.cause)
    text = _text(error)
    if isinstance(error, ray.exceptions.RayError):
        first = text.partition("\n")[0]
        return f"a process was lost ({first}). If its machine was out of memory, {faults.LESS_MEMORY}"
    return f"{text}. To need less, {faults.LESS_MEMORY}" if faults.out_of_memory(text) else text


def lost_at_start(error: BaseException) -> ray.exceptions.RayActorError | None:
    """Return the loss of a worker that was being started, to Train an error of its own; None for other errors."""
    found: BaseException | None = error.controller_failure if isinstance(error, ControllerError) else None
    if isinstance(found, WorkerGroupStartupFailedError):
        found = found.__cause__
    return found if isinstance(found, ray.exceptions.RayActorError) else None


def _text(error: BaseException) -> str:
    text = str(error).strip()
    if type(error) is RuntimeError and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
