"""What labels without a pixel of a class mean for training and scores."""

from __future__ import annotations

import pytest

from pgpc.data.label_coverage import Coverage, coverage_notes
from pgpc.data.shards.manifest import ShardError

NAMES = ("bg", "fg", "edge")


def test_labels_without_a_usable_pixel_are_refused() -> None:
    none = Coverage("Scored images (split 'val' of x)", NAMES, (0, 0, 0))
    with pytest.raises(ShardError, match=r"^Scored images \(split 'val' of x\) must have labeled .* of bg, fg, edge"):
        none.check_labeled()
    one = Coverage("Source images", NAMES, (0, 5, 0))
    one.check_labeled()
    with pytest.raises(ShardError, match="at least two classes, .* pixels are of 'fg', and none of bg, edge"):
        one.check_several()
    Coverage("Source images", NAMES, (1, 5, 0)).check_several()
    with pytest.raises(ShardError, match="and there is no other class.* To find one class, list what is not it"):
        Coverage("Source images", ("fg",), (5,)).check_several()


def test_absent_classes_are_told() -> None:
    full, part = Coverage("Source", NAMES, (1, 1, 1)), Coverage("Scored", NAMES, (1, 0, 1))
    assert coverage_notes(full, full) == coverage_notes(full, None) == []
    assert coverage_notes(part, None) == ["No pixel of fg in Scored: no label teaches these classes."]
    (note,) = coverage_notes(full, full, part)
    assert note.startswith("No pixel of fg in Scored: report/mIoU is the mean over the other 2 of 3 classes")
