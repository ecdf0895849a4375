"""``pgpc init``, and what is trained from what it prints."""

import json

from pgpc.cli import main
from tests.helpers.cli import fails
from tests.helpers.own_photos import photos


def test_what_it_prints_is_shown_by_config(capsys, tmp_path):
    main(["init", "streets/daformer+pgpc", "--set", "training.iterations=300"])
    (tmp_path / "mine.json").write_text(capsys.readouterr().out)
    main(["show", "--config", str(tmp_path / "mine.json"), "--set", "seed=3"])
    shown = dict(line.split("=", 1) for line in capsys.readouterr().out.splitlines())
    assert (shown["name"], shown["contrast.start"], shown["seed"]) == ("streets/daformer+pgpc", "100", "3")
    assert json.loads((tmp_path / "mine.json").read_text())["training"]["iterations"] == 300


def test_it_names_classes_only_of_what_has_labels(capsys, tmp_path):
    (tmp_path / "c.json").write_text('{"classes": [{"name": "top", "ids": [7]}, {"name": "bottom", "ids": [9, 11]}]}')
    for name, labels, flags in (("day", 2, ["--classes", str(tmp_path / "c.json")]), ("night", None, [])):
        raw = photos(tmp_path / "raw" / name, 2, 96, 96, labels=labels)
        main(["pack", "--layout", "folder", "--root", str(raw), "--out", str(tmp_path / name), *flags])
    capsys.readouterr()
    main(["init", "--source", str(tmp_path / "day"), "--target", str(tmp_path / "night")])
    data = json.loads(capsys.readouterr().out)["data"]
    assert data["// source"].startswith("2 images, typically 96 x 96 pixels, classes: top, bottom.")
    assert data["// target"].startswith("2 images, typically 96 x 96 pixels, without labels.")


def test_without_shards_it_says_what_is_needed(capsys):
    error = fails(capsys, "init")
    assert "data.source must name the packed shards" in error
    assert "data.target must name the packed shards" in error
