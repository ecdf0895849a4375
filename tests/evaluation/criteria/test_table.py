"""The table of criteria."""

import subprocess
import sys

from pgpc.evaluation.criteria import table
from pgpc.evaluation.criteria.table import CRITERIA, Needs
from pgpc.evaluation.names import ENSEMBLE, ONLINE_CRITERIA


def test_it_has_every_name_once_and_says_what_each_is():
    assert tuple(criterion.name for criterion in CRITERIA) == ONLINE_CRITERIA
    assert all(criterion.help.endswith(".") and criterion.source for criterion in CRITERIA)
    needs = {criterion.name: criterion.needs for criterion in CRITERIA if criterion.needs is not Needs.NOTHING}
    assert needs == {"source_mIoU": Needs.HELD_OUT_SOURCE, "teacher_agreement": Needs.TEACHER}
    assert table.ENSEMBLE.name == ENSEMBLE and table.ENSEMBLE not in CRITERIA


def test_it_is_read_without_torch():
    code = "import sys, pgpc.evaluation.criteria.table; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
