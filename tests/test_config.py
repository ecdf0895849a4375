import json

import pytest

import pgpc
from pgpc.config import Config, flatten, from_dict, override, to_dict
from pgpc.presets import preset_names


def test_text_is_converted_to_the_fields_type():
    config = override(
        Config(),
        {
            "contrast.eta": "0.4",
            "contrast.r": "5",
            "contrast.enabled": "False",
            "contrast.negative": "target",
            "data.target_size": "960, 540",
            "model.detail_crop": "none",
            "optimizer.lr": "1e-3",
        },
    )
    assert (config.contrast.eta, config.contrast.r, config.contrast.enabled) == (0.4, 5, False)
    assert config.contrast.negative == ("target",)
    assert config.data.target_size == (960, 540)
    assert config.model.detail_crop is None
    assert config.optimizer.lr == 1e-3


PROCA = {
    "base": "proca",
    "training.iterations": 200_000,
    "contrast.enabled": False,
    "adaptation.feature_distance_weight": 0.0,
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"contrast.etta": 0.4}, r"Unknown config key 'contrast.etta'. Did you mean contrast.eta"),
        ({"eta": 0.4}, r"Unknown config key 'eta'. Did you mean .*contrast.eta"),
        ({"contrast": 0.4}, r"Unknown config key 'contrast'"),
        ({"contrast.eta": 0.0}, r"contrast.eta must lie in \(0, 1\], but got 0.0"),
        ({"contrast.eta": "1.5"}, r"contrast.eta must lie in \(0, 1\], but got 1.5"),
        ({"contrast.eta": "much"}, r"contrast.eta must be a number, but got 'much'"),
        ({"contrast.eta": "nan"}, r"contrast.eta must be a number, but got 'nan'"),
        ({"contrast.r": 19}, r"contrast.r must be smaller than model.num_classes \(19\).*but got 19"),
        ({"contrast.r": 3.5}, r"contrast.r must be a whole number, but got 3.5"),
        ({"contrast.r": True}, r"contrast.r must be a whole number, but got True"),
        ({"contrast.enabled": "yes"}, r"contrast.enabled must be true or false, but got 'yes'"),
        ({"contrast.positive": "mean"}, r"contrast.positive must be one of 'source_prototype', 'target_prototype'"),
        ({"contrast.negative": "source,source"}, r"contrast.negative must name .* each once"),
        ({"contrast.quota": 5000}, r"contrast.quota must not exceed contrast.bank_size \(4096\), but got 5000"),
        ({"contrast.bank_size": 300_000}, r"contrast.bank_size must be at most 262144, up to which .* but got 300000"),
        (
            {"contrast.source_from": "student", "adaptation.target_weight": 0.0},
            r"contrast.source_from must be 'teacher' where .* the source alone, in the last pass, but got 'student'",
        ),
        ({"data.crop": 100}, r"data.crop must be a positive multiple of 32"),
        ({"data.target_size": "1024"}, r"data.target_size must have 2 items, but got '1024'"),
        ({"adaptation.enabled": False}, r"contrast.enabled needs adaptation.enabled"),
        ({"adaptation.ignore_bottom": 600}, r"must leave rows of a crop of 512"),
        ({"model.architecture": "unet"}, r"model.architecture must be one of 'daformer', .*, but got 'unet'"),
        ({"model.architecture": "hrda"}, r"model.detail_crop must be a multiple of 16.*but got None"),
        ({"model.architecture": "hrda", "model.detail_crop": 512, "data.crop": 512}, r"must be smaller than data.crop"),
        ({"model.detail_crop": 256}, r"model.detail_crop must be None for architecture 'daformer'"),
        ({"data.crop": "none"}, r"data.crop=None needs data.fit='exact'"),
        ({"data.crop": None, "data.fit": "exact"}, r"data.crop=None needs data.source_size to equal data.target_size"),
        ({"data.target_margins": "300,300,0,0"}, r"data.target_margins must be .* leave pixels"),
        ({"evaluation.window": 256}, r"evaluation.window_stride must lie in \[1, evaluation.window\] \(256\)"),
        ({"adaptation.mask_share": 2}, r"adaptation.mask_share must lie in \[0, 1\]"),
        ({"base": "proca"}, r"must leave iterations of training.iterations \(40000\), but got 110000"),
        (
            {"base": "proca", "training.iterations": 200_000},
            r"contrast.start must lie in the stage of ProCA that adapts.*20000 to 110000, but got 20000",
        ),
        ({**PROCA, "adaptation.enabled": False}, r"needs adaptation.enabled, for the target, but got False"),
        ({**PROCA, "adaptation.masked_weight": 1.0}, r"needs adaptation.masked_weight=0, .* but got 1.0"),
        ({**PROCA, "training.merge_passes": True}, r"needs training.merge_passes=False.* but got True"),
        ({**PROCA, "model.architecture": "hrda", "model.detail_crop": 256}, r"see an image at one scale"),
        ({"optimizer.lr": "inf"}, r"optimizer.lr must be finite"),
        ({"training.iterations": 20_000}, r"contrast.start must be smaller than training.iterations"),
        ({"training.iterations": 0}, r"training.iterations must be >= 1, but got 0"),
    ],
)
def test_bad_changes_are_refused_with_rule_and_value(changes, message):
    with pytest.raises(ValueError, match=message):
        override(Config(), changes)


def test_changes_are_validated_together():
    config = override(Config(), {"contrast.quota": 8000, "contrast.bank_size": 8000})
    assert config.contrast.quota == 8000


def test_configs_are_frozen_and_override_leaves_the_original_alone():
    config = Config()
    assert override(config, {"seed": 3}).seed == 3
    assert config.seed == 0
    with pytest.raises(AttributeError):
        config.seed = 3


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_survives_json_and_its_own_text(name):
    config = pgpc.preset(name)
    assert config.name == name
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config
    text = {k: ",".join(map(str, v)) if isinstance(v, tuple) else str(v) for k, v in flatten(config).items()}
    assert override(Config(), text) == config


def test_an_unknown_preset_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"Did you mean 'streets/daformer\+pgpc'\? Known presets: streets, .*oracle"):
        pgpc.preset("streets/daformer+pgcp")
