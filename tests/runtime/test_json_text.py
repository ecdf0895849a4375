"""JSON of somebody else: errors that are caught where the file is known."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgpc.config import from_text
from pgpc.data.shards.manifest import MANIFEST, ShardError, read_manifest
from pgpc.evaluation.made_by import MADE_BY, Maker
from pgpc.recipes.files import read_config_file
from pgpc.runtime.json_text import parse_json
from sweeps.common.latest import read_latest

DEEP = "[" * 100_000


def test_what_is_no_json_is_a_value_error() -> None:
    assert parse_json('{"a": [1]}') == parse_json(b'{"a": [1]}') == {"a": [1]}
    for text in (DEEP, "{", b"\xff"):
        with pytest.raises(ValueError):
            parse_json(text)


def test_files_that_are_nested_too_deeply_are_named(tmp_path: Path) -> None:
    for name in (MANIFEST, MADE_BY, "mine.json", "mine.yaml", "latest.json"):
        (tmp_path / name).write_text(DEEP)
    with pytest.raises(ShardError, match=rf"{MANIFEST} is damaged: it is nested too deeply"):
        read_manifest(tmp_path)
    with pytest.raises(ValueError, match=f"{MADE_BY} must say which network"):
        Maker.read(tmp_path)
    with pytest.raises(ValueError, match="The config in x cannot be read: it is nested too deeply"):
        from_text(DEEP, "x")
    for kind in ("json", "yaml"):
        with pytest.raises(ValueError, match=rf"mine\.{kind} must be {kind.upper()}.* nested too deeply"):
            read_config_file(tmp_path / f"mine.{kind}")
    assert read_latest(tmp_path) is None
