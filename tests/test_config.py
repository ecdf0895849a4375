"""The tree of configs: changing it, writing and reading it, and what is known of its keys."""

import dataclasses
import json
from pathlib import Path

import pytest

import pgpc
from pgpc.config import (
    Config,
    adjustable_keys,
    bookkeeping_keys,
    contrast_phase_keys,
    field_of,
    flatten,
    from_dict,
    from_text,
    hyperparameter_keys,
    override,
    place_keys,
    reference,
    to_dict,
    trunk_length_keys,
    unreported_keys,
)
from pgpc.presets import preset_names
from pgpc.runtime.fields import Phase, fields_of, type_hints


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


def test_all_that_is_wrong_with_a_config_is_told_at_once():
    """Unknown keys, values of another type, out of their range, and not valid together."""
    changes = {
        "contrast.etta": 0.4,
        "contrast.eta": 1.5,
        "contrast.r": "many",
        "data.crop": 700,
        "model.num_classes": 4,
        "training.iterations": 10,
    }
    with pytest.raises(ValueError, match="^6 things are wrong:\n") as error:
        override(Config(), changes)
    for text in (
        "- Unknown config key 'contrast.etta'",
        "- contrast.eta must lie in (0, 1], but got 1.5.",
        "- contrast.r must be a whole number, but got 'many'.",
        "- data.crop must be a positive multiple of 32",
        "- contrast.r must be smaller than model.num_classes (4), or no pixel is a negative, but got 4.",
        "- contrast.start must be smaller than training.iterations (10)",
    ):
        assert text in str(error.value)


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
        ({"proca.enabled": True}, r"Unknown config key 'proca.enabled'. Set base=proca."),
        ({"base": "my bases"}, r"base must be a module of pgpc.bases, .* but got 'my bases'"),
        ({"base": "mine..proca"}, r"base must be a module of pgpc.bases, .* but got 'mine..proca'"),
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


def test_an_unknown_preset_has_a_suggestion_and_a_pointer():
    with pytest.raises(
        ValueError, match=r"'\. Did you mean 'streets/daformer\+pgpc'\? `pgpc show --list` lists all \d+\.$"
    ):
        pgpc.preset("streets/daformer+pgcp")


@pytest.mark.parametrize("base", ["self_training", "proca", "none_such", "my.own.package"])
def test_a_base_is_the_name_of_a_module(base):
    changes = PROCA if base == "proca" else {"base": base}
    assert override(Config(), changes).base == base


@pytest.mark.parametrize(("enabled", "base"), [(True, "proca"), (False, "self_training")])
def test_a_file_from_before_there_was_a_base_is_read(enabled, base):
    tree = to_dict(override(Config(), {**PROCA, "base": base}))
    del tree["base"]
    tree["proca"]["enabled"] = enabled
    assert from_dict(tree) == override(Config(), {**PROCA, "base": base})
    assert tree["proca"]["enabled"] is enabled  # it is left as it was


def test_a_file_with_both_is_of_no_version():
    tree = to_dict(Config())
    tree["proca"]["enabled"] = True
    with pytest.raises(ValueError, match="Unknown config key 'proca.enabled'"):
        from_dict(tree)


def test_every_key_says_when_it_first_acts_and_what_it_means():
    def visit(cls):
        known = fields_of(cls)
        for field in dataclasses.fields(cls):
            if dataclasses.is_dataclass(kind := type_hints(cls)[field.name]):
                visit(kind)
            else:
                assert field.name in known, f"{cls.__name__}.{field.name} is not made with key(..)"
                assert isinstance(known[field.name].phase, Phase)
                assert known[field.name].doc.endswith("."), field.name

    visit(Config)


def test_a_key_out_of_its_range_is_named_by_its_dotted_key():
    for key in flatten(Config()):
        info = field_of(key)
        assert info.key == key
        if info.low is not None and info.kind is int:
            with pytest.raises(ValueError, match=rf"(?m)^(- )?{key} must "):
                override(Config(), {key: info.low - 1})


def test_the_lists_of_keys():
    """Written out, so that a key does not change its list by accident."""
    assert bookkeeping_keys() == (
        "name",
        "data.loader_workers",
        "evaluation.window",
        "evaluation.window_stride",
        "evaluation.window_batch",
        "evaluation.scales",
        "evaluation.flip",
        "evaluation.criteria_images",
        "model.checkpointing",
        "training.eval_interval",
        "training.log_interval",
        "training.keep_best",
    )
    assert unreported_keys() == ("name", "data.loader_workers", "training.keep_best")
    assert place_keys() == (
        "data.source",
        "data.target",
        "data.target_labels",
        "model.pretrained",
        "adaptation.distillation_pretrained",
    )
    assert adjustable_keys() == (
        "contrast.r",
        "contrast.eta",
        "contrast.weight",
        "contrast.anchors",
        "contrast.negatives",
        "contrast.temperature",
        "contrast.quota",
        "contrast.pool",
        "contrast.average",
        "contrast.reliable_by",
        "contrast.reliable_per",
    )
    assert trunk_length_keys() == ("contrast.start", "contrast.fill")
    assert contrast_phase_keys() == (
        "contrast.r",
        "contrast.eta",
        "contrast.weight",
        "contrast.anchors",
        "contrast.negatives",
        "contrast.temperature",
        "contrast.dim",
        "contrast.hidden",
        "contrast.maps",
        "contrast.bank_size",
        "contrast.quota",
        "contrast.pool",
        "contrast.negatives_per",
        "contrast.family",
        "contrast.positive",
        "contrast.negative",
        "contrast.source_negatives",
        "contrast.average",
        "contrast.fill_trains_head",
        "contrast.clear_at_start",
        "contrast.head_warmup",
        "contrast.clean_statistics",
        "contrast.source_from",
        "contrast.reliable_by",
        "contrast.reliable_per",
    )
    conditional = [key for key in flatten(Config()) if field_of(key).phase is Phase.CONDITIONAL]
    assert conditional == ["contrast.enabled", "contrast.anchor_view"]
    assert all(field_of(key).acts for key in conditional)
    groups = ("contrast.", "adaptation.", "optimizer.", "training.", "model.", "seed")
    found = [key for key in flatten(Config()) if key.startswith(groups)]
    assert hyperparameter_keys() == tuple(key for key in found if key != "training.keep_best")


def test_what_a_running_trial_may_change_acts_with_the_contrast():
    assert set(adjustable_keys()) <= set(contrast_phase_keys())


def test_the_config_classes_are_public_and_documented():
    for name in ("Config", "DataConfig", "EvaluationConfig", "StreetsConfig", "ModelConfig", "AdaptationConfig"):
        assert name in pgpc.__all__ and "Attributes:" in getattr(pgpc, name).__doc__
    for name in ("ProCAConfig", "ContrastConfig", "OptimizerConfig", "TrainingConfig"):
        assert name in pgpc.__all__ and "Attributes:" in getattr(pgpc, name).__doc__
    assert "    eta: Share of target pixels" in pgpc.ContrastConfig.__doc__


def test_the_reference_page_is_up_to_date():
    page = Path(__file__).parent.parent / "docs" / "configuration.md"
    assert page.read_text() == reference(), "Generate it: pgpc show --reference > docs/configuration.md"


@pytest.mark.parametrize(
    ("text", "message"),
    [("null", "a config must be an object"), ('{"data": null}', "the group data of a config must"), ("{", "Expecting")],
)
def test_a_config_that_is_none_is_refused_with_its_place(text, message):
    with pytest.raises(ValueError, match=rf"The config in runs/a cannot be read: {message}"):
        from_text(text, "runs/a")
