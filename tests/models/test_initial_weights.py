"""What a network starts from: an encoder, or a whole network as far as it fits."""

from __future__ import annotations

import logging

import pytest
import torch

from pgpc.classes import classes_from_json
from pgpc.models import ModelConfig, build_model
from pgpc.models.export import export_weights
from pgpc.models.pretrained import weights_file
from tests.helpers.runs import untrained_run
from tests.helpers.weights import build_small, equal_entries

NAMES = tuple(f"class {k}" for k in range(5))


def taken(model, donor):
    """Which parts of a network are those of another."""
    fits = equal_entries(model, donor)
    parts = {"encoder": [], "decoder": [], "classifier": []}
    for key, equal in fits.items():
        part = "encoder" if key.startswith("encoder.") else "classifier" if "conv_seg" in key else "decoder"
        parts[part].append((key, equal))
    # The bias of a classifier is zero at the start of any network, and running statistics are those of no image.
    learned = {part: [equal for key, equal in entries if key.endswith("weight")] for part, entries in parts.items()}
    return {part for part, equal in learned.items() if all(equal)}


@pytest.fixture
def donor():
    """A network that differs from a new one in every entry."""
    model = build_small(5)
    with torch.no_grad():
        for value in model.state_dict().values():
            if value.is_floating_point():
                value.add_(0.25)
    return model


@pytest.fixture
def exported(donor, tmp_path):
    export_weights(donor, {"model": {}}, tmp_path / "student.pt", classes_from_json([{"name": n} for n in NAMES]))
    return tmp_path / "student.pt"


def test_a_trained_network_is_taken_whole(donor, exported, caplog):
    caplog.set_level(logging.INFO)
    model = build_small(0, pretrained=str(exported))
    assert taken(model, donor) == {"encoder", "decoder", "classifier"}
    assert all(equal_entries(model, donor).values())
    assert f"{exported}: encoder, decoder and classifier are taken." in caplog.text


def test_classes_that_are_others_leave_the_classifier_at_random(donor, exported, caplog):
    """By their number, and of files that name them by names and order."""
    more = build_small(0, pretrained=str(exported), num_classes=6)
    assert taken(more, donor) == {"encoder", "decoder"}
    assert "The classifier is not, and starts from random weights: it has other classes" in caplog.text
    assert "conv_seg.weight" in caplog.text
    caplog.clear()
    config = ModelConfig(encoder="mit_b0", head_channels=8, num_classes=5, pretrained=str(exported))
    swapped = (NAMES[1], NAMES[0], *NAMES[2:])
    assert taken(build_model(config, swapped), donor) == {"encoder", "decoder"}
    assert "it has the classes class 0, class 1, class 2" in caplog.text
    assert taken(build_model(config, NAMES), donor) == {"encoder", "decoder", "classifier"}


def test_a_decoder_of_another_kind_starts_at_random(donor, exported, caplog):
    model = build_small(0, pretrained=str(exported), head_channels=16)
    assert taken(model, donor) == {"encoder"}
    assert "the encoder is taken. The decoder is not, and starts from random weights: " in caplog.text


def test_an_encoder_that_does_not_fit_is_refused(exported):
    with pytest.raises(ValueError, match=r"the weights must cover the network exactly, .* Check model.architecture"):
        build_small(0, pretrained=str(exported), encoder="mit_b1")


def test_the_folder_of_a_run_stands_for_its_student(tiny, tmp_path, caplog):
    run = tiny("streets/daformer+pgpc")
    untrained_run(tmp_path / "run", run)
    config = ModelConfig(
        encoder=run.model.encoder, head_channels=run.model.head_channels, pretrained=str(tmp_path / "run")
    )
    assert weights_file(config) == tmp_path / "run" / "checkpoint.pt"
    student = torch.load(tmp_path / "run" / "checkpoint.pt")["student"]
    model = build_model(config)
    assert all(torch.equal(value, student[f"segmenter.{name}"]) for name, value in model.state_dict().items())
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"a run's folder, .* There is no checkpoint.pt in it"):
        weights_file(ModelConfig(encoder="mit_b0", pretrained=str(tmp_path / "empty")))
