"""Transforms against loops over pixels, and the rules of drawing a crop."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from pgpc.classes import IGNORE_INDEX
from pgpc.data import transforms


def _png(pixels: np.ndarray, mode: str | None = None) -> bytes:
    image = Image.fromarray(pixels)
    file = io.BytesIO()
    (image.convert(mode) if mode else image).save(file, format="png")
    return file.getvalue()


def _bilinear(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Naive: every pixel from its four neighbours, centres at half integers, clamped at the border."""
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


def test_images_and_labels_survive_encoding() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    label = rng.integers(0, 19, (5, 7), dtype=np.uint8)
    assert np.array_equal(transforms.decode_image(_png(image)), image)
    assert np.array_equal(transforms.decode_label(_png(label)), label)
    palette = Image.fromarray(label, mode=None).convert("L")
    palette = Image.frombytes("P", palette.size, palette.tobytes())
    palette.putpalette(rng.integers(0, 256, 768, dtype=np.uint8).tobytes())
    file = io.BytesIO()
    palette.save(file, format="png")
    assert np.array_equal(transforms.decode_label(file.getvalue()), label)  # values, not colours


def test_colour_pictures_are_no_labels() -> None:
    with pytest.raises(ValueError, match="mode is 'RGB'"):
        transforms.decode_label(_png(np.zeros((2, 2, 3), dtype=np.uint8)))


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
    centres = (np.arange(new) + 0.5) * step - 0.5
    weights = np.array([[_cubic((i - centre) / max(step, 1)) for i in range(old)] for centre in centres])
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
        [label[int(y * 12 / height + 1e-9), int(x * 13 / width + 1e-9)] for x in range(width)]
        for y in range(height)
    ]
    assert transforms.resize_label(label, size).tolist() == expected


def test_the_right_size_costs_nothing() -> None:
    image, label = np.zeros((4, 6, 3), dtype=np.uint8), np.zeros((4, 6), dtype=np.uint8)
    assert transforms.resize_image(image, (6, 4)) is image
    assert transforms.resize_image(image, (6, 4), "bicubic") is image
    assert transforms.resize_label(label, (6, 4)) is label


def test_margins_by_hand() -> None:
    inside = transforms.inside_margins(5, 6, (1, 2, 0, 3)).astype(int)
    assert inside.tolist() == [[0] * 6, [1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0], [0] * 6, [0] * 6]
    assert transforms.inside_margins(5, 6, (0, 0, 0, 0)).all()
    assert not transforms.inside_margins(5, 6, (4, 3, 0, 0)).any()
    assert not transforms.inside_margins(5, 6, (0, 9, 0, 0)).any()  # more than there is
    assert not transforms.inside_margins(5, 6, (0, 0, 0, 9)).any()


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


def test_the_rule_ignores_unlabelled_pixels() -> None:
    label = np.full((32, 64), IGNORE_INDEX, dtype=np.uint8)
    label[0, :], label[1, :] = 3, 4  # half and half of what is labelled

    class _Counting:
        calls = 0

        def integers(self, high: int) -> int:
            self.calls += 1
            return 0

    rng = _Counting()
    transforms.draw_source_box(rng, label, 32, 0.75)
    assert rng.calls == 2  # one box
    label[1, :] = IGNORE_INDEX
    label[1, :4] = 4  # 8/9 of what is labelled are one class
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

    def never(counts: np.ndarray) -> bool:
        seen.append(counts)
        return False

    box = transforms.draw_source_box(np.random.default_rng(3), label, 32, 1.0, never)
    assert len(seen) == 10
    rng = np.random.default_rng(3)
    assert box == [transforms.draw_box(rng, 32, 256, 32) for _ in range(11)][-1]


def test_an_accepted_crop_is_the_one_that_was_checked() -> None:
    label, rng = _half_and_half(), np.random.default_rng(0)
    accepted = 0
    for _ in range(100):
        box = transforms.draw_source_box(rng, label, 32, 1.0, lambda counts: counts[2] > 900)
        accepted += (transforms.cut(label, box) == 2).sum() > 900
    # More than 900 pixels are at least 29 of 32 columns, 100 of 225 places: one draw hits with 0.44, and of
    # 100 crops 0.16 are expected to miss eleven times.
    assert accepted > 95


def test_image_tensor_by_hand() -> None:
    image = np.array([[[0, 100, 255], [10, 20, 30]]], dtype=np.uint8)
    tensor = transforms.image_tensor(image, flip=True, side=3)
    assert tensor.shape == (3, 3, 3) and tensor.dtype == torch.float32
    expected = (np.array([[10, 20, 30], [0, 100, 255]]) - transforms.MEAN) / transforms.STD  # mirrored
    np.testing.assert_allclose(tensor[:, 0, :2].T, expected, atol=1e-5)
    assert tensor[:, 1:].abs().max() == 0 and tensor[:, :, 2].abs().max() == 0


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
