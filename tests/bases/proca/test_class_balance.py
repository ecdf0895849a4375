import numpy as np
import pytest

from pgpc.bases.proca.class_balance import SUB_EPOCH, ClassBalancedDraws, class_probabilities

# Class 0 is everywhere; class 1 in every tenth image; class 2 in the last only; class 3 nowhere.
PIXELS = np.zeros((100, 4), dtype=np.int64)
PIXELS[:, 0] = 900
PIXELS[::10, 1] = 90
PIXELS[99, 2] = 10


def rows(draws, seed, indices, stage="adapt"):
    return [draws.row(seed, stage, i) for i in indices]


@pytest.mark.slow
def test_the_first_draw_takes_each_class_alike():
    """Nothing is drawn yet, so 1 / ln 1.01 for each class, whatever its size."""
    draws = ClassBalancedDraws(np.diag([5, 700, 11]))  # image c has class c alone
    found = np.bincount([draws.row(seed, "adapt", 0) for seed in range(36)], minlength=3)
    assert (found >= 6).all()


def test_probabilities_by_hand():
    """Two images were drawn: one shows classes 0 and 1, one class 0 alone; no image at all shows class 3.

    The shares are 2/3, 1/3, 0: 1 / ln 1.6767 = 1.9350, 1 / ln 1.3433 = 3.3881, 1 / ln 1.01 = 100.4992.
    """
    drawable = np.array([True, True, True, False])
    found = class_probabilities(np.array([2, 1, 0, 0]), drawable)
    assert found == pytest.approx([1.9350 / 105.8223, 3.3881 / 105.8223, 100.4992 / 105.8223, 0], abs=2e-6)
    assert class_probabilities(np.zeros(4), drawable) == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0])


def test_images_are_counted_not_pixels():
    """One class per image, of very different sizes: each is drawn as often as the other."""
    for pixels in ([1000, 10], [10, 1000]):
        draws = ClassBalancedDraws(np.diag(pixels))
        assert np.mean(np.array(rows(draws, 0, range(SUB_EPOCH))) == 1) == pytest.approx(0.5, abs=0.03)


def test_a_class_that_always_comes_along_is_drawn_less():
    """Class 0 is in both images, class 1 in the second: by hand, with p the chance that class 1 is drawn.

    The second image comes with q = p + (1 - p) / 2, so that the shares are 1 / (1 + q) and q / (1 + q), and p is the
    share of 1 / ln(1.01 + q / (1 + q)) in both weights: p = 0.5653, q = 0.7827.
    """
    draws = ClassBalancedDraws(np.array([[5, 0], [900, 1]]))
    found = np.concatenate([rows(draws, seed, range(SUB_EPOCH)) for seed in range(2)])
    q = found.mean()
    weights = 1 / np.log(1.01 + np.array([1, q]) / (1 + q))
    p = weights[1] / weights.sum()
    assert q == pytest.approx(p + (1 - p) / 2, abs=0.02)
    assert q > 0.75


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


def test_seeds_sub_epochs_and_stages_differ():
    draws = ClassBalancedDraws(PIXELS)
    first = rows(draws, 0, range(50))
    assert rows(draws, 1, range(50)) != first
    assert rows(draws, 0, range(SUB_EPOCH, SUB_EPOCH + 50)) != first
    assert rows(draws, 0, range(50)) == first
    assert rows(draws, 0, range(50), "source") != first


def test_no_labeled_pixel_is_refused():
    with pytest.raises(ValueError, match="needs images with labeled pixels, but no class has any"):
        ClassBalancedDraws(np.zeros((3, 4), dtype=np.int64))
