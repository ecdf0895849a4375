"""The table of the embedded pair: which runs it has, and how it compares them."""

from __future__ import annotations

import numpy as np

from pgpc.presets import preset
from tests.benchmarks.streets_table import BASES, CONTROL, CONTROLS, ORACLE, config_of, names_of, print_tables


def test_every_base_is_trained_alone_and_with_pgpc_and_two_have_a_control():
    names = names_of((*BASES, ORACLE))
    assert len(names) == 2 * len(BASES) + 1 + len(CONTROLS)
    assert {config_of(name, 0, 200, {}).contrast.weight for name in names if name.endswith(CONTROL)} == {0}
    assert config_of("daformer+other", 3, 200, {"contrast.r": "2"}).contrast.r == 2
    assert config_of("daformer+pgpc", 3, 200, {"contrast.r": "2"}).contrast == preset("streets").contrast
    assert names_of(["hrda"], other=True) == ["hrda", "hrda+pgpc", "hrda+other"]


def test_pairs_of_seeds_are_compared_by_students_t(capsys):
    """Differences 1, 2, 3: mean 2, standard error 1 / sqrt(3), times t of 2 degrees of freedom, 4.303: 2 +- 2.48."""
    base = np.array([10.0, 20.0, 30.0])
    scores = {"daformer": base, "daformer+pgpc": base + np.arange(1, 4), "daformer+control": base + 1}
    print_tables(["daformer"], scores, [0, 1, 2])
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "| daformer | 20.0 ± 10.0 | 22.0 ± 11.0 | +2.00 (-0.48 to +4.48) |"
    assert lines[-1] == "| daformer | 21.0 ± 10.0 | +1.00 (+1.00 to +1.00) | +1.00 (-1.48 to +3.48) |"
