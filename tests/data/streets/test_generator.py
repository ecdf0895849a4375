"""The embedded pair: layout, determinism, class statistics, domain gap."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pgpc.classes import CITYSCAPES_TRAIN_IDS, CLASS_NAMES, CLASSES, IGNORE_INDEX
from pgpc.data.streets.config import StreetsConfig
from pgpc.data.streets.generator import render, write_streets
from pgpc.data.streets.palette import ROAD, SKY

SMALL = StreetsConfig(num_source=5, num_target=9, num_val=3, height=64, width=128, seed=3)


def _files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*.png"))}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("small")
    write_streets(SMALL, root)
    return root


@functools.cache
def _default_statistics() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Per split of the default seed and counts, at half size: share of pixels and of images, each (19,)."""
    config, statistics = StreetsConfig(), {}
    for key, (split, count) in enumerate(
        (("source", config.num_source), ("train", config.num_target), ("val", config.num_val))
    ):
        counts = np.zeros((count, 256))
        for index in range(count):
            rng = np.random.default_rng([config.seed, key, index])
            labels = scene_labels("source" if split == "source" else "target", rng)
            counts[index] = np.bincount(labels.ravel(), minlength=256)
        assert not counts[:, len(CLASSES) : IGNORE_INDEX].any(), "a label is neither a class nor ignored"
        statistics[split] = (counts.sum(0) / counts.sum(), (counts > 0).mean(0))
    return statistics


def scene_labels(domain: str, rng: np.random.Generator) -> np.ndarray:
    return render(domain, rng, 64, 128)[1]


def test_layout(small: Path) -> None:
    names = set(_files(small))
    assert {f"source/{kind}/{i:05d}.png" for kind in ("images", "labels") for i in range(1, 6)} <= names
    images = sorted((small / "target/leftImg8bit").rglob("*_leftImg8bit.png"))
    assert len(images) == SMALL.num_target + SMALL.num_val
    for image in images:
        split, city = image.parts[-3:-1]
        stem = image.name.removesuffix("_leftImg8bit.png")
        assert stem.startswith(f"{city}_") and stem.endswith("_000019")
        assert f"target/gtFine/{split}/{city}/{stem}_gtFine_labelIds.png" in names
    assert len(names) == 2 * (5 + 9 + 3)
    cities = {split: {p.name for p in (small / "target/leftImg8bit" / split).iterdir()} for split in ("train", "val")}
    assert len(cities["train"]) > 2 and cities["val"] and not cities["train"] & cities["val"]
    assert max(len(list((small / "target/leftImg8bit/train" / c).iterdir())) for c in cities["train"]) > 1


def test_files_decode_to_what_was_rendered(small: Path) -> None:
    allowed = {0, *(c.cityscapes_id for c in CLASSES)}
    for path in small.rglob("*.png"):
        with Image.open(path) as file:
            assert file.size == (SMALL.width, SMALL.height)
            is_label = "labels" in path.parts or "gtFine" in path.parts
            assert file.mode == ("RGB" if not is_label else "P" if "source" in path.parts else "L")
            if is_label:
                assert set(np.unique(np.array(file)).tolist()) <= allowed
    image, labels = render("source", np.random.default_rng([3, 0, 1]), 64, 128)
    assert np.array_equal(np.array(Image.open(small / "source/images/00002.png")), image)
    raw = Image.open(small / "source/labels/00002.png")
    assert np.array_equal(CITYSCAPES_TRAIN_IDS[np.array(raw)], labels)
    road = CLASSES[0].cityscapes_id
    assert tuple(raw.getpalette()[3 * road : 3 * road + 3]) == CLASSES[0].color


def test_an_image_depends_on_seed_split_and_index_only(small: Path, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    fewer = StreetsConfig(num_source=2, num_target=7, num_val=1, height=64, width=128, seed=3)
    write_streets(fewer, tmp_path / "fewer", on_progress=lambda done, total: calls.append((done, total)))
    assert calls == [(k, 10) for k in range(1, 11)]
    reference, again = _files(small), _files(tmp_path / "fewer")
    assert again.items() <= reference.items()
    write_streets(
        StreetsConfig(num_source=2, num_target=1, num_val=1, height=64, width=128, seed=4), tmp_path / "other"
    )
    assert all(reference[name] != content for name, content in _files(tmp_path / "other").items())
    assert len(set(reference.values())) == len(reference)


@pytest.mark.slow
def test_every_class_appears_with_a_long_tail() -> None:
    index = {name: k for k, name in enumerate(CLASS_NAMES)}
    for split, (pixels, images) in _default_statistics().items():
        missing = [name for name, k in index.items() if images[k] == 0]
        assert not missing, f"{split} lacks {missing}"
        for name in ("road", "building", "vegetation", "sky", "car"):
            assert images[index[name]] > 0.9, (split, name)
        low = 0.0 if split == "val" else 0.04
        for name in ("train", "bus", "truck", "motorcycle", "rider", "wall"):
            assert low < images[index[name]] < 0.26, (split, name, images[index[name]])
            assert pixels[index[name]] < 0.04, (split, name)
        assert 0 < pixels[IGNORE_INDEX] < 0.08, split


@pytest.mark.slow
def test_domains_agree_in_classes_and_differ_in_looks() -> None:
    statistics = _default_statistics()
    ratio = statistics["source"][0][: len(CLASSES)] / statistics["train"][0][: len(CLASSES)]
    assert (ratio > 0.1).all() and (ratio < 10).all(), dict(zip(CLASS_NAMES, ratio.round(2), strict=True))

    saturation, noise = {}, {}
    for domain in ("source", "target"):
        renders = [render(domain, np.random.default_rng(k), 64, 128) for k in range(30)]
        saturation[domain] = np.mean([np.ptp(image.astype(int), axis=2).mean() for image, _ in renders])
        # Differences of neighbors within the flat sky: texture and blur aside, what remains is the sensor.
        steps = [
            np.abs(np.diff(image[..., 1].astype(int), axis=1))[(labels == SKY)[:, 1:]] for image, labels in renders
        ]
        noise[domain] = np.median(np.concatenate(steps))
    assert saturation["source"] > 2.5 * saturation["target"]
    assert noise["target"] > 1.8 * noise["source"]


@pytest.mark.parametrize("domain", ["source", "target"])
def test_labels_fit_the_picture(domain: str) -> None:
    sky, road, sky_rows, road_rows = [], [], [], []
    for k in range(20):
        image, labels = render(domain, np.random.default_rng(k), 64, 128)
        assert image.shape == (64, 128, 3) and image.dtype == labels.dtype == np.uint8
        is_sky, is_road = labels == SKY, labels == ROAD
        sky.append(image[is_sky].mean())
        road.append(image[is_road].mean())
        sky_rows.append(np.nonzero(is_sky)[0].mean())
        road_rows.append(np.nonzero(is_road)[0].mean())
    assert np.mean(sky) > np.mean(road) + 20
    assert max(sky_rows) < 32 < min(road_rows)


def test_unknown_domain() -> None:
    with pytest.raises(ValueError, match="domain must be 'source' or 'target', got 'night'"):
        render("night", np.random.default_rng(0), 64, 128)
