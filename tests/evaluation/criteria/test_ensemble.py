"""Agreement with the ensemble: by hand, by the plain one, and at its limits."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import nn

from pgpc.classes import classes_from_json
from pgpc.data.config import DataConfig, EvaluationConfig
from pgpc.data.shards.reader import Shards
from pgpc.evaluation.criteria.ensemble import Voter, ensemble_agreement
from pgpc.evaluation.criteria.target import measured_images, places
from tests.helpers import criteria as plain
from tests.helpers.models import Colors
from tests.helpers.networks import build

DATA = DataConfig(target_size=(64, 40), loader_workers=0)
WHOLE = EvaluationConfig()
THREE = classes_from_json(None, 3)


class Halves(nn.Module):
    """Gives the left half of every image one probability per class, and the right half others."""

    align_corners = False

    def __init__(self, left, right):
        super().__init__()
        self.left, self.right = (nn.Parameter(torch.tensor(p).log()) for p in (left, right))

    def forward(self, images):
        height, width = (extent // 4 for extent in images.shape[2:])
        is_left = (torch.arange(width) < width // 2).view(1, 1, 1, width)
        return torch.where(is_left, self.left.view(1, -1, 1, 1), self.right.view(1, -1, 1, 1)).expand(1, -1, height, -1)


class Coarse(Colors):
    """The same at half the stride."""

    def forward(self, images):
        return nn.functional.avg_pool2d(super().forward(images), 2)


def voters(networks, data=DATA):
    return [Voter(str(i), network, data, WHOLE) for i, network in enumerate(networks)]


def measured(networks, shards, scratch, count=7):
    return ensemble_agreement(voters(networks), shards, count, THREE, scratch=scratch)


def test_by_hand(targets, tmp_path):
    """On the left the mean is (0.4, 0.6, 0): class 1. On the right (0.3, 0.3, 0.4): class 2, which nobody has most of.

    Against 1 | 2 the first finds 0 | 0, right nowhere; the second 1 | 1, of class 1 half the union and of class 2
    nothing; and the third 1 | 2.
    """
    tiny = 1e-9
    networks = [
        Halves([0.9, 0.1 - tiny, tiny], [0.55, 0.05, 0.4]),
        Halves([0.2, 0.8 - tiny, tiny], [0.05, 0.55, 0.4]),
        Halves([0.1, 0.9 - tiny, tiny], [0.3, 0.3001, 0.3999]),
    ]
    found = measured(networks, targets.bare, tmp_path, count=3)
    assert found == pytest.approx([0, 100 * (1 / 2 + 0) / 2, 100], abs=1e-9)


@torch.no_grad()
@pytest.mark.parametrize("count", [3, 7])
def test_it_is_the_plain_one(targets, tmp_path, count):
    networks = [Colors(), Colors(3.0, shift=0.5), Colors(2.0, shift=-0.4), Colors(0.5, shift=1.5)]
    found = measured(networks, targets.bare, tmp_path, count)
    images = list(measured_images(targets.bare, DATA, places(len(targets.bare), count)))
    p = [[plain.softmax(network(image)[0].numpy()) for image in images] for network in networks]
    roles = [np.mean(of_image, axis=0).argmax(axis=1) for of_image in zip(*p, strict=True)]
    expected = [plain.agreement([(q.argmax(axis=1), role) for q, role in zip(of, roles, strict=True)]) for of in p]
    assert found == pytest.approx(expected)
    assert len(set(expected)) == 4 and all(0 < value < 100 for value in expected)


@pytest.mark.parametrize("networks", [[Colors()], [Colors(2.0, 0.3)] * 3, [Colors(0.0), Colors(0.0)]])
def test_one_network_and_equal_ones_agree_with_themselves(targets, tmp_path, networks):
    assert measured(networks, targets.bare, tmp_path) == [100] * len(networks)


def test_networks_that_collapsed_alike_agree_and_one_that_did_not_stands_alone(targets, tmp_path):
    collapsed = Halves([1.0, 1e-9, 1e-9], [1.0, 1e-9, 1e-9])
    good = Halves([0.9, 0.05, 0.05], [0.05, 0.9, 0.05])
    found = measured([collapsed, collapsed, good], targets.bare, tmp_path)
    assert found[:2] == [100, 100] and found[2] == pytest.approx(25)


@pytest.mark.slow
def test_no_network_and_no_more_than_one_at_a_time(targets, tmp_path):
    assert measured([], targets.bare, tmp_path) == []
    alive = []

    def one_after_the_other() -> Iterator[Voter]:
        for i in range(3):
            gc.collect()
            assert all(network() is None for network in alive)
            network = Colors(1.0 + i)
            alive.append(weakref.ref(network))
            yield Voter(str(i), network, DATA, WHOLE)
            del network

    assert len(ensemble_agreement(one_after_the_other(), targets.bare, 2, THREE, scratch=tmp_path)) == 3


def test_what_lies_on_the_disk_is_as_large_as_it_says(targets, tmp_path):
    measured([Colors(), Colors(2.0)], targets.bare, tmp_path, count=1)
    pixels = np.load(tmp_path / "role-model-0.npy").size
    sizes = {file.name: file.stat().st_size for file in tmp_path.iterdir()}
    assert sizes == {"sums-0.npy": 128 + 12 * pixels, "classes-0.bin": 2 * pixels, "role-model-0.npy": 128 + pixels}


def test_labels_play_no_part(targets, tmp_path, monkeypatch):
    monkeypatch.setattr(Shards, "label_bytes", lambda self, row: pytest.fail("read a label"))
    found = []
    for name, shards in zip("abc", targets, strict=True):
        (tmp_path / name).mkdir()
        found.append(measured([Colors(), Colors(2.0, shift=0.5)], shards, tmp_path / name))
    assert found[0] == found[1] == found[2]


def test_another_stride_is_brought_to_the_first_ones(targets, tmp_path):
    first, second = measured([Colors(2.0), Coarse(2.0)], targets.bare, tmp_path)
    assert 30 < second < first < 100


def test_numbers_that_are_not_finite_are_refused_by_name(targets, tmp_path):
    with pytest.raises(ValueError, match="must give finite numbers, but 1 does not"):
        measured([Colors(), Colors(float("nan"))], targets.bare, tmp_path)


def test_networks_and_random_numbers_are_left_as_they_were(targets, tmp_path):
    student = build(encoder="test_resnet", num_classes=3).train()
    before = {name: value.clone() for name, value in student.state_dict().items()}
    random = torch.get_rng_state()
    assert measured([student], targets.bare, tmp_path, count=2) == [100]
    assert student.training and torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())
