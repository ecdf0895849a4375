"""Ray Train's trainer without what every slot would pay for and never use.

Ray's own TorchTrainer imports torch where the trainer is built and where it is controlled, which takes each of these
two processes seconds; it starts a process for its controller, and one for the data sets of Ray Data. Here the
controller runs in the process that calls `fit`, which is one of Tune's, and nobody imports torch but the trainings.
What would give back the workers' places where that process is killed is a process of its own, too, and needs Ray's
dashboard; here the driver does it, see `sweeps.execution.slots.orphans`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.train.backend import Backend, BackendConfig

from sweeps.common.private_ray import DataParallelTrainer, ExecutionGroup, FailureConfig, TrainController
from sweeps.execution.recovery import RecoveryPolicy

_NOT_NEEDED = ("DatasetsCallback", "PlacementGroupCleanerCallback")
_LISTENERS: dict[str, Callable[[ExecutionGroup], None]] = {}  # by the names of runs


class Trainer(DataParallelTrainer):
    """Runs a function on workers as TorchTrainer does, without a process group of torch. It takes no data sets.

    Args:
        args: As of `DataParallelTrainer`.
        on_workers: Is given the workers each time that a group of them was started, before they run the function.
        directory: Returns the directory of the run that is being trained, see `RecoveryPolicy`.
        kwargs: As of `DataParallelTrainer`; the run config has a name.
    """

    def __init__(
        self,
        *args: Any,
        on_workers: Callable[[ExecutionGroup], None],
        directory: Callable[[], Path | None],
        **kwargs: Any,
    ) -> None:
        name = str(kwargs["run_config"].name)
        super().__init__(*args, backend_config=_Announced(name), **kwargs)
        self._name, self._on_workers, self._directory = name, on_workers, directory

    def fit(self) -> Any:
        """Run the function until it has returned on all workers.

        Raises:
            TrainingFailedError: It failed, or workers were lost, more often than the run config allows.
        """
        _LISTENERS[self._name] = self._on_workers
        try:
            return super().fit()
        finally:
            del _LISTENERS[self._name]

    def _create_default_callbacks(self) -> list[Any]:
        # By name: where a later Ray calls it otherwise, the process is started, and that is all.
        callbacks = super()._create_default_callbacks()
        return [callback for callback in callbacks if type(callback).__name__ not in _NOT_NEEDED]

    def _initialize_and_run_controller(self, **arguments: Any) -> Any:
        limits = self.run_config.failure_config
        assert isinstance(limits, FailureConfig), f"Train V2 has limits of its own kind, but got {limits!r}"
        arguments["failure_policy"] = RecoveryPolicy(limits, self._directory)
        controller = TrainController(**arguments)
        asyncio.run(controller.run())
        return controller.get_result()


class _Announced(BackendConfig):
    """Says who is told of new workers; by name, as it travels to the workers, too.

    Args:
        name: The name of the run.
    """

    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def backend_cls(self) -> type[Backend]:
        """The backend, for which Train asks."""
        return _Announcing


class _Announcing(Backend):
    share_cuda_visible_devices = True  # workers of one machine see the same GPUs, by their local ranks

    def on_start(  # type: ignore[override]  # of several kinds of groups Train V2 gives this one
        self, worker_group: ExecutionGroup, backend_config: BackendConfig
    ) -> None:
        """Hand the workers on; called by Train when they are there, and before they run the function."""
        assert isinstance(backend_config, _Announced), f"the backend is given its own config, but got {backend_config}"
        _LISTENERS[backend_config.name](worker_group)
