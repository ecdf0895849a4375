"""Numbers of labels, and their place in manifest and journal."""

from __future__ import annotations

import json

import pytest

from pgpc.data.shards.label_totals import LabelTotals


def test_totals_add_up_and_come_back_from_json() -> None:
    one = LabelTotals(pixels=10, blank_images=1, turned_images=0, rest={"255": 4})
    both = one + LabelTotals(pixels=5, blank_images=0, turned_images=2, rest={"255": 1, "[1, 2, 3]": 2})
    assert both == LabelTotals(pixels=15, blank_images=1, turned_images=2, rest={"255": 5, "[1, 2, 3]": 2})
    assert one + LabelTotals() == one
    assert LabelTotals.from_json(json.loads(json.dumps(both.to_json()))) == both
    with pytest.raises(ValueError, match="numbers of labels"):
        LabelTotals.from_json({**both.to_json(), "rest": {"255": "many"}})
