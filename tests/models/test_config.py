from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest
import torch

from pgpc.models import ARCHITECTURES, ModelConfig, build_model


def test_defaults_are_the_papers_network():
    config = ModelConfig()
    assert (config.architecture, config.encoder, config.num_classes) == ("daformer", "mit_b5", 19)
    assert (config.head_channels, config.dropout, config.drop_path) == (256, 0.1, 0.1)


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("architecture", "deformer", "one of 'daformer'"),
        ("encoder", "", "timm backbone"),
        ("num_classes", 1, r"\[2, 255\]"),
        ("num_classes", 256, r"\[2, 255\]"),
        ("head_channels", 0, "at least 1"),
        ("dropout", 1.0, r"\[0, 1\)"),
        ("drop_path", -0.1, r"\[0, 1\)"),
        ("detail_crop", 512, "must be None"),
        ("detail_weight", 1.5, r"\[0, 1\]"),
    ],
)
def test_refuses_what_is_out_of_range(field, value, rule):
    with pytest.raises(ValueError, match=rf"model\.{field} .*{rule}.* got {value!r}"):
        ModelConfig(**{field: value})


def test_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ModelConfig().encoder = "mit_b0"


@pytest.mark.parametrize("detail_crop", [None, 24, 40])
def test_hrda_needs_a_detail_crop(detail_crop):
    with pytest.raises(ValueError, match=rf"multiple of 16, and at least 32, .* got {detail_crop}"):
        ModelConfig(architecture="hrda", detail_crop=detail_crop)


@pytest.mark.parametrize(
    ("architecture", "options", "network"),
    [
        ("daformer", {}, "Segmenter"),
        ("hrda", {"detail_crop": 512}, "HRDA"),
        ("deeplabv2", {"encoder": "resnet18"}, "DeepLabV2"),
    ],
)
def test_every_architecture_is_built(architecture, options, network):
    assert architecture in ARCHITECTURES
    with torch.device("meta"):
        model = build_model(ModelConfig(architecture=architecture, **{"encoder": "mit_b0", **options}))
    assert type(model).__name__ == network


def test_importing_it_loads_neither_torch_nor_timm():
    code = (
        "import sys, pgpc; before = set(sys.modules); from pgpc.models import ModelConfig; "
        "print(sorted({'torch', 'timm'} & (set(sys.modules) - before)), 'timm' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[] False"


def test_one_class_is_told_what_to_do():
    with pytest.raises(ValueError, match=r"but got 1\. To find one class, have two: that class and all else\."):
        ModelConfig(num_classes=1)
