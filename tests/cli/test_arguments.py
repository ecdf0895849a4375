import dataclasses
from argparse import Namespace

import pytest

import pgpc
from pgpc.cli.arguments import config_of
from pgpc.cli.train import _config_of_run
from tests.helpers.training import new_state


def given(*settings):
    return Namespace(preset="streets", config=None, settings=[*settings])


def test_a_resumed_run_that_is_lengthened_keeps_its_other_lengths():
    """They were in proportion to the length that it had."""
    before = config_of(given("training.iterations=120", "optimizer.power=0"))
    start = before.contrast.start
    longer = config_of(given("training.iterations=240", "optimizer.power=0"), resumed=before)
    assert (longer.training.iterations, longer.contrast.start) == (240, start)
    assert longer.training.eval_interval == before.training.eval_interval
    assert config_of(given("training.iterations=240")).contrast.start == pytest.approx(2 * start, abs=1), "of a new run"
    assert config_of(given(), resumed=before) == pgpc.preset("streets"), "the command does not set the length"
    said = config_of(given("training.iterations=240", "contrast.start=50"), resumed=before)
    assert said.contrast.start == 50


def test_the_config_of_a_run_is_read_from_its_checkpoint(tiny, tmp_path):
    config = tiny(changes={"training.iterations": 9})
    assert _config_of_run(str(tmp_path)) is None
    new_state(config).save(tmp_path)
    assert _config_of_run(str(tmp_path)) == config
    (tmp_path / "checkpoint.pt").write_bytes(b"half")
    assert _config_of_run(str(tmp_path)) is None
    (tmp_path / "checkpoint.pt").unlink()
    for step in (1, 2):
        new_state(dataclasses.replace(config, seed=step)).save(tmp_path)
    (tmp_path / "checkpoint.pt").write_bytes(b"half")
    resumed = _config_of_run(str(tmp_path))
    assert resumed is not None and resumed.seed == 1, "it is resumed from the one before"


@pytest.mark.parametrize("text", ["optimizer.power=-1", "optimizer.power=inf"])
def test_the_decay_has_bounds(text):
    with pytest.raises(ValueError, match="optimizer.power must be finite and >= 0"):
        config_of(given(text))
