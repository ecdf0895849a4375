"""Transforms against loops over pixels, and the rules of drawing a crop."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pgpc.classes import IGNORE_INDEX
from pgpc.data import transforms
from pgpc.data.normalization import MEAN, STD


def _bilinear(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Naive: every pixel from its four neighbors, centers at half integers, clamped at the border."""
    result = np.zeros((height, width, 3))
    for y in range(height):
        for x in range(width):
            v = min(max((y + 0.5) * image.shape[0] / height - 0.5, 0), image.shape[0] - 1)
            u = min(max((x + 0.5) * image.shape[1] / width - 0.5, 0), image.shape[1] - 1)
            top, left = int(v), int(u)
            bottom, right = min(top + 1, image.shape[0] - 1), min(left + 1, image.shape[1] - 1)
            a, b = v - top, u - left
            upper = (1 - b) * image[top, left].astype(float) + b * image[top, right]
            lower = (1 - b) * image[bottom, left].astype(float) + b * image[bottom, right]
            result[y, x] = (1 - a) * upper + a * lower
    return result


@pytest.mark.parametrize(
    ("native", "box", "expected"),
    [
        ((1914, 1052), (1280, 720), (1280, 704)),  # GTA5
        ((1914, 1052), (2560, 1440), (2560, 1407)),
        ((1280, 760), (1280, 760), (1280, 760)),  # SYNTHIA
        ((2048, 1024), (1024, 512), (1024, 512)),  # Cityscapes
        ((1920, 1080), (960, 540), (960, 540)),  # ACDC
        ((1052, 1914), (1280, 720), (704, 1280)),  # upright
        ((100, 100), (64, 32), (32, 32)),
        ((10_000, 3), (1024, 512), (1024, 1)),
    ],
)
def test_box_size(native: tuple[int, int], box: tuple[int, int], expected: tuple[int, int]) -> None:
    assert transforms.box_size(*native, box) == expected


def test_an_exact_fit_squashes_to_the_box() -> None:
    assert transforms.box_size(1914, 1052, (1280, 720), "exact") == (1280, 720)
    assert transforms.box_size(1052, 1914, (1280, 720), "exact") == (1280, 720)  # upright, too


@pytest.mark.parametrize("size", [(9, 6), (20, 17), (13, 12), (26, 3)])
def test_resize_image_equals_a_loop(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (12, 13, 3), dtype=np.uint8)
    resized = transforms.resize_image(image, size)
    assert resized.dtype == np.uint8
    # Fixed point rounds after each of the two directions.
    np.testing.assert_allclose(resized, _bilinear(image, *size), atol=1.01)


def _cubic(x: float) -> float:
    """Keys' kernel with a = -0.5."""
    x = abs(x)
    if x < 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * (x**3 - 5 * x**2 + 8 * x - 4) if x < 2 else 0.0


def _cubic_weights(old: int, new: int) -> np.ndarray:
    """``(new, old)``: Keys' kernel, as wide as the step where that is more than a pixel, cut off at the border."""
    step = old / new
    centers = (np.arange(new) + 0.5) * step - 0.5
    weights = np.array([[_cubic((i - center) / max(step, 1)) for i in range(old)] for center in centers])
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("size", [(9, 6), (20, 17), (13, 3)])
def test_resize_bicubically_equals_a_loop(size: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (12, 13, 3), dtype=np.uint8)
    resized = transforms.resize_image(image, size, "bicubic")
    assert resized.dtype == np.uint8 and resized.shape == (size[1], size[0], 3)
    # Rounded and clipped after each of the two directions, columns first.
    columns = np.einsum("xj,ijc->ixc", _cubic_weights(13, size[0]), image).clip(0, 255)
    expected = np.einsum("yi,ixc->yxc", _cubic_weights(12, size[1]), columns).clip(0, 255)
    np.testing.assert_allclose(resized, expected, atol=1.5)


@pytest.mark.parametrize("size", [(9, 6), (20, 17), (13, 12), (26, 3)])
def test_resize_label_equals_a_loop(size: tuple[int, int]) -> None:
    label = np.random.default_rng(0).integers(0, 256, (12, 13), dtype=np.uint8)
    width, height = size
    expected = [
        [label[int(y * 12 / height + 1e-9), int(x * 13 / width + 1e-9)] for x in range(width)] for y in range(height)
    ]
    assert transforms.resize_label(label, size).tolist() == expected


def test_the_right_size_costs_nothing() -> None:
    image, label = np.zeros((4, 6, 3), dtype=np.uint8), np.zeros((4, 6), dtype=np.uint8)
    assert transforms.resize_image(image, (6, 4)) is image
    assert transforms.resize_image(image, (6, 4), "bicubic") is image
    assert transforms.resize_label(label, (6, 4)) is label


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_a_resized_crop_is_the_cut_of_the_whole(interpolation: str) -> None:
    rng = np.random.default_rng(0)
    for case in range(300):
        new = rng.integers(4, 60, 2)
        # Whole factors, identity among them, where crops take a shorter way; any other, up and down.
        old = new * rng.integers(1, 4, 2) if case % 2 else rng.integers(4, 90, 2)
        image = rng.integers(0, 256, (*old, 3), dtype=np.uint8)
        box = transforms.draw_box(rng, *new, int(rng.integers(2, 70))) if case % 7 else None  # also past the end
        size = (int(new[1]), int(new[0]))
        whole = transforms.cut(transforms.resize_image(image, size, interpolation), box)
        assert np.array_equal(transforms.resize_crop(image, size, box, interpolation), whole)


def test_a_crop_depends_on_its_region_only() -> None:
    rng = np.random.default_rng(0)
    for case in range(600):
        new = rng.integers(4, 60, 2)
        old = new * rng.integers(1, 4, 2) if case % 3 == 0 else rng.integers(4, 130, 2)
        box = transforms.draw_box(rng, *new, int(rng.integers(1, 70)))  # also past the end
        native, size = (int(old[1]), int(old[0])), (int(new[1]), int(new[0]))
        image = rng.integers(0, 256, (*old, 3), dtype=np.uint8)
        top, left, height, width = transforms.needed_region(native, size, box)
        assert top >= 0 and left >= 0 and top + height <= old[0] and left + width <= old[1]
        # With no more than a border around what the factor makes of the crop.
        assert height <= box[2] * old[0] / new[0] + 4 and width <= box[2] * old[1] / new[1] + 4
        part = np.zeros_like(image)
        part[top : top + height, left : left + width] = image[top : top + height, left : left + width]
        whole = transforms.resize_crop(image, size, box)
        assert np.array_equal(transforms.resize_crop(part, size, box), whole)


def test_a_region_by_hand() -> None:
    # Rows 2..3 of 4 from 8: pixels 4 to 7, and one more for neighbors. Columns 0..1 of 3 from 9: 0 to 5, likewise.
    assert transforms.needed_region((9, 8), (3, 4), (2, 0, 2)) == (3, 0, 5, 7)
    assert transforms.needed_region((9, 8), (3, 4), None) is None
    assert transforms.needed_region((9, 8), (3, 4), (2, 0, 2), "bicubic") is None


def test_whole_factors_resize_no_more_than_the_crop(monkeypatch: pytest.MonkeyPatch) -> None:
    resized, resize = [], transforms.resize_image
    monkeypatch.setattr(
        transforms, "resize_image", lambda image, *args: resized.append(image.shape[:2]) or resize(image, *args)
    )
    transforms.resize_crop(np.zeros((80, 90, 3), dtype=np.uint8), (30, 40), (3, 5, 16))
    assert resized == [(32, 48)]


def test_margins_by_hand() -> None:
    inside = transforms.inside_margins(5, 6, (1, 2, 0, 3)).astype(int)
    assert inside.tolist() == [[0] * 6, [1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0], [0] * 6, [0] * 6]
    assert transforms.inside_margins(5, 6, (0, 0, 0, 0)).all()
    assert not transforms.inside_margins(5, 6, (4, 3, 0, 0)).any()
    assert not transforms.inside_margins(5, 6, (0, 9, 0, 0)).any()  # more than there is
    assert not transforms.inside_margins(5, 6, (0, 0, 0, 9)).any()


def test_margins_of_a_crop_are_those_of_the_whole() -> None:
    whole = transforms.inside_margins(9, 12, (1, 2, 0, 3))
    for box in ((0, 0, 5), (4, 7, 5), (0, 2, 20)):
        assert np.array_equal(transforms.inside_margins(9, 12, (1, 2, 0, 3), box), transforms.cut(whole, box))


def test_no_box_cuts_nothing() -> None:
    image = np.zeros((4, 6, 3), dtype=np.uint8)
    assert transforms.cut(image, None) is image


def test_boxes_reach_every_place_and_no_other() -> None:
    rng = np.random.default_rng(0)
    boxes = {transforms.draw_box(rng, 34, 35, 32) for _ in range(500)}
    assert boxes == {(top, left, 32) for top in range(3) for left in range(4)}
    assert transforms.draw_box(rng, 20, 32, 32) == (0, 0, 32)


def test_flips_are_even() -> None:
    rng = np.random.default_rng(0)
    assert 430 < sum(transforms.draw_flip(rng) for _ in range(1000)) < 570


def test_count_ids_is_bincount() -> None:
    label = np.random.default_rng(0).integers(0, 256, (9, 11), dtype=np.uint8)
    for part in (label, label[2:5, 3:8], label[:, ::-1]):
        assert np.array_equal(transforms.count_ids(part), np.bincount(part.ravel(), minlength=256))


def _is_varied(label: np.ndarray, max_share: float) -> bool:
    """Naive: several classes, the largest below its share of the labeled pixels."""
    classes, counts = np.unique(label[label != IGNORE_INDEX], return_counts=True)
    return len(classes) > 1 and bool(counts.max() / counts.sum() < max_share)


def _patches(rng: np.random.Generator) -> np.ndarray:
    """A label of few or many classes, in patches or noise, with more or fewer pixels unlabeled."""
    label = rng.integers(0, rng.integers(1, 8), (96, 160)).astype(np.uint8)
    if rng.random() < 0.7:
        label = label[:12, :20].repeat(8, axis=0).repeat(8, axis=1)
        label[:, : rng.integers(1, 160)] = 3  # one class in wide parts
    label[rng.random(label.shape) < rng.choice([0.0, 0.3, 0.99, 1.0])] = IGNORE_INDEX
    return label


def test_varied_equals_counting_all_classes() -> None:
    rng, outcomes = np.random.default_rng(0), []
    for _ in range(500):
        label, share = _patches(rng), rng.choice([0.2, 0.4, 0.75, 0.9])
        crop = transforms.cut(label, transforms.draw_box(rng, *label.shape, int(rng.integers(1, 97))))
        outcomes.append(transforms.is_varied(crop, share))
        assert outcomes[-1] == _is_varied(crop, share)
    assert 100 < sum(outcomes) < 400


def test_the_share_itself_is_too_much() -> None:
    label = np.array([[1, 1, 1, 2], [IGNORE_INDEX] * 4], dtype=np.uint8)
    assert not transforms.is_varied(label, 0.75)
    assert transforms.is_varied(label, 0.76)
    assert not transforms.is_varied(label[1:], 0.75)  # nothing labeled


def test_boxes_are_those_of_the_rules_word_by_word() -> None:
    def varied(rng: np.random.Generator, label: np.ndarray, share: float) -> tuple[int, int, int]:
        box = transforms.draw_box(rng, *label.shape, 48)
        for _ in range(10):
            if share == 1 or _is_varied(transforms.cut(label, box), share):
                return box
            box = transforms.draw_box(rng, *label.shape, 48)
        return box

    rng = np.random.default_rng(1)
    for seed in range(150):
        label, share, least = _patches(rng), rng.choice([0.4, 0.75, 1.0]), int(rng.integers(48 * 48))
        expected_rng = np.random.default_rng(seed)
        expected = varied(expected_rng, label, share)
        for _ in range(10):
            if (transforms.cut(label, expected) == 3).sum() > least:
                break
            expected = varied(expected_rng, label, share)
        drawing_rng = np.random.default_rng(seed)
        box = transforms.draw_source_box(drawing_rng, label, 48, share, lambda crop: (crop == 3).sum() > least)  # noqa: B023
        assert box == expected
        assert drawing_rng.random() == expected_rng.random()  # what is drawn next stays the same, too


def _half_and_half() -> np.ndarray:
    """Left half class 1, right half class 2: only crops across the middle have both."""
    label = np.ones((32, 256), dtype=np.uint8)
    label[:, 128:] = 2
    return label


def test_crops_of_mostly_one_class_are_redrawn() -> None:
    label, rng = _half_and_half(), np.random.default_rng(0)
    lefts = [transforms.draw_source_box(rng, label, 32, 0.75)[1] for _ in range(2000)]
    # Both classes above a quarter: the middle lies at 9..23 columns of the crop, 15 of 225 places. A draw
    # misses with 210/225, eleven in a row with 0.468.
    accepted = np.mean([9 <= 128 - left <= 23 for left in lefts])
    assert accepted == pytest.approx(1 - (210 / 225) ** 11, abs=0.045)


def test_the_rule_ignores_unlabeled_pixels() -> None:
    label = np.full((32, 64), IGNORE_INDEX, dtype=np.uint8)
    label[0, :], label[1, :] = 3, 4  # half and half of what is labeled

    class _Counting:
        calls = 0

        def integers(self, high: int) -> int:
            self.calls += 1
            return 0

    rng = _Counting()
    transforms.draw_source_box(rng, label, 32, 0.75)
    assert rng.calls == 2  # one box
    label[1, :] = IGNORE_INDEX
    label[1, :4] = 4  # 8/9 of what is labeled are one class
    rng = _Counting()
    transforms.draw_source_box(rng, label, 32, 0.75)
    assert rng.calls == 2 * 11  # ten redraws
    label[1, :] = IGNORE_INDEX  # one class left
    rng = _Counting()
    transforms.draw_source_box(rng, label, 32, 0.75)
    assert rng.calls == 2 * 11
    rng = _Counting()
    transforms.draw_source_box(rng, label, 32, 1.0)
    assert rng.calls == 2  # rule off


def test_the_outer_rule_redraws_ten_times_and_takes_the_last_unchecked() -> None:
    label, seen = _half_and_half(), []

    def never(crop: np.ndarray) -> bool:
        seen.append(crop.shape)
        return False

    box = transforms.draw_source_box(np.random.default_rng(3), label, 32, 1.0, never)
    assert seen == [(32, 32)] * 10
    rng = np.random.default_rng(3)
    assert box == [transforms.draw_box(rng, 32, 256, 32) for _ in range(11)][-1]


def test_an_accepted_crop_is_the_one_that_was_checked() -> None:
    label, rng = _half_and_half(), np.random.default_rng(0)
    accepted = 0
    for _ in range(100):
        box = transforms.draw_source_box(rng, label, 32, 1.0, lambda crop: (crop == 2).sum() > 900)
        accepted += (transforms.cut(label, box) == 2).sum() > 900
    # More than 900 pixels are at least 29 of 32 columns, 100 of 225 places: one draw hits with 0.44, and of
    # 100 crops 0.16 are expected to miss eleven times.
    assert accepted > 95


def test_image_tensor_by_hand() -> None:
    image = np.array([[[0, 100, 255], [10, 20, 30]]], dtype=np.uint8)
    tensor = transforms.image_tensor(image, flip=True, side=3)
    assert tensor.shape == (3, 3, 3) and tensor.dtype == torch.float32
    expected = (np.array([[10, 20, 30], [0, 100, 255]]) - MEAN) / STD  # mirrored
    np.testing.assert_allclose(tensor[:, 0, :2].T, expected, atol=1e-5)
    assert tensor[:, 1:].abs().max() == 0 and tensor[:, :, 2].abs().max() == 0


@pytest.mark.parametrize("flip", [False, True])
def test_tensors_are_contiguous_and_of_their_own_memory(flip: bool) -> None:
    image = np.random.default_rng(0).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    crop, mask = transforms.cut(image, (1, 2, 6)), transforms.cut(image[..., 0] > 9, (1, 2, 6))
    label = transforms.cut(image[..., 0], (1, 2, 6))
    tensors = [
        transforms.image_tensor(crop, flip=flip),
        transforms.label_tensor(label, flip=flip),
        transforms.mask_tensor(mask, flip=flip),
    ]
    before = [tensor.clone() for tensor in tensors]
    for pixels in (image, mask):
        pixels[:] = 0
    for tensor, expected in zip(tensors, before, strict=True):
        assert tensor.is_contiguous() and torch.equal(tensor, expected)


def test_label_tensor_by_hand() -> None:
    tensor = transforms.label_tensor(np.array([[1, 2]], dtype=np.uint8), flip=True, side=3)
    assert tensor.dtype == torch.int64
    assert tensor.tolist() == [[2, 1, 255], [255, 255, 255], [255, 255, 255]]
    assert transforms.label_tensor(np.array([[1, 2]], dtype=np.uint8)).tolist() == [[1, 2]]


def test_mask_tensor_by_hand() -> None:
    tensor = transforms.mask_tensor(np.array([[True, False]]), flip=True, side=3)
    assert tensor.dtype == torch.bool
    assert tensor.tolist() == [[False, True, False], [False] * 3, [False] * 3]
    assert transforms.mask_tensor(np.array([[True, False]])).tolist() == [[True, False]]


def test_image_tensor_leaves_the_picture_alone() -> None:
    image = np.arange(2 * 4 * 3, dtype=np.uint8).reshape(2, 4, 3)
    before = image.copy()
    transforms.image_tensor(transforms.cut(image, (0, 1, 2)), flip=True)
    assert np.array_equal(image, before)
