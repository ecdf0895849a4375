"""The size of a checkpoint, computed and written."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import pgpc
from pgpc.bases import make_base
from pgpc.bases.checkpoint_size import checkpoint_bytes
from pgpc.classes import classes_from_json

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    "preset", ["streets/daformer+pgpc", "streets/source-only", "streets/proca+pgpc", "streets/mic-hrda"]
)
def test_it_is_what_a_run_writes(preset: str, tmp_path: Path) -> None:
    config = pgpc.override(pgpc.preset(preset), {"model.head_channels": 16})
    state = make_base(config).new_state(torch.device("cpu"), classes_from_json(None, config.model.num_classes))
    for parameter in state.student.parameters():
        parameter.grad = torch.zeros_like(parameter)
    state.optimizer.step()
    state.save(tmp_path)
    written = (tmp_path / "checkpoint.pt").stat().st_size
    assert checkpoint_bytes(config) == pytest.approx(written, rel=0.03)


def test_a_network_of_the_papers_size_takes_no_file_of_weights() -> None:
    config = pgpc.override(pgpc.preset("gta5-cityscapes/daformer+pgpc"), {"model.pretrained": "not here"})
    # MiT-B5 and its decoder have 85.2 million parameters, of 4 bytes, four times; the rest is the memory bank.
    assert 1.36e9 < checkpoint_bytes(config) < 1.6e9
