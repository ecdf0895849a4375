"""Weights that every node of a cluster fetches before the first trial."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgpc.models import ModelConfig
from pgpc.models.hub import HubFile, cached
from sweeps.execution.joining.weights import fetch_here, refuse
from tests.helpers.hub import serve, use


def test_a_node_fetches_once_what_configs_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = [ModelConfig(encoder="mit_b0", pretrained=name) for name in ("imagenet", "hf:nvidia/mit-b0")]
    with serve({"nvidia/mit-b0": {"pytorch_model.bin": b"weights"}}) as hub:
        use(monkeypatch, hub.url, tmp_path)
        assert fetch_here(models) == ""
        assert len(hub.downloads) == 1
        assert cached(HubFile("nvidia/mit-b0")) is not None
        problem = fetch_here([ModelConfig(encoder="mit_b1", pretrained="imagenet")])
    assert "There is no repository 'nvidia/mit-b1'" in problem


def test_nodes_that_cannot_have_them_are_named_with_the_reason() -> None:
    refuse({})
    with pytest.raises(ValueError, match=r"Not all nodes .* On 10\.0\.0\.2, 10\.0\.0\.3: no way out"):
        refuse({"10.0.0.2": "no way out", "10.0.0.3": "no way out"})
