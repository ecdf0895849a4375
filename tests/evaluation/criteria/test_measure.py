"""Which criteria an evaluation has."""

import numpy as np
import pytest
import torch

from pgpc.classes import classes_from_json
from pgpc.data.config import DataConfig, EvaluationConfig
from pgpc.data.samples import read_image, read_label
from pgpc.data.transforms import whole_image
from pgpc.evaluation.criteria.measure import measure, source_miou
from pgpc.evaluation.criteria.target import Networks
from pgpc.evaluation.names import ONLINE_CRITERIA
from tests.helpers import criteria as plain
from tests.helpers.models import Colors

DATA = DataConfig(source_size=(64, 40), target_size=(32, 32), loader_workers=0)
THREE = classes_from_json(None, 3)


def measured(networks, count=4, **shards):
    evaluation = EvaluationConfig(criteria_images=count)
    return measure(
        networks, **{"target": None, "held_out": None, **shards}, data=DATA, classes=THREE, evaluation=evaluation
    )


def test_all_come_in_the_order_of_their_names(targets):
    found = measured(Networks(Colors(), Colors()), target=targets.bare, held_out=targets.labeled)
    assert tuple(found) == ONLINE_CRITERIA


def test_each_comes_only_with_what_it_needs(targets):
    assert measured(Networks(Colors())) == {}
    assert set(measured(Networks(Colors()), held_out=targets.labeled)) == {"source_mIoU"}
    assert set(measured(Networks(Colors()), 0, target=targets.bare, held_out=targets.labeled)) == {"source_mIoU"}
    assert set(measured(Networks(Colors()), target=targets.bare)) == set(ONLINE_CRITERIA) - {
        "source_mIoU",
        "teacher_agreement",
    }


def test_source_miou_is_that_of_all_labels_at_the_sources_size(targets):
    part = targets.labeled.take([0, 2, 3])
    network = Colors()
    labels, found = [], []
    for row in range(3):
        labels.append(read_label(part, row))
        image = whole_image(read_image(part, row), DATA.source_size, "inside", "bilinear")
        with torch.no_grad():
            logits = torch.nn.functional.interpolate(network(image), labels[-1].shape, mode="bilinear")
        found.append(logits[0].argmax(0).numpy().astype(np.uint8))
    expected = plain.agreement(list(zip(labels, found, strict=True)))
    assert source_miou(network, part, DATA, THREE, EvaluationConfig()) == pytest.approx(expected)
    assert 10 < expected < 60
