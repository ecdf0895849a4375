"""What a slot has reserved for its workers, given back where its process was killed.

Ray gives a placement group back when the job that made it is over, but not when only the actor that made it is dead:
https://github.com/ray-project/ray/issues/54305. The places of its workers would be lost, and the next trials would wait
for them for ever.
"""

from __future__ import annotations

import time

from ray.util import remove_placement_group

from sweeps.common.private_ray import orphaned_placement_groups

INTERVAL = 1.0
"""Seconds from one look to the next."""


class Orphans:
    """Looks for placement groups whose slots are dead, and gives them back."""

    def __init__(self) -> None:
        self._due = 0.0

    def look(self) -> None:
        """Give back what there is, if the last look was long enough ago."""
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + INTERVAL
        for group in orphaned_placement_groups():
            remove_placement_group(group)
