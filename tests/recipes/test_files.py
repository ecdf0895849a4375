"""Config files in JSON and YAML."""

import json

import pytest

import pgpc
from pgpc.config import override, to_dict
from pgpc.recipes.files import read_config_file
from pgpc.recipes.recipe import from_file


def test_what_a_run_writes_is_read_back(tmp_path):
    """Its config.json, or its folder; a name that is no preset's is only a label."""
    config = override(pgpc.preset("streets/hrda+pgpc"), {"contrast.eta": 0.4, "data.eval_split": None, "name": "mine"})
    (tmp_path / "config.json").write_text(json.dumps(to_dict(config)))
    assert from_file(tmp_path / "config.json", {}).config == config
    assert from_file(tmp_path, {}).config == config


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '{"preset": "streets", "//": "why", "contrast": {"// eta": "share", "eta": 0.4}, "seed": 3}'),
        ("a.json", '{"preset": "streets", "contrast.eta": 0.4, "seed": 3}'),
        ("a.yaml", "preset: streets\ncontrast:\n  eta: 0.4  # the share\nseed: 3\n"),
        ("a.YML", "preset: streets\ncontrast.eta: 4e-1\nseed: 3\n"),
    ],
)
def test_groups_dots_and_comments_are_read_in_both_formats(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    config = from_file(tmp_path / name, {"contrast.r": "5"}).config
    assert config == override(pgpc.preset("streets"), {"contrast.eta": 0.4, "seed": 3, "contrast.r": 5})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "{", r"a\.json must be JSON, but cannot be read as such: Expecting"),
        ("a.yaml", "a: [", r"a\.yaml must be YAML, but cannot be read as such"),
        ("a.json", "[1]", r"a\.json must hold keys and values, but got \[1\]"),
        ("a.json", '{"preset": 3}', r'"preset" in .*a\.json must be the name of a preset, but got 3'),
        ("a.json", '{"preset": "street"}', r"a\.json: Unknown preset 'street'"),
        (
            "a.json",
            '{"preset": "streets", "contrast": {"etta": 1, "r": 0}}',
            r"(?s)a\.json: 2 things.*etta.*r must",
        ),
    ],
)
def test_a_file_that_is_not_sound_is_named_with_all_that_is_wrong(name, text, message, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        from_file(tmp_path / name, {})


def test_a_file_that_is_missing_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="no config file .*gone.json"):
        read_config_file(tmp_path / "gone.json")
