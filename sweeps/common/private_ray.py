"""Every private name of Ray that a sweep uses, each with its reason. No other module of the sweep imports one.

They were read from Ray `VERSION`. Another Ray may have changed any of them without notice, so importing this module
under another one fails with a sentence that says so, before a trial meets the difference.
"""

from __future__ import annotations

import ray
from ray.util.placement_group import PlacementGroup

VERSION = "2.60"
"""Release of Ray that these names were read from; patches of it may differ."""


def check_version(installed: str) -> None:
    """Refuse another release of Ray than `VERSION`.

    Args:
        installed: The version that is installed, such as "2.60.0".

    Raises:
        ImportError: It is another release.
    """
    if installed.split(".")[:2] != VERSION.split("."):
        raise ImportError(
            f"The sweep uses parts of Ray that are private to release {VERSION}, but Ray {installed} is installed. Run "
            f"`pip install 'ray[default,train,tune]=={VERSION}.0'`, on all nodes of a cluster.",
            name="ray",
        )


check_version(ray.__version__)

# The parts are imported only after the check, since under another Ray they may be missing.
# The resource that the head of a cluster has and no other node: it keeps Tune's processes there.
from ray._common.constants import HEAD_NODE_RESOURCE_NAME  # noqa: E402

# Writes HOST:PORT as Ray does, also for IPv6; the address must be known before the cluster is started.
from ray._common.network_utils import build_address  # type: ignore[attr-defined]  # exported, if not in words  # noqa: E402

# Its `stdout_deduplicator` is the only way to keep a message of Ray's own off the terminal.
from ray._private import ray_logging  # noqa: E402

# Where Ray keeps the token of its clusters, which it makes with whatever rights the process gives to new files.
from ray._private.authentication.authentication_token_setup import (  # noqa: E402
    _get_default_token_path as default_token_file,
)

# A connection to the head as Ray itself makes it, with its options, encryption and token: the public `ray.init` takes
# minutes to give up where something listens that is no Ray.
from ray._private.gcs_utils import create_gcs_channel  # noqa: E402

# What "auto" stands for; the public `ray.init` says it only once it has connected.
from ray._private.services import get_ray_address_from_environment  # noqa: E402

# Which nodes an autoscaler can start, and which placement groups have lost the actor that made them; the public API
# tells neither.
from ray._private.state import state as cluster_state  # noqa: E402
from ray.core.generated.gcs_pb2 import PlacementGroupTableData  # type: ignore[attr-defined]  # made when imported  # noqa: E402

# How Train says that a worker was lost while it was started, which it would repeat without end; see
# sweeps.execution.recovery.
from ray.train.v2._internal.exceptions import WorkerGroupStartupFailedError  # noqa: E402

# Train's own process of a run, which can as well be an object in the process that starts the run; see
# sweeps.execution.trainer.
from ray.train.v2._internal.execution.controller import TrainController  # noqa: E402

# Train's decision whether to start workers again. The public FailureConfig counts over a whole run, see
# sweeps.execution.recovery.
from ray.train.v2._internal.execution.failure_handling import (  # noqa: E402
    DefaultFailurePolicy,
    FailureDecision,
    FailurePolicy,
)

# The workers as Train gives them to a backend; public as the argument of `Backend.on_start`, but not by name.
from ray.train.v2._internal.execution.worker_group import ExecutionGroup  # noqa: E402

# These are the classes behind the public names of ray.train, which to type checkers are those of an older Train.
from ray.train.v2.api.config import CheckpointConfig, FailureConfig, RunConfig  # noqa: E402

# Trains without torch in the process that starts it, which TorchTrainer does not. Our subclass overrides two private
# methods, `_create_default_callbacks` and `_initialize_and_run_controller`; see sweeps.execution.trainer.
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer  # noqa: E402

# PreemptionError is what the loss of a machine is to Train, to count other losses as one; the others are as above.
from ray.train.v2.api.exceptions import (  # noqa: E402
    ControllerError,
    PreemptionError,
    TrainingFailedError,
    WorkerGroupError,
)
from ray.train.v2.api.preemption import PreemptionInfo  # noqa: E402

CHECK_ALIVE = "/ray.rpc.NodeInfoGcsService/CheckAlive"
"""The question to a head whether it is there, as gRPC names it."""

__all__ = [
    "CHECK_ALIVE",
    "HEAD_NODE_RESOURCE_NAME",
    "CheckpointConfig",
    "ControllerError",
    "DataParallelTrainer",
    "DefaultFailurePolicy",
    "ExecutionGroup",
    "FailureConfig",
    "FailureDecision",
    "FailurePolicy",
    "PreemptionError",
    "PreemptionInfo",
    "RunConfig",
    "TrainController",
    "TrainingFailedError",
    "WorkerGroupError",
    "WorkerGroupStartupFailedError",
    "build_address",
    "cluster_state",
    "create_gcs_channel",
    "default_token_file",
    "find_address",
    "orphaned_placement_groups",
    "ray_logging",
    "user_error",
]


def find_address() -> str:
    """Return the address of the cluster that Ray finds by itself: the one in RAY_ADDRESS, or one of this machine.

    Raises:
        ConnectionError: There is none.
    """
    return str(get_ray_address_from_environment("auto", None))


def orphaned_placement_groups() -> list[PlacementGroup]:
    """Return the placement groups of this job that a dead actor has made; Ray keeps them until the end of the job."""
    job = ray.get_runtime_context().get_job_id()
    rows = cluster_state._connect_and_get_accessor().get_placement_group_table()
    groups = [PlacementGroupTableData.FromString(row) for row in rows]
    return [
        PlacementGroup(ray.PlacementGroupID(group.placement_group_id))
        for group in groups
        if group.creator_actor_dead
        and not ray.ActorID(group.creator_actor_id).is_nil()  # a driver has made it
        and group.creator_job_id.hex() == job
        and group.state != PlacementGroupTableData.REMOVED
    ]


def user_error(error: BaseException) -> BaseException:
    """Return the exception that user code raised, out of what Train wraps around it for its journey."""
    found = getattr(error, "_base_exc", error)
    assert isinstance(found, BaseException), f"what Train wraps is no exception: {found!r}"
    return found
