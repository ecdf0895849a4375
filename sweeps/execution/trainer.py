"""Ray Train's trainer without what every trial would pay for and never use.

Ray's own TorchTrainer imports torch where the trainer is built and where it is controlled, which takes each of these
two processes seconds; and it starts a third one for the data sets of Ray Data. Here only the workers import torch.
"""

from __future__ import annotations

import os
import socket
from datetime import timedelta
from pathlib import Path
from typing import Any

import ray
import ray.train
from ray.train.backend import Backend, BackendConfig

from sweeps.common.private_ray import DataParallelTrainer, ExecutionGroup, FailureConfig
from sweeps.execution.recovery import RecoveryPolicy

TIMEOUT = timedelta(minutes=30)
"""How long the others may wait for one process in a collective; the same as TorchTrainer's."""


class Trainer(DataParallelTrainer):
    """Does what TorchTrainer does: the workers find one torch process group, of all of them. It takes no data sets."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, backend_config=_TorchGroup(), **kwargs)

    def _create_default_callbacks(self) -> list[Any]:
        # By name: where a later Ray calls it otherwise, the process is started, and that is all.
        callbacks = super()._create_default_callbacks()
        return [callback for callback in callbacks if type(callback).__name__ != "DatasetsCallback"]

    def _initialize_and_run_controller(self, **arguments: Any) -> Any:
        # The same holds for a later Ray without this method: Train then counts as it does by itself.
        run = self.run_config
        directory = Path(str(run.storage_path), str(run.name))
        limits = run.failure_config
        assert isinstance(limits, FailureConfig), f"Train V2 has limits of its own kind, but got {limits!r}"
        arguments["failure_policy"] = RecoveryPolicy(limits, directory)
        return super()._initialize_and_run_controller(**arguments)


class _TorchGroup(BackendConfig):
    @property
    def backend_cls(self) -> type[Backend]:
        """The backend, for which Train asks."""
        return _Joining


class _Joining(Backend):
    share_cuda_visible_devices = True  # workers of one machine see the same GPUs, by their local ranks

    def on_start(  # type: ignore[override]  # of several kinds of groups Train V2 gives this one
        self, worker_group: ExecutionGroup, backend_config: BackendConfig
    ) -> None:
        """Join the workers to one group; called by Train when they are there, and before they train."""
        backend = "nccl" if worker_group.get_resources_per_worker().get("GPU", 0) > 0 else "gloo"
        address, port = worker_group.execute_single(0, _free_address)
        joined: list[Any] = worker_group.execute_async(_join, address, port, backend)
        ray.get(joined)


def _free_address() -> tuple[str, int]:
    """Return where the first worker can be reached by the others."""
    address = ray.util.get_node_ip_address()
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as free:
        free.bind(("", 0))
        return address, free.getsockname()[1]


def _join(address: str, port: int, backend: str) -> None:
    """Make this worker one of the group, with the variables of the environment that torchrun sets."""
    import torch.distributed as dist

    context = ray.train.get_context()
    os.environ.update(
        MASTER_ADDR=address,
        MASTER_PORT=str(port),
        RANK=str(context.get_world_rank()),
        WORLD_SIZE=str(context.get_world_size()),
        LOCAL_RANK=str(context.get_local_rank()),
        LOCAL_WORLD_SIZE=str(context.get_local_world_size()),
        NODE_RANK=str(context.get_node_rank()),
    )
    dist.init_process_group(backend, timeout=TIMEOUT)
