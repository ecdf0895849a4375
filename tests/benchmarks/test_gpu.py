"""The command that measures what is claimed about GPUs, as far as that is seen without one."""

import pytest
import torch

from tests.benchmarks import gpu
from tests.benchmarks.gpu import Claim, Clock, Outcome, claims_of_steps, launching, number_in, print_steps
from tests.benchmarks.gpu_step import WAYS, config_of, measure

SMALL = {"model.head_channels": 8, "contrast.hidden": 8, "contrast.dim": 8, "contrast.bank_size": 64}
FEW = {"contrast.quota": 16, "contrast.pool": 64, "contrast.anchors": 8, "contrast.negatives": 8}


def outcome(milliseconds, operators=4000):
    return Outcome(milliseconds=milliseconds, launching=1.0, peak=2**30, operators=operators, images=4)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_one_line_says_so():
    with pytest.raises(SystemExit, match=r"^There is no GPU of CUDA here: nothing was measured\.$"):
        gpu.main([])


@pytest.mark.parametrize(
    ("claim", "found", "end"),
    [
        (Claim(name="a", predicted="1.1", high=1.2), 1.19, "| at most 1.2 | 1.19 | met |"),
        (Claim(name="a", predicted="1.1", high=1.2), 1.21, "| at most 1.2 | 1.21 | missed |"),
        (Claim(name="a", predicted="3", low=2.0), 1.9, "| at least 2 | 1.9 | missed |"),
        (Claim(name="a", predicted="3", low=2.0), None, "| at least 2 | not measured | |"),
        (Claim(name="a", predicted="3"), 1.9, "| none | 1.9 |  |"),
    ],
)
def test_the_row_of_a_claim(claim, found, end):
    assert claim.row(found) == f"| a | {claim.predicted} {end}"


def test_launching_is_predicted_from_operators():
    assert launching(4000) == "20 to 40"


def test_numbers_are_found_in_what_benchmarks_print():
    assert number_in("one 2 s, batched 1 s: ratio 1.25", "ratio") == 1.25
    assert number_in("step, negatives per anchor: 1.70 ms: loss 1.2", "negatives per anchor:") == 1.7
    assert number_in(None, "ratio") is number_in("failed", "ratio") is None


def test_steps_that_no_time_is_left_for_are_said(capsys):
    found = print_steps(Clock(60), lambda name: outcome(50.0) if name == "DAFormer, float32" else None)
    assert list(found) == ["DAFormer, float32"]
    out = capsys.readouterr().out
    assert "| DAFormer, float32 | 50.0 | 80.0 | 1.0 | 4,000 | 20 to 40 | 1.0 | 6.2 |" in out
    assert "| PGPC, float32 | not measured |" in out
    assert out.count("\n") == 3 + len(WAYS)
    assert not print_steps(Clock(0), lambda name: outcome(50.0))


def test_claims_compare_steps():
    steps = {"PGPC, TF32, merged": outcome(54.0), "DAFormer, TF32, merged": outcome(50.0)}
    found = {claim.name: value for claim, value in claims_of_steps(steps)}
    assert found["PGPC to DAFormer, by default"] == pytest.approx(1.08)
    assert found["PGPC to DAFormer, bfloat16"] is None


@pytest.mark.slow
@pytest.mark.parametrize("name", ["PGPC, obvious", "HRDA with PGPC, bfloat16, merged"])
def test_a_way_can_be_measured(name):
    """On a CPU, which is for seeing that it runs."""
    way = WAYS[name]
    few = config_of(way, "thin_mit_b1", 64, **SMALL, **FEW)
    found = measure(way, few, warm_up=1, steps=1)
    assert found.operators > 500
    assert found.images == 4
    assert 0 < found.launching <= found.milliseconds
