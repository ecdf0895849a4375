"""Networks for images of other than three bands: built, started from weights for RGB, exported and read again."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from pgpc.config import Config, override, to_dict
from pgpc.models import ModelConfig, Segmenter, build_model, load_encoder, load_weights
from pgpc.models.export import export_weights, load_exported

FIRST = "encoder.patch_embed1.proj.weight"


def network(bands: int, seed: int = 0, **options: object) -> Segmenter:
    torch.manual_seed(seed)
    fields = {"encoder": "mit_b0", "head_channels": 8, "num_classes": 5, **options}
    return build_model(ModelConfig(**fields), bands=bands).eval()


@pytest.fixture(scope="module")
def rgb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("weights") / "rgb.pth"
    torch.save(network(3, 1).state_dict(), file)
    return file


@pytest.mark.parametrize("bands", [1, 2, 4, 7])
def test_the_first_convolution_repeats_its_bands_and_keeps_its_sum(
    rgb: Path, bands: int, caplog: pytest.LogCaptureFixture
) -> None:
    model, given = network(bands), torch.load(rgb)
    with caplog.at_level(logging.INFO):
        load_encoder(model, rgb)
    found, of_rgb = model.state_dict()[FIRST], given[FIRST]
    expected = of_rgb.sum(1, keepdim=True)
    if bands > 1:
        expected = torch.stack([of_rgb[:, k % 3] for k in range(bands)], dim=1) * 3 / bands
    torch.testing.assert_close(found, expected)
    others = [name for name in given if name.startswith("encoder.") and name != FIRST]
    assert all(torch.equal(model.state_dict()[name], given[name]) for name in others)
    assert f"those of {bands} band" in caplog.text
    if bands % 3 == 1 and bands == 1:
        gray = torch.rand(1, 1, 64, 64)
        of_gray, of_three = model.encoder(gray), network(3, 1).encoder(gray.expand(-1, 3, -1, -1))
        torch.testing.assert_close(of_gray[0], of_three[0], msg="gray means what it meant, repeated")


def test_weights_for_three_bands_stay_as_they_are(rgb: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = network(3)
    with caplog.at_level(logging.INFO):
        load_encoder(model, rgb)
    assert torch.equal(model.state_dict()[FIRST], torch.load(rgb)[FIRST]) and not caplog.text


def test_a_trained_network_is_never_adapted_unasked(rgb: Path) -> None:
    with pytest.raises(ValueError, match="1 of another shape: encoder.patch_embed1.proj.weight"):
        load_weights(network(4), rgb)


@pytest.mark.parametrize(
    "options",
    [{}, {"architecture": "hrda", "detail_crop": 64}, {"architecture": "deeplabv2", "encoder": "resnet18"}],
    ids=["daformer", "hrda", "deeplabv2"],
)
def test_every_architecture_takes_them_and_refuses_others(options: dict[str, object]) -> None:
    model = network(4, **options)
    with torch.inference_mode():
        assert model(torch.rand(1, 4, 64, 64)).shape[:2] == (1, 5)
        with pytest.raises(ValueError, match=r"shape \(B, 4, H, W\) .* take those of the right bands"):
            model(torch.rand(1, 3, 64, 64))


def test_exports_know_their_bands(tmp_path: Path) -> None:
    changes = {"model.encoder": "mit_b0", "model.head_channels": 8, "data.bands": 4, "model.num_classes": 5}
    config = override(Config(), {**changes, "data.mean": (1.0,) * 4, "data.std": (2.0,) * 4})
    model = network(4)
    export_weights(model, to_dict(config), tmp_path / "w.pth")
    images = torch.rand(1, 4, 64, 64)
    with torch.inference_mode():
        assert torch.equal(load_exported(tmp_path / "w.pth")(images), model(images))
