import numpy as np
import pytest

from pgpc.classes import CITYSCAPES, SYNTHIA_13, SYNTHIA_16, classes_from_json
from pgpc.evaluation.scores import Metrics

TWO, THREE = (classes_from_json(None, n) for n in (2, 3))


def test_iou_by_hand():
    """Class 0: 3 of 5; class 1: 2 of 4; class 2 is nowhere."""
    metrics = Metrics(np.array([[3, 1, 0], [1, 2, 0], [0, 0, 0]]), THREE)
    assert metrics.iou[:2].tolist() == pytest.approx([60.0, 50.0])
    assert np.isnan(metrics.iou[2])
    assert metrics.miou == pytest.approx(55.0)
    assert "IoU/class 2" not in metrics.as_dict()


def test_the_means_of_synthia_by_hand():
    """Wall, fence and pole are taken for road: 0, and road is 1 of 4. All others are right, until truck is taken for
    car, which counts against car although truck is in neither mean."""
    assert [CITYSCAPES.names[k] for k in range(19) if k not in SYNTHIA_16] == ["terrain", "truck", "train"]
    assert [CITYSCAPES.names[k] for k in SYNTHIA_16 if k not in SYNTHIA_13] == ["wall", "fence", "pole"]
    assert (len(SYNTHIA_16), len(SYNTHIA_13)) == (16, 13)
    confusion = np.zeros((19, 19), dtype=np.int64)
    for label in range(19):
        if label in (9, 14, 16):
            confusion[label, label] = 7
        elif label in (3, 4, 5):
            confusion[label, 0] = 1
        else:
            confusion[label, label] = 1
    metrics = Metrics(confusion)
    assert metrics.means["mIoU"] == pytest.approx((25 + 12 * 100 + 3 * 100) / 19)
    assert metrics.means["mIoU16"] == pytest.approx((25 + 12 * 100) / 16)
    assert metrics.means["mIoU13"] == pytest.approx((25 + 12 * 100) / 13)
    confusion[14, 13] = 3  # car is now 1 of 4, truck 7 of 10
    metrics = Metrics(confusion)
    assert metrics.means["mIoU"] == pytest.approx((25 + 11 * 100 + 25 + 2 * 100 + 70) / 19)
    assert metrics.means["mIoU16"] == pytest.approx((25 + 11 * 100 + 25) / 16)
    confusion[[6, 7], [6, 7]] = 0  # classes that are nowhere leave the means
    assert Metrics(confusion).means["mIoU13"] == pytest.approx((25 + 9 * 100 + 25) / 11)


def test_other_classes_have_one_mean():
    assert Metrics(np.eye(3, dtype=np.int64), THREE).means == {"mIoU": 100.0}


def test_precision_recall_and_f1_by_hand():
    """Of 4 pixels of class 0 and 6 of class 1, 3 and 2 are right; 4, 3 and 3 are predicted as 0, 1 and 2."""
    metrics = Metrics(np.array([[3, 1, 0], [1, 2, 3], [0, 0, 0]]), THREE)
    assert metrics.recall[:2].tolist() == pytest.approx([75.0, 100 / 3])
    assert np.isnan(metrics.recall[2])
    assert metrics.precision.tolist() == pytest.approx([75.0, 200 / 3, 0.0])
    assert metrics.f1.tolist() == pytest.approx([75.0, 400 / 9, 0.0])
    overall = {"mean_precision": 425 / 9, "mean_recall": 325 / 9, "mean_F1": 1075 / 27, "pixel_accuracy": 50.0}
    assert metrics.overall == pytest.approx(overall)
    iou = metrics.iou / 100
    assert metrics.f1.tolist() == pytest.approx((200 * iou / (1 + iou)).tolist())
    assert metrics.pixel_accuracy == pytest.approx(50.0)
    assert metrics.pixels.tolist() == [4, 6, 0]


def test_nothing_labeled_has_no_score(recwarn):
    metrics = Metrics(np.zeros((3, 3), dtype=np.int64), THREE)
    assert all(map(np.isnan, (metrics.miou, metrics.pixel_accuracy, *metrics.recall, *metrics.overall.values())))
    assert list(metrics.as_dict()) == ["mIoU"]
    assert not recwarn.list
