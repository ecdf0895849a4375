"""``pgpc init``, and what is trained from what it prints."""

import json

from pgpc.cli import main
from tests.helpers.cli import fails


def test_what_it_prints_is_shown_by_config(capsys, tmp_path):
    main(["init", "streets/daformer+pgpc", "--set", "training.iterations=300"])
    (tmp_path / "mine.json").write_text(capsys.readouterr().out)
    main(["show", "--config", str(tmp_path / "mine.json"), "--set", "seed=3"])
    shown = dict(line.split("=", 1) for line in capsys.readouterr().out.splitlines())
    assert (shown["name"], shown["contrast.start"], shown["seed"]) == ("streets/daformer+pgpc", "100", "3")
    assert json.loads((tmp_path / "mine.json").read_text())["training"]["iterations"] == 300


def test_without_shards_it_says_what_is_needed(capsys):
    error = fails(capsys, "init")
    assert "data.source must name the packed shards" in error
    assert "data.target must name the packed shards" in error
