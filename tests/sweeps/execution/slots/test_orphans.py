"""Places of workers whose slot was killed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
import ray
from ray.util import placement_group, placement_group_table, remove_placement_group
from ray.util.placement_group import PlacementGroup

from sweeps.execution.slots import orphans
from sweeps.execution.slots.orphans import Orphans

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def own_cluster() -> Iterator[None]:
    """One of ours, with two CPUs."""
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


class Owner:
    """Reserves a CPU, as a slot does for its workers."""

    def __init__(self) -> None:
        self.group = placement_group([{"CPU": 1}])

    def reserved(self) -> str:
        """Return the id of what was reserved, when it is."""
        ray.get(self.group.ready())
        return str(self.group.id.hex())


def state(group: str) -> str:
    return str(placement_group_table()[group]["state"])


def waits_for(what: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 30
    while not what():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_places_of_a_slot_that_was_killed_are_given_back_and_no_others() -> None:
    killed, living = (ray.remote(num_cpus=0)(Owner).remote() for _ in range(2))
    lost, kept = ray.get([killed.reserved.remote(), living.reserved.remote()])
    own: PlacementGroup = placement_group([{"CPU": 0.001}])  # of this process
    looks = Orphans()
    looks.look()
    assert state(lost) == state(kept) == "CREATED"
    ray.kill(killed)
    assert waits_for(lambda: bool(orphans.orphaned_placement_groups())), "Ray does not say that its owner is dead"
    looks.look()
    assert state(lost) == "CREATED", "the last look was less than a second ago"
    time.sleep(orphans.INTERVAL)
    looks.look()
    assert state(lost) == "REMOVED" and state(kept) == "CREATED"
    assert not orphans.orphaned_placement_groups()
    assert waits_for(lambda: ray.available_resources().get("CPU", 0) > 0.9)
    assert state(own.id.hex()) != "REMOVED"
    remove_placement_group(own)
    ray.kill(living)
