"""Files that look like pictures, by their names."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from pgpc.data.picture_names import PICTURE_SUFFIXES, by_folder, count_by_folder, files_below, folders_in
from tests.helpers.data_sets import touch


def test_files_are_counted_by_folder_and_ending(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.tif", "a/2.tif", "a/3.tif", "a/4.tif", "a/x.PNG", "b/deep/y.png", "b/notes.txt", "a/.h.png")
    files = list(files_below(tmp_path, PICTURE_SUFFIXES))
    assert by_folder(files, tmp_path) == [
        "a/: 4 .tif (1.tif, 2.tif, 3.tif, ..)",
        "a/: 1 .PNG (x.PNG)",
        "b/deep/: 1 .png (y.png)",
    ]
    assert [folder.name for folder in folders_in(tmp_path)] == ["a", "b"] and folders_in(tmp_path / "c") == []
    assert count_by_folder(Counter({"b": 1, "a": 2})) == "a (2 pictures) and b (1 picture)"
