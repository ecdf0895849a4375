"""All that the cluster's scripts use of Ray beside its public interface, for the one version that it is known of.

- ``GcsClient``: a client of the head's control store. No public function drains a node with a deadline, or tells the
  head which node types its autoscaler may start.
- ``ClusterConfig``, ``DrainNodeReason``: the messages that these two requests take.
- ``AWSNodeProvider``: the autoscaler's access to AWS, the only place where a refused spot instance can be asked for on
  demand instead.
- ``NodeLaunchException``: what it raises when AWS refuses.
"""

from __future__ import annotations

import ray

__all__ = ["AWSNodeProvider", "ClusterConfig", "DrainNodeReason", "GcsClient", "NodeLaunchException"]

VERSION = "2.60"
"""Version of Ray whose private modules these are, which setup.cfg installs on all nodes."""

if ray.__version__.split(".")[:2] != VERSION.split("."):
    raise ImportError(
        f"The cluster's scripts use private modules of Ray {VERSION}.*, but Ray {ray.__version__} is installed; "
        f"install ray=={VERSION}.* or adapt cluster/private_ray.py."
    )

from ray._raylet import GcsClient  # type: ignore[attr-defined]  # noqa: E402  # compiled, without a stub
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider  # noqa: E402
from ray.autoscaler.node_launch_exception import NodeLaunchException  # noqa: E402
from ray.core.generated.autoscaler_pb2 import (  # type: ignore[attr-defined]  # noqa: E402  # makes its names when loaded
    ClusterConfig,
    DrainNodeReason,
)
