"""The memory of a step, computed, and whether its passes are merged."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from pgpc.bases import make_base
from pgpc.training.step_memory import LiveBytes, has_room, in_its_own_process, merges_passes

GIB = 2**30


def test_bytes_that_are_alive_by_hand():
    with FakeTensorMode(), LiveBytes() as live:
        a = torch.zeros(1000)  # 4,000 bytes
        b = a + 1  # and 4,000
        b.view(10, 100)  # and none
        del a
        assert live._live == 4000
        b.double()  # and 8,000, which nobody keeps
    assert live.peak == 12_000


@pytest.mark.parametrize(("needed", "fits"), [(20 * GIB, True), (21 * GIB, False)])
def test_a_gpu_needs_more_than_what_is_computed(needed, fits):
    assert has_room(needed, 24 * GIB) == fits


def test_passes_are_not_merged_on_a_cpu_unless_one_says_so(tiny):
    for setting, merged in (("auto", False), ("true", True), ("false", False)):
        config = tiny("streets/daformer+pgpc", {"training.merge_passes": setting})
        base = make_base(config)
        assert merges_passes(base.new_state(torch.device("cpu")), base) is merged


@pytest.mark.long
def test_merged_passes_take_more_memory(tiny):
    changes = {"model.drop_path": 0.0, "data.crop": 64}
    apart, merged = (
        in_its_own_process(tiny("streets/daformer+pgpc", {**changes, "training.merge_passes": merge}))
        for merge in (False, True)
    )
    assert apart is not None
    assert apart < merged < 4 * apart
