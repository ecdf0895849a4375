import math

import pytest
import torch

from pgpc.contrast import entropy, rank_negatives, reliable


def logits_of(probabilities):
    """One image (1, C, 1, W) whose columns are the given distributions."""
    return torch.tensor(probabilities).log().T[None, :, None, :]


def test_entropy_by_hand():
    logits = logits_of([[0.5, 0.25, 0.25], [1 / 3, 1 / 3, 1 / 3], [1.0, 1e-30, 1e-30]])
    expected = [1.5 * math.log(2), math.log(3), 0.0]
    assert entropy(logits).flatten().tolist() == pytest.approx(expected, abs=1e-6)


def test_entropy_ignores_a_shift_of_the_logits_and_is_float32():
    logits = torch.randn(2, 5, 3, 4)
    torch.testing.assert_close(entropy(logits + 100), entropy(logits), atol=1e-4, rtol=1e-4)
    assert entropy(logits.half()).dtype == torch.float32


def test_rank_zero_is_the_most_probable_class():
    """Eq. 11 with r = 2: the two most probable classes are spared, all others are not."""
    p = torch.tensor([0.1, 0.4, 0.2, 0.3]).view(1, 4, 1, 1)
    assert rank_negatives(p, 2).flatten().tolist() == [True, False, True, False]
    assert rank_negatives(p, 1).flatten().tolist() == [True, False, True, True]
    assert rank_negatives(p, 3).flatten().tolist() == [True, False, False, False]


def test_rank_negatives_equals_the_definition_and_counts_c_minus_r():
    p = torch.rand(2, 19, 6, 5).softmax(1)
    for r in (1, 4, 18):
        rank = (p[:, None] > p[:, :, None]).sum(2)  # how many classes are more probable
        assert torch.equal(rank_negatives(p, r), rank >= r)
        assert (rank_negatives(p, r).sum(1) == 19 - r).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("r", [1, 2, 4])
def test_where_classes_tie_still_c_minus_r_of_them_are_negatives(r, dtype):
    assert (rank_negatives(torch.zeros(1, 5, 3, 3, dtype=dtype), r).sum(1) == 5 - r).all()


@pytest.mark.parametrize("r", [0, 19, -1])
def test_rank_outside_its_range_is_refused(r):
    with pytest.raises(ValueError, match=r"r must lie in \[1, 18\]"):
        rank_negatives(torch.rand(1, 19, 2, 2), r)


def test_a_larger_eta_takes_a_superset_and_the_exact_share():
    logits = torch.randn(2, 7, 10, 10)
    small, large = reliable(logits, 0.2), reliable(logits, 0.5)
    assert small.sum((1, 2)).tolist() == [20, 20]
    assert large.sum((1, 2)).tolist() == [50, 50]
    assert (small <= large).all()
    assert reliable(logits, 1.0).all()


def test_the_taken_pixels_have_the_lowest_entropy():
    logits = torch.randn(1, 7, 10, 10)
    taken, e = reliable(logits, 0.3), entropy(logits)
    assert e[taken].max() < e[~taken].min()


def test_per_image_and_per_batch_differ():
    """A sharp and a flat image: each gives its half, or the sharp one gives all of the batch's half."""
    logits = torch.randn(2, 7, 8, 8)
    logits[0] *= 20
    logits[1] *= 0.1  # not less, or float32 cannot tell its entropies apart
    assert reliable(logits, 0.5, per="image").sum((1, 2)).tolist() == [32, 32]
    assert reliable(logits, 0.5, per="batch").sum((1, 2)).tolist() == [64, 0]


def test_per_class_takes_the_share_of_every_predicted_class():
    logits = torch.randn(3, 5, 16, 16)
    logits[:, 0] += 1.5  # one common class
    taken, predicted, e = reliable(logits, 0.25, per="class"), logits.argmax(1), entropy(logits)
    for b in range(3):
        for c in range(5):
            of_class = predicted[b] == c
            assert (taken[b] & of_class).sum() == (0.25 * of_class.sum()).round()
            if 0 < (taken[b] & of_class).sum() < of_class.sum():
                assert e[b][taken[b] & of_class].max() <= e[b][~taken[b] & of_class].min()


def test_entropy_and_confidence_rank_pixels_differently():
    logits = logits_of([[0.6, 0.2, 0.2], [0.59, 0.40, 0.01]])
    assert reliable(logits, 0.5, by="entropy").flatten().tolist() == [False, True]
    assert reliable(logits, 0.5, by="confidence").flatten().tolist() == [True, False]


def test_confidence_tells_pixels_apart_that_are_all_of_probability_one():
    """As a trained teacher's are: 1 - p is below what float32 can hold beside 1."""
    gap = torch.linspace(20, 60, 64).view(1, 1, 8, 8)
    logits = torch.cat([gap, torch.zeros(1, 4, 8, 8)], dim=1)
    assert (logits.softmax(1).amax(1) == 1).all()
    assert torch.equal(reliable(logits, 0.25, by="confidence"), gap[:, 0] > gap.flatten()[47])


def test_a_constant_image_has_no_reliable_pixel():
    assert not reliable(torch.zeros(1, 19, 4, 4), 0.5).any()


@pytest.mark.parametrize(
    "arguments", [{"share": 0.0}, {"share": 1.5}, {"share": 0.5, "by": "luck"}, {"share": 0.5, "per": "day"}]
)
def test_bad_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match=r"must"):
        reliable(torch.randn(1, 3, 4, 4), **arguments)
