"""The numbers that presets for one's own data take from packed shards."""

from pathlib import Path

import numpy as np
import pytest

import pgpc
from pgpc.config import flatten
from pgpc.data.shards.pack import pack
from pgpc.presets import own_names
from pgpc.recipes.own_data import Side, box_of, crop_side, look_at, own_config, rank, rare_class_thresholds
from tests.helpers.own_photos import photos


def side(width, height, number=10, class_pixels=None):
    pixels = np.full((number, 2), 10**6) if class_pixels is None else np.array(class_pixels)
    return Side("here", np.tile([[width, height]], (number, 1)), pixels, ("a", "b"), None)


@pytest.mark.parametrize(("num_classes", "r"), [(19, 4), (2, 1), (5, 1), (10, 2), (150, 32)])
def test_r_is_the_share_of_the_classes_that_it_is_in_the_paper(num_classes, r):
    assert rank(num_classes) == r


def test_published_numbers_follow_from_the_sizes_of_the_published_data():
    """GTA5 at 1280 x 720, crops of 512, and for HRDA at twice that: 3000 pixels, and 0.5 or 2 times that in a crop."""
    gta5 = side(1914, 1052)
    for box, crop, share in (((1280, 720), 512, 0.5), ((2560, 1440), 1024, 2.0)):
        pixels, ratio = rare_class_thresholds(gta5, box, crop)
        assert (pixels, ratio) == (pytest.approx(3000, rel=0.01), pytest.approx(share, rel=0.01))
    assert box_of(side(2048, 1024), 512) == (1024, 512)
    assert box_of(side(2048, 1024), 1024) == (2048, 1024)


def test_the_threshold_is_lowered_for_a_class_that_few_images_show_but_not_to_nothing():
    usual, _ = rare_class_thresholds(side(512, 512), (512, 512), 512)
    some = [[10**5, 900]] * 10
    assert rare_class_thresholds(side(512, 512, class_pixels=some), (512, 512), 512)[0] == 899
    hardly = [[10**5, 2]] * 10
    assert rare_class_thresholds(side(512, 512, class_pixels=hardly), (512, 512), 512)[0] == usual // 10
    never = [[10**5, 0]] * 10
    assert rare_class_thresholds(side(512, 512, class_pixels=never), (512, 512), 512)[0] == usual


def test_small_pictures_are_not_made_larger_and_upright_ones_stay_upright():
    assert box_of(side(300, 200), 512) == (300, 200)
    assert box_of(side(3000, 4000), 512) == (512, 683)


def test_a_crop_fits_into_all_but_a_few_pictures_of_both_domains():
    large, small = side(1000, 600), side(128, 160)
    boxes = {"source": (853, 512), "target": (128, 160)}
    assert crop_side(boxes, {"source": large, "target": small}, 512) == 128
    odd = large._replace(sizes=np.concatenate([large.sizes, [[900, 100]]]))
    assert crop_side({"source": (853, 512)}, {"source": odd}, 512) == 512
    with pytest.raises(ValueError, match="at least 64 pixels on their short side.*but got 40"):
        crop_side({"source": (40, 60)}, {"source": side(40, 60)}, 512)


def test_a_preset_takes_its_numbers_from_the_shards_and_the_length(own):
    source, target = own
    settings = {"data.source": source, "data.target": target, "training.iterations": "3000"}
    config = own_config("custom/daformer+pgpc", settings)
    assert config.name == "custom/daformer+pgpc"
    assert (config.data.source, config.data.target, config.data.eval_split) == (source, target, None)
    assert (config.model.num_classes, config.model.pretrained, config.contrast.r) == (3, "imagenet", 1)
    assert (config.data.source_size, config.data.target_size, config.data.crop) == ((300, 200), (128, 160), 128)
    assert (config.adaptation.ignore_top, config.adaptation.ignore_bottom) == (0, 0)
    assert config.data.rare_class_min_pixels < 40  # so that weed, 40 pixels in each image, can be drawn
    assert (config.training.iterations, config.contrast.start, config.contrast.fill) == (3000, 1000, 38)
    assert (config.optimizer.warmup, config.training.eval_interval) == (112, 300)


@pytest.mark.parametrize("name", own_names())
def test_every_base_fits_own_pictures_and_the_contrast_alone_is_added(name, own):
    settings = dict(zip(("data.source", "data.target"), own, strict=True))
    config = own_config(name, {**settings, "training.iterations": 500})
    if name.endswith("+pgpc"):
        base = flatten(own_config(name.removesuffix("+pgpc"), {**settings, "training.iterations": 500}))
        differ = {key for key, value in flatten(config).items() if value != base[key]} - {"name", "contrast.enabled"}
        assert not differ - {"adaptation.enabled", "adaptation.target_weight"}  # what source-only needs for it
    if "hrda" in name:
        assert (config.data.crop, config.model.detail_crop, config.evaluation.window) == (128, 64, 128)


def test_what_is_set_counts_for_the_numbers_that_follow(own):
    settings = {"data.source": own[0], "data.target": own[1], "data.crop": 64, "data.source_size": "150,100"}
    config = own_config("custom/mic-daformer", settings)
    assert (config.data.crop, config.adaptation.mask_block) == (64, 4)
    whole = own_config("custom/mic-daformer", {**settings, "data.source_size": "300,200"})
    assert config.data.rare_class_min_crop_ratio < whole.data.rare_class_min_crop_ratio


def test_random_weights_are_nothing_to_stay_close_to(own):
    settings = {"data.source": own[0], "data.target": own[1]}
    assert own_config("custom/daformer", settings).adaptation.feature_distance_weight > 0
    for said in (None, "none"):
        changed = own_config("custom/daformer", {**settings, "model.pretrained": said})
        assert changed.adaptation.feature_distance_weight == 0


def test_shards_that_are_not_given_are_asked_for_all_at_once():
    with pytest.raises(ValueError, match=r"(?s)2 things are wrong.*data\.source must.*pgpc pack.*data\.target must"):
        own_config("custom/daformer", {})
    with pytest.raises(ValueError, match=r"pgpc\.own_preset\('custom/daformer', source=\.\., target=\.\.\)"):
        pgpc.preset("custom/daformer")


def test_a_split_is_scored_where_all_its_images_have_labels(own, tmp_path):
    assert look_at(own[1]).scored is None  # it has no val split
    root = photos(tmp_path / "both", 2, 64, 64, labels=10)
    (root / "images/train").rename(root / "images/val")
    (root / "labels/train").rename(root / "labels/val")
    photos(root, 2, 64, 64)
    packed = pack("folder", root, tmp_path / "shards", description=Path(own[0]).parent / "classes.json")
    assert packed.manifest.splits["val"].labeled == 2
    assert look_at(str(tmp_path / "shards")).scored == "val"
    (root / "labels/val/0.png").unlink()
    pack("folder", root, tmp_path / "shards", description=Path(own[0]).parent / "classes.json")
    assert look_at(str(tmp_path / "shards")).scored is None


def test_from_python_the_shards_are_arguments(own):
    config = pgpc.own_preset("custom/daformer", source=own[0], target=own[1], changes={"training.iterations": 900})
    assert (config.training.iterations, config.contrast.start, config.model.num_classes) == (900, 300, 3)
