import pytest
import torch

from pgpc.contrast.sampling import (
    draw_other_classes,
    draw_other_classes_by_pixels,
    draw_own_class,
    draw_quota,
    draw_with_replacement,
    gather_rows,
)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def test_with_replacement_draws_candidates_only_and_all_of_them_alike(generator):
    candidates = torch.zeros(2, 10, dtype=torch.bool)
    candidates[0, [1, 4, 9]] = True
    draw = draw_with_replacement(candidates, 9000, generator)
    assert draw.total.tolist() == [3, 0]
    assert draw.mine[0].all()
    assert not draw.mine[1].any()  # no candidate: nothing is drawn
    counts = torch.bincount(draw.pixel[0], minlength=10)
    assert set(counts.nonzero().flatten().tolist()) == {1, 4, 9}
    assert counts[candidates[0]].tolist() == pytest.approx([3000] * 3, rel=0.06)


def test_a_quota_takes_all_where_there_are_few(generator):
    candidates = torch.zeros(1, 50, dtype=torch.bool)
    candidates[0, [3, 30, 49]] = True
    draw = draw_quota(candidates, 5, generator)
    assert draw.pixel[0, :3].tolist() == [3, 30, 49]
    assert draw.mine.tolist() == [[True, True, True, False, False]]


def test_a_quota_spreads_over_the_candidates_uniformly(generator):
    candidates = torch.rand(1, 1000, generator=generator) < 0.4
    counts = torch.zeros(1000)
    for _ in range(400):
        draw = draw_quota(candidates, 20, generator)
        assert draw.mine.all()
        assert (draw.pixel.diff() >= 0).all()
        counts += torch.bincount(draw.pixel[0], minlength=1000)
    assert counts[~candidates[0]].sum() == 0
    expected = 400 * 20 / candidates.sum()
    assert abs(counts[candidates[0]].mean() - expected) < 1e-4
    assert counts[candidates[0]].std() < 2 * expected**0.5


def test_gathered_rows_are_the_drawn_features(generator):
    candidates = torch.zeros(2, 6, dtype=torch.bool)
    candidates[0, [2, 5]] = True
    features = torch.arange(6.0).view(1, 1, 2, 3).expand(1, 3, 2, 3)
    rows = gather_rows(features, draw_quota(candidates, 4, generator))
    assert rows[0, :2, 0].tolist() == [2.0, 5.0]
    assert not rows[0, 2:].any()
    assert not rows[1].any()


def test_rows_of_other_classes_are_uniform_over_all_of_them_and_never_of_the_class(generator):
    filled, size = torch.tensor([2, 0, 3, 1]), 4
    rows = draw_other_classes(filled, size, 6000, generator)
    in_use = [c * size + s for c in range(4) for s in range(filled[c])]
    for c in range(4):
        others = [i for i in in_use if i // size != c]
        counts = torch.bincount(rows[c], minlength=16)
        assert set(counts.nonzero().flatten().tolist()) == set(others)
        assert counts[others].tolist() == pytest.approx([6000 / len(others)] * len(others), rel=0.15)


def test_no_other_class_points_at_row_zero(generator):
    rows = draw_other_classes(torch.tensor([0, 3, 0]), 4, 10, generator)
    assert not rows[1].any()
    assert ((rows[0] >= 4) & (rows[0] < 7)).all()


def test_rows_of_the_own_class(generator):
    rows = draw_own_class(torch.tensor([2, 0, 4]), 4, 3000, generator)
    assert set(rows[0].tolist()) == {0, 1}
    assert set(rows[2].tolist()) == {8, 9, 10, 11}


def test_rows_of_other_classes_by_pixels_are_uniform_over_source_pixels(generator):
    """By hand: of 12 pixels (6, 2, 0, 4) class 1 has none of its own 2, so 6, 4 of the other 10; rows share evenly."""
    filled, pixels, size = torch.tensor([2, 1, 0, 3]), torch.tensor([6, 2, 0, 4]), 4
    rows = draw_other_classes_by_pixels(filled, pixels, size, 9000, generator)
    for c in range(4):
        others = torch.where(torch.arange(4) == c, 0, pixels) / (12 - pixels[c])
        in_use = torch.arange(size) < filled[:, None]  # (4, 4)
        expected = (9000 * others / filled.clamp(min=1))[:, None] * in_use
        counts = torch.bincount(rows[c], minlength=16)
        assert counts.tolist() == pytest.approx(expected.flatten().tolist(), rel=0.12)


def test_a_class_that_was_cleared_from_the_bank_is_not_drawn_however_many_pixels_it_has(generator):
    rows = draw_other_classes_by_pixels(torch.tensor([0, 3, 1]), torch.tensor([90, 5, 5]), 4, 500, generator)
    assert ((rows[1] == 8) | (rows[1] == 4 * 3)).all()
    assert set((rows[0] // 4).tolist()) == {1, 2}
    assert not draw_other_classes_by_pixels(torch.tensor([0, 3]), torch.tensor([0, 9]), 4, 9, generator)[1].any()
