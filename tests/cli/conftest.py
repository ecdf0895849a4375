"""Checkpoints of tiny networks, untrained, on tiny pictures."""

from tests.helpers.run_fixtures import contrasted, make_run, plain

__all__ = ["contrasted", "make_run", "plain"]
