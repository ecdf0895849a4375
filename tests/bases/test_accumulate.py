"""A step whose images are taken in parts is the step that takes them all at a time."""

from __future__ import annotations

import itertools

import pytest
import torch

from pgpc.adaptation.feature_distance import feature_distance
from pgpc.bases import make_base
from pgpc.bases.passes import Part, mean_over_parts, parts, take
from pgpc.data.batch import TargetImages
from tests.helpers.precision import double_precision, in_double, show_in_double
from tests.helpers.training import SMALL, new_state, open_pair, training_batches

EXACT = {
    **SMALL,  # without batch norm
    "model.dropout": 0.0,
    "training.batch_size": 4,
    "optimizer.lr": 1e-12,  # AdamW makes a full step of the smallest difference
    "optimizer.warmup": 0,
    "adaptation.confidence": 0.0537,
    "adaptation.masked_weight": 1.0,
}
"""Nothing is left that a part sees otherwise than all images do."""
CONTRAST = {"contrast.start": 0, "contrast.fill": 0, "contrast.eta": 0.3}


def with_labels_in_double(batch):
    labeled = batch.labeled_images
    return in_double(batch)._replace(labeled_images=None if labeled is None else labeled.double())


def steps(config, num=2):
    """What comes out of some steps in double precision."""
    with double_precision():
        state, base = new_state(config), make_base(config)
        show_in_double(state)
        for network in (state.student, state.teacher):
            if network is not None and network.projection is not None:  # its batch norm is that of a part
                network.projection.bn = torch.nn.Identity()
        source, target = open_pair(config)
        labeled = target if config.data.target_labels else None
        batches = itertools.islice(base.batches(source, target, labeled), num)
        logs = [base.step(state, with_labels_in_double(batch)) for batch in batches]
    gradients = {name: p.grad for name, p in state.student.named_parameters() if p.grad is not None}
    memory = {} if state.contrast is None else state.contrast.state_dict()
    return logs, gradients, memory


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("streets/source-only", {}),
        ("streets/daformer+pgpc", CONTRAST),
        ("streets/daformer+pgpc", {**CONTRAST, "contrast.anchor_view": "mixed", "data.target_labels": "split:train"}),
    ],
    ids=["source-only", "clean", "mixed and labeled"],
)
def test_parts_give_the_losses_gradients_and_memory_of_the_whole(tiny, name, changes):
    config = {**EXACT, **changes}
    if name == "streets/source-only":
        config.pop("adaptation.masked_weight")
    whole, in_parts = (steps(tiny(name, {**config, "training.accumulate": number})) for number in (1, 2))
    for expected, found in zip(whole[0], in_parts[0], strict=True):
        assert expected.keys() == found.keys()
        for key, value in expected.items():
            torch.testing.assert_close(found[key].double(), value.double(), rtol=1e-9, atol=1e-12, msg=key)
    assert whole[1].keys() == in_parts[1].keys()
    for key, value in whole[1].items():
        assert (in_parts[1][key] - value).norm() <= 1e-9 * value.norm() + 1e-13, key
    assert name == "streets/source-only" or all(log["loss/contrast"] > 0 for log in whole[0])
    assert ("loss/labeled_target" in whole[0][0]) == ("data.target_labels" in changes)
    for key, value in whole[2].items():
        assert torch.equal(in_parts[2][key], value), key


def test_the_feature_distance_of_parts_has_the_mean_of_all_cells():
    """Also where one part has no cell of a thing."""
    g = torch.Generator().manual_seed(0)
    features, initial = (torch.randn(4, 3, 2, 2, generator=g) for _ in range(2))
    labels = torch.full((4, 8, 8), 5)
    labels[1], labels[3, :4] = 0, 1
    settings = {"things": (0, 1), "share": 0.75, "num_classes": 6}
    whole = feature_distance(features, initial, labels, **settings)
    halves = [
        feature_distance(features[i : i + 2], initial[i : i + 2], labels, **settings, first_image=i) for i in (0, 2)
    ]
    torch.testing.assert_close(sum(halves) / 2, whole)
    assert not torch.isclose(halves[0], halves[1])


def test_parts_hold_every_image_once(tiny):
    state = new_state(tiny(changes={"training.batch_size": 4, "training.accumulate": 2}))
    found = parts(state, 4)
    assert [(part.images, part.number, part.total, part.is_last) for part in found] == [
        (slice(0, 2), 0, 2, False),
        (slice(2, 4), 1, 2, True),
    ]
    target = TargetImages(torch.arange(4), torch.arange(4) > 1)
    assert [take(target, part).images.tolist() for part in found] == [[0, 1], [2, 3]]
    assert take(target, Part(slice(None))) is target


def test_scalars_of_a_step_are_means_over_its_parts():
    logs = [{"loss/a": torch.tensor(1.0), "anchors": torch.tensor([2, 4])}, {"loss/a": torch.tensor(2.0),
            "anchors": torch.tensor([2, 4])}]  # fmt: skip
    found = mean_over_parts(logs)
    assert found["loss/a"].item() == 1.5
    assert found["anchors"].tolist() == [2, 4]


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("streets", {"training.accumulate": 3}, r"training.accumulate must divide training.batch_size \(2\)"),
        ("streets", {"training.accumulate": 2, "contrast.source_from": "student"}, "must be 1 with contrast.source_fr"),
    ],
)
def test_parts_that_cannot_be_are_refused(tiny, name, changes, message):
    with pytest.raises(ValueError, match=message):
        tiny(name, changes)


def test_a_base_that_takes_all_at_a_time_says_so(tiny):
    stages = {"proca.source_iterations": 1, "proca.self_training_iterations": 1, "contrast.start": 1}
    config = tiny(
        "streets/proca+pgpc",
        {**stages, "data.crop": None, "data.source_size": (128, 64), "contrast.fill": 0, "training.accumulate": 2},
    )
    with pytest.raises(ValueError, match=r"training.accumulate must be 1 with base=proca, .* but got 2"):
        make_base(config)


def test_processes_and_parts_must_share_a_batch_evenly(tiny):
    config = tiny(changes={"training.batch_size": 4, "training.accumulate": 4})
    with pytest.raises(ValueError, match=r"processes \(2\) times training.accumulate \(4\), but got 4. Set .*=8"):
        next(training_batches(config, world_size=2))
