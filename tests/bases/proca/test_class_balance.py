import numpy as np
import pytest

from pgpc.bases.proca.class_balance import SUB_EPOCH, ClassBalancedDraws

# Class 0 is everywhere; class 1 in every tenth image; class 2 in the last only; class 3 nowhere.
PIXELS = np.zeros((100, 4), dtype=np.int64)
PIXELS[:, 0] = 900
PIXELS[::10, 1] = 90
PIXELS[99, 2] = 10


def rows(draws, seed, indices):
    return [draws.row(seed, i) for i in indices]


@pytest.mark.slow
def test_the_first_draw_takes_each_class_alike():
    """Nothing is drawn yet, so 1 / ln 1.01 for each class, whatever its size."""
    draws = ClassBalancedDraws(np.diag([5, 700, 11]))  # image c has class c alone
    found = np.bincount([draws.row(seed, 0) for seed in range(36)], minlength=3)
    assert (found >= 6).all()


def test_shares_are_balanced_by_what_was_drawn_so_far():
    """One class per image, of very different sizes: each is drawn until it has its part of the pixels."""
    draws = ClassBalancedDraws(np.diag([1000, 10]))
    share = np.mean(np.array(rows(draws, 0, range(SUB_EPOCH))) == 1)
    # Class 1 stays at a small share f of the pixels and keeps its weight: P = w(f) / (w(f) + w(1 - f)).
    fraction = 10 * share / (10 * share + 1000 * (1 - share))
    weights = 1 / np.log(1.01 + np.array([1 - fraction, fraction]))
    assert share == pytest.approx(weights[1] / weights.sum(), abs=0.03)
    assert share > 0.7


def test_rare_classes_come_more_often():
    drawn = np.array(rows(ClassBalancedDraws(PIXELS), 0, range(SUB_EPOCH)))
    assert np.mean(drawn == 99) > 0.25  # 0.01 if drawn uniformly
    assert np.mean(drawn % 10 == 0) > 0.25  # 0.1
    assert len(np.unique(drawn)) > 30


def test_rows_do_not_depend_on_who_asks_for_which():
    """Two processes with every other image, one that begins in the middle, and one that goes back see the same."""
    draws = ClassBalancedDraws(PIXELS)
    around = range(SUB_EPOCH - 6, SUB_EPOCH + 6)  # two sub-epochs
    whole = rows(draws, 3, around)
    even, odd = ClassBalancedDraws(PIXELS), ClassBalancedDraws(PIXELS)
    assert rows(even, 3, around[::2]) == whole[::2]
    assert rows(odd, 3, around[1::2]) == whole[1::2]
    assert rows(odd, 3, reversed(around)) == whole[::-1]


def test_seeds_and_sub_epochs_differ():
    draws = ClassBalancedDraws(PIXELS)
    first = rows(draws, 0, range(50))
    assert rows(draws, 1, range(50)) != first
    assert rows(draws, 0, range(SUB_EPOCH, SUB_EPOCH + 50)) != first
    assert rows(draws, 0, range(50)) == first


def test_no_labeled_pixel_is_refused():
    with pytest.raises(ValueError, match="needs images with labeled pixels, but no class has any"):
        ClassBalancedDraws(np.zeros((3, 4), dtype=np.int64))
