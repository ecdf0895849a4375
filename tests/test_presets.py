"""The named configs, against the figures of the papers that they are named after."""

import dataclasses

import pytest

import pgpc
from pgpc.config import flatten
from pgpc.models import check_model
from pgpc.presets import BASES as BASE_PRESETS
from pgpc.presets import TASKS as TASK_PRESETS
from pgpc.presets import find, preset_names, task_of

ADVERSE = ("cityscapes-darkzurich", "cityscapes-acdc", "bdd100k-day-night")
TASKS = ("gta5-cityscapes", "synthia-cityscapes", *ADVERSE, "loveda-rural-urban")
WITHOUT_MARGINS = ("loveda-rural-urban",)
BASES = ("source-only", "dacs", "daformer", "mic-daformer", "hrda", "mic-hrda", "vfm-uda", "vfm-uda-plusplus", "proca")


def changed(name, to):
    base, other = flatten(pgpc.preset(name)), flatten(pgpc.preset(to))
    return {key: other[key] for key in base if base[key] != other[key] and key != "name"}


def test_every_base_of_every_task_has_a_preset_with_and_without_pgpc():
    expected = {f"{task}/{base}{c}" for task in ("streets", *TASKS) for base in BASES for c in ("", "+pgpc")}
    assert set(preset_names()) == expected | {"streets", "streets/oracle"}


@pytest.mark.parametrize("task", ["streets", *TASKS])
@pytest.mark.parametrize("base", BASES)
def test_pgpc_differs_from_its_base_in_the_contrast_only(task, base):
    expected = {"contrast.enabled": True}
    if base == "source-only":  # the teacher that the contrast needs, but no loss on its pseudo-labels
        expected |= {"adaptation.enabled": True, "adaptation.target_weight": 0.0}
    assert changed(f"{task}/{base}", f"{task}/{base}+pgpc") == expected


def test_the_settings_of_the_paper():
    config = pgpc.preset("gta5-cityscapes/daformer+pgpc")
    contrast, optimizer = config.contrast, config.optimizer
    assert (contrast.r, contrast.eta, contrast.weight, contrast.anchors, contrast.negatives) == (4, 0.5, 0.1, 256, 512)
    assert (contrast.temperature, contrast.start, contrast.dim) == (0.5, 20_000, 256)
    assert (optimizer.lr, optimizer.head_factor, optimizer.warmup, optimizer.weight_decay) == (6e-5, 10, 1500, 0.01)
    assert (config.adaptation.ema_decay, config.adaptation.confidence) == (0.999, 0.968)
    assert (config.model.encoder, config.training.batch_size) == ("mit_b5", 2)


SIZES = {
    ("gta5-cityscapes", False): ((1280, 720), (1024, 512), 512),
    ("synthia-cityscapes", False): ((1280, 760), (1024, 512), 512),
    ("cityscapes-darkzurich", False): ((1024, 512), (960, 540), 512),
    ("cityscapes-acdc", False): ((1024, 512), (960, 540), 512),
    ("bdd100k-day-night", False): ((910, 512), (910, 512), 512),
    ("bdd100k-day-night", True): ((1820, 1024), (1820, 1024), 1024),
    ("loveda-rural-urban", False): ((1024, 1024), (1024, 1024), 512),
    ("loveda-rural-urban", True): ((1024, 1024), (1024, 1024), 1024),
    ("gta5-cityscapes", True): ((2560, 1440), (2048, 1024), 1024),
    ("synthia-cityscapes", True): ((2560, 1520), (2048, 1024), 1024),
    ("cityscapes-darkzurich", True): ((2048, 1024), (1920, 1080), 1024),
    ("cityscapes-acdc", True): ((2048, 1024), (1920, 1080), 1024),
}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("base", ["daformer", "mic-daformer", "hrda", "mic-hrda"])
def test_sizes_margins_and_windows(task, base):
    config = pgpc.preset(f"{task}/{base}")
    high, adverse = "hrda" in base, task in ADVERSE
    data = config.data
    assert (data.source_size, data.target_size, data.crop) == SIZES[task, high]
    assert data.rare_class_min_crop_ratio == (2.0 if high else 0.5)
    assert data.target_margins == ((30, 240, 30, 30) if high and task.endswith("-cityscapes") else (0, 0, 0, 0))
    no_rows = high or (adverse and base == "mic-daformer") or task in WITHOUT_MARGINS
    assert (config.adaptation.ignore_top, config.adaptation.ignore_bottom) == ((0, 0) if no_rows else (15, 120))
    evaluation = config.evaluation
    assert (evaluation.window, evaluation.window_stride) == ((1024, 512) if high else (None, 512))
    assert (config.model.architecture, config.model.detail_crop) == (("hrda", 512) if high else ("daformer", None))


@pytest.mark.parametrize("task", TASKS)
def test_masks(task):
    for base, block in (("mic-daformer", 32), ("mic-hrda", 64)):
        adaptation = pgpc.preset(f"{task}/{base}").adaptation
        assert (adaptation.masked_weight, adaptation.mask_share, adaptation.mask_block) == (1.0, 0.7, block)
        assert adaptation.masked_images == ("both" if task in ADVERSE else "target")
    assert pgpc.preset(f"{task}/hrda").adaptation.masked_weight == 0


def test_proca():
    config = pgpc.preset("gta5-cityscapes/proca")
    data, optimizer = config.data, config.optimizer
    assert (config.model.architecture, config.model.encoder) == ("deeplabv2", "resnet101")
    assert (data.crop, data.fit, data.interpolation, data.source_size) == (None, "exact", "bicubic", (1280, 720))
    assert (optimizer.algorithm, optimizer.lr, optimizer.weight_decay, optimizer.momentum) == ("sgd", 5e-4, 5e-4, 0.9)
    assert (optimizer.power, optimizer.head_factor, optimizer.warmup) == (0.9, 10, 0)
    assert config.training.iterations == 20_000 + 90_000 + 90_000
    assert config.training.batch_size == 4
    assert pgpc.preset("synthia-cityscapes/proca").data.source_size == (1280, 760)


@pytest.mark.parametrize("task", ["streets", *TASKS])
def test_encoders_of_proca_stay_in_place(task):
    model = pgpc.preset(f"{task}/proca").model
    assert model.encoder == ("resnet18" if task == "streets" else "resnet101")
    check_model(dataclasses.replace(model, pretrained=None))


@pytest.mark.parametrize("task", ["streets", *TASKS])
def test_dacs_has_the_settings_of_the_code_of_mic(task):
    """EMA 0.99, a label of any pixel, ClassMix alone; colors and blur as in DAFormer."""
    config = pgpc.preset(f"{task}/dacs")
    adaptation = config.adaptation
    assert (adaptation.ema_decay, adaptation.ignore_top, adaptation.ignore_bottom) == (0.99, 0, 0)
    assert config.data.target_margins == (0, 0, 0, 0)
    assert (adaptation.confidence, adaptation.jitter_strength, adaptation.masked_weight) == (0.968, 0.2, 0)
    assert (adaptation.feature_distance_weight, config.data.rare_class_sampling) == (0, False)


def test_what_the_bases_of_self_training_differ_in():
    uniform = {"data.rare_class_sampling": False, "adaptation.feature_distance_weight": 0.0}
    dacs = {"adaptation.ema_decay": 0.99, "adaptation.ignore_top": 0, "adaptation.ignore_bottom": 0}
    assert changed("gta5-cityscapes/daformer", "gta5-cityscapes/dacs") == {**uniform, **dacs}
    alone = {**uniform, "adaptation.enabled": False}
    assert changed("gta5-cityscapes/daformer", "gta5-cityscapes/source-only") == alone
    assert changed("gta5-cityscapes/daformer", "gta5-cityscapes/mic-daformer") == {"adaptation.masked_weight": 1.0}


def test_the_tables_hold_every_task_and_base():
    assert [task.name for task in TASK_PRESETS] == ["streets", *TASKS]
    assert tuple(base.name for base in BASE_PRESETS) == BASES


@pytest.mark.parametrize("task", ["streets", *TASKS])
@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("pgpc_is_on", [False, True])
def test_a_preset_is_found_by_its_parts(task, base, pgpc_is_on):
    config = find(task=task, base=base, pgpc=pgpc_is_on)
    assert config == pgpc.preset(f"{task}/{base}" + ("+pgpc" if pgpc_is_on else ""))
    assert task_of(config) == task


def test_the_task_of_presets_that_are_no_pair_and_of_changed_configs():
    assert task_of(pgpc.preset("streets")) == task_of(pgpc.preset("streets/oracle")) == "streets"
    changed_config = pgpc.override(pgpc.preset("cityscapes-acdc/hrda"), {"seed": 3})
    assert task_of(changed_config) == "cityscapes-acdc"


def test_unknown_parts_are_refused():
    with pytest.raises(ValueError, match="Did you mean 'streets/daformer'"):
        find(task="streets", base="dafomer", pgpc=False)
    with pytest.raises(ValueError, match="its name must be a preset's, but got 'custom'"):
        task_of(pgpc.Config())


def test_proca_and_vfm_uda_have_bases_of_their_own():
    for name in preset_names():
        base = next((base for base in ("proca", "vfm-uda") if base in name), "self_training")
        assert pgpc.preset(name).base == base.replace("-", "_")


@pytest.mark.parametrize("task", TASKS)
def test_vfm_uda_has_the_settings_of_its_code(task):
    """Its code multiplies the published rate by the root of the batch size, and the encoder's by 0.1."""
    for base, batch_size, decay in (("vfm-uda", 8, 1.0), ("vfm-uda-plusplus", 4, 0.9)):
        config = pgpc.preset(f"{task}/{base}")
        assert (config.data.crop, config.training.batch_size, config.training.iterations) == (1024, batch_size, 40_000)
        optimizer = config.optimizer
        assert optimizer.lr * optimizer.head_factor == pytest.approx(5e-5 * batch_size**0.5)
        assert (optimizer.layer_decay, optimizer.warmup, optimizer.weight_decay) == (decay, 1500, 0.01)
        assert (config.model.encoder, config.model.image_scale) == ("vit_base_patch14_dinov2", 1.1)
        adaptation = config.adaptation
        assert (adaptation.masked_weight, adaptation.mask_share, adaptation.masked_images) == (1.0, 0.7, "target")
        assert (adaptation.mirrored_teacher, adaptation.feature_distance_weight) == (True, 0.0)
        assert (adaptation.ema_decay, adaptation.confidence) == (0.999, 0.968)
    assert adaptation.distillation_encoder == "vit_large_patch14_reg4_dinov2"
