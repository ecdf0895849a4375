"""All criteria of the target at once, on pictures: against the plain ones, without labels, by several processes."""

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from pgpc.adaptation.mixing import perturb
from pgpc.classes import classes_from_json
from pgpc.data.choices import image_generator
from pgpc.data.config import DataConfig, EvaluationConfig
from pgpc.data.shards.reader import Shards
from pgpc.data.whole_images import whole_images
from pgpc.evaluation.criteria.neighborhoods import draw_positions
from pgpc.evaluation.criteria.target import JITTER, Networks, Place, TargetMeters, places, target_criteria
from tests.helpers import criteria as plain
from tests.helpers.models import Colors
from tests.helpers.networks import build

DATA = DataConfig(target_size=(64, 40), loader_workers=0)
THREE = classes_from_json(None, 3)
ALL = EvaluationConfig(criteria_images=7)


def measured(networks, shards, evaluation=ALL):
    return target_criteria(networks, shards, DATA, THREE, evaluation=evaluation)


@torch.no_grad()
def plainly(networks, shards, count):
    """The criteria, one image after the other, as their definitions read."""
    student, teacher = networks
    rows = [place.row for place in places(len(shards), count)]
    images = [sample.image for sample in whole_images(shards, DATA, DATA.target_size, labeled=False, rows=rows)]
    logits = [student(image)[0].numpy() for image in images]
    ids = [scores.argmax(0) for scores in logits]
    samples, copies, mixed = [], [], []
    for row, image, scores, found in zip(rows, images, logits, ids, strict=True):
        drawn = draw_positions(scores[0].size, image_generator("criteria pixels", row))
        samples.append(plain.softmax(scores)[drawn])
        copy = perturb(image, jitter=JITTER, blur=True, rngs=[image_generator("criteria copies", row)])
        mirrored = torch.from_numpy(copy.numpy()[..., ::-1].copy())
        copies.append((found, student(mirrored)[0].numpy()[:, :, ::-1].argmax(0)))
    for (a, b), (one, two), (_, of_two) in zip(*map(plain.in_pairs, (images, ids, logits)), strict=True):
        if a.shape != b.shape:
            size = dict(mode="bilinear", align_corners=False)
            b = F.interpolate(b, a.shape[2:], **size)
            two = F.interpolate(torch.from_numpy(of_two)[None], one.shape, **size)[0].numpy().argmax(0)
        mixed.append((one, two, student(0.55 * a + 0.45 * b)[0].numpy().argmax(0)))
    expected = {
        **{name: getattr(plain, name)(logits) for name in ("entropy", "infomax", "corrc")},
        **{name: getattr(plain, name)(samples) for name in ("snd", "bnm")},
        "augmentation_agreement": plain.agreement(copies),
        "mixval": plain.mixval(mixed),
    }
    if teacher is not None:
        others = [teacher(image)[0].numpy().argmax(0) for image in images]
        expected["teacher_agreement"] = plain.agreement(list(zip(ids, others, strict=True)))
    return expected


@pytest.mark.parametrize("count", [4, 7])
def test_values_are_the_plain_ones(targets, count):
    """Seven images: the last has no partner, and one has another shape than its partner."""
    networks = Networks(Colors(), Colors(2.0, shift=0.5))
    found = measured(networks, targets.bare, EvaluationConfig(criteria_images=count))
    expected = plainly(networks, targets.bare, count)
    assert found == pytest.approx(expected, rel=1e-5)
    assert 0 < expected["teacher_agreement"] < 100 and 0 < expected["augmentation_agreement"] < 100
    assert 0.5 < expected["mixval"] < 1


def test_labels_play_no_part(targets, monkeypatch):
    """Other labels and none give the same numbers; and reading one is made an error."""
    assert (targets.labeled.num_labeled, targets.bare.num_labeled) == (7, 0)
    assert targets.labeled.label_bytes(0) != targets.scrambled.label_bytes(0)
    monkeypatch.setattr(Shards, "label_bytes", lambda self, row: pytest.fail("read a label"))
    networks = Networks(Colors(), Colors(2.0, shift=0.5))
    found = measured(networks, targets.labeled)
    assert found == measured(networks, targets.scrambled) == measured(networks, targets.bare)
    assert len(found) == 8


@pytest.mark.parametrize(
    ("student", "expected"),
    [
        pytest.param(
            Colors(0.0),
            {
                "entropy": -1,
                "infomax": 0,
                "corrc": -1,
                "bnm": 1 / 3,
                "augmentation_agreement": 100,
                "mixval": 0.5,
                "teacher_agreement": 100,
            },
            id="uniform",
        ),
        pytest.param(
            Colors(1.0, shift=1e4),
            {
                "entropy": 0,
                "infomax": 0,
                "corrc": -1,
                "bnm": 3**-0.5,
                "augmentation_agreement": 100,
                "mixval": 0.5,
                "teacher_agreement": 100,
            },
            id="one class",
        ),
    ],
)
def test_networks_that_say_the_same_everywhere_reach_the_limits(targets, student, expected):
    found = measured(Networks(student, student), targets.bare, EvaluationConfig(criteria_images=6))
    small = [min(256, height // 4 * width // 4) for height, width in shapes(targets.bare, 6)]
    snd = np.average(np.log(np.array(small) - 1), weights=small)
    assert found == pytest.approx({**expected, "snd": snd}, abs=1e-5)


def shapes(shards, count):
    rows = [place.row for place in places(len(shards), count)]
    return [sample.image.shape[2:] for sample in whole_images(shards, DATA, DATA.target_size, labeled=False, rows=rows)]


def test_what_cannot_be_measured_is_left_out(targets):
    assert "teacher_agreement" not in measured(Networks(Colors()), targets.bare)
    assert "mixval" not in measured(Networks(Colors()), targets.bare, EvaluationConfig(criteria_images=1))
    broken = measured(Networks(Colors(float("nan"))), targets.bare)
    assert set(broken) <= {"augmentation_agreement", "mixval"}


def test_places_are_shared_in_pairs_and_do_not_depend_on_the_processes():
    whole = places(100, 9)
    assert [place.ends_pair for place in whole] == [False, True] * 4 + [False]
    assert len({place.row for place in whole}) == 9
    for world_size in (2, 3, 7):
        shares = [places(100, 9, rank, world_size) for rank in range(world_size)]
        assert sorted(itertools.chain(*shares)) == sorted(whole)
        for share in shares:
            assert all(whole[whole.index(b) - 1] == a for a, b in plain.in_pairs(share) if b is not None)
    assert places(100, 4) == whole[:4]
    assert len(places(3, 9)) == 3


@torch.no_grad()
def test_the_shares_of_two_processes_together_give_what_one_gets(targets):
    """In another order of the images, in which only roundings of double precision can differ."""
    networks = Networks(Colors().eval(), Colors(2.0, shift=0.5).eval())
    meters = TargetMeters(networks, THREE, ALL)
    for rank in (1, 0):
        share = places(7, 7, rank, 2)
        rows = [place.row for place in share]
        samples = whole_images(targets.bare, DATA, DATA.target_size, labeled=False, rows=rows)
        for place, sample in zip(share, samples, strict=True):
            meters.add(sample.image, place)
    assert meters.values() == pytest.approx(measured(networks, targets.bare), rel=1e-12)


def test_networks_and_random_numbers_are_left_as_they_were(targets):
    student = build(encoder="test_resnet", num_classes=3).train()
    student.encoder.eval()
    before = {name: value.clone() for name, value in student.state_dict().items()}
    modes = [module.training for module in student.modules()]
    random = torch.get_rng_state()
    numbers = np.random.get_state()[1].copy()
    assert len(measured(Networks(student, student), targets.bare)) == 8
    assert torch.equal(torch.get_rng_state(), random) and (np.random.get_state()[1] == numbers).all()
    assert [module.training for module in student.modules()] == modes and len(set(modes)) == 2
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())


def test_the_second_of_a_pair_comes_after_the_first():
    meters = TargetMeters(Networks(Colors()), THREE, ALL)
    with pytest.raises(AssertionError, match="the first of a pair"):
        meters.add(torch.zeros(1, 3, 32, 32), Place(0, True))
