import subprocess
import sys

import pytest

from pgpc.evaluation.names import NETWORKS, SPACES
from pgpc.evaluation.pixel_features import describe
from pgpc.models.checkpoint import read_checkpoint


def test_networks_are_entries_of_a_checkpoint(contrasted):
    content = read_checkpoint(contrasted)
    assert set(NETWORKS) == {name for name in ("student", "teacher", "contrast") if isinstance(content.get(name), dict)}


def test_every_space_has_a_name_of_its_own(contrasted):
    from pgpc.evaluation.loaded_model import load_model

    student = load_model(contrasted).student
    assert len({describe(student, space) for space in SPACES}) == len(SPACES) == 2


@pytest.mark.parametrize("module", ["names", "formats", "benchmarks"])
def test_what_the_help_of_commands_reads_does_without_torch(module):
    code = f"import sys, pgpc.evaluation.{module}; print({{'torch', 'PIL.Image'}} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
