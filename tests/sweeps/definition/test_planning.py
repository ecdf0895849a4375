"""What a new sweep is around: a preset or a config file, and lengths that follow from its iterations."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import pgpc
from pgpc.config import override
from sweeps.definition.options import SweepOptions
from sweeps.definition.planning import new_sweep
from sweeps.definition.sweep import Sweep


def sweep_of(storage: Path, **options: object) -> Sweep:
    return new_sweep(SweepOptions.from_given({"storage": str(storage), **options}))


def test_iterations_alone_scale_the_lengths_and_the_sweep_says_so(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, set=("training.iterations=280",))
    assert (sweep.config.contrast.start, sweep.config.training.eval_interval) == (84, 70)
    assert len(sweep.notes) == 1
    assert "contrast.start=84 (was 60)" in sweep.notes[0]


def test_a_config_file_takes_the_place_of_the_preset(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"preset": "streets/hrda+pgpc", "contrast": {"temperature": 0.4}}))
    sweep = sweep_of(tmp_path, config=str(file), set=("contrast.eta=0.3",))
    assert sweep.config == override(
        pgpc.preset("streets/hrda+pgpc"), {"contrast.temperature": 0.4, "contrast.eta": 0.3}
    )
    assert sweep.folder.name.startswith("mine-")
    assert sweep.options.start == f"the config {file}"
    assert "contrast.eta" not in sweep.space, "what is set is not searched"
    with pytest.raises(ValueError, match="A preset and --config exclude each other"):
        sweep_of(tmp_path, config=str(file), preset="streets/daformer+pgpc")
    with pytest.raises(ValueError, match="--config must be left out for the tables that compare bases"):
        sweep_of(tmp_path, config=str(file), table=(1,))


def test_names_of_weights_hold_on_every_node_and_files_get_whole_paths(tmp_path: Path) -> None:
    for name in ("imagenet", "hf:owner/name@v1"):
        assert sweep_of(tmp_path, set=(f"model.pretrained={name}",)).config.model.pretrained == name
    assert sweep_of(tmp_path, set=("model.pretrained=w.pth",)).config.model.pretrained == str(Path("w.pth").absolute())
