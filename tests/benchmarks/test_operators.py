"""How many operators a step may launch: a GPU is told of one after the other."""

import pytest

from tests.benchmarks.operators import operators

MERGED = {"training.merge_passes": True}
HALF = {"training.precision": "bfloat16"}


def test_bfloat16_adds_few_operators_and_no_step_waits():
    exact, half = (operators("mic-daformer+pgpc", {**MERGED, **way}, "thin_mit_b1") for way in ({}, HALF))
    assert not exact.waits
    assert not half.waits
    assert half.counted.total() <= 1.10 * exact.counted.total()


@pytest.mark.slow
def test_operators_of_a_step():
    base = operators("daformer", MERGED).counted.total()
    ours = operators("daformer+pgpc", {**MERGED, **HALF}).counted.total()
    # Both at once: PGPC to its base, and bfloat16 to float32.
    assert ours <= 1.10 * base
    assert ours <= 5_500


@pytest.mark.slow
@pytest.mark.parametrize("base", ["source-only+pgpc", "dacs+pgpc", "mic-hrda+pgpc"])
@pytest.mark.parametrize("view", ["target", "mixed"])
def test_no_step_waits_or_has_a_shape_that_depends_on_data(base, view):
    """What a CUDA graph of the step would need."""
    assert not operators(base, {"contrast.anchor_view": view}, "thin_mit_b1").waits
