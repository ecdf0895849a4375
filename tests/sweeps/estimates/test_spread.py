"""Means, deviations and paired differences, by hand."""

from __future__ import annotations

import math

import pytest

from sweeps.estimates.spread import Spread, mean_std_text, paired


def test_mean_and_sample_deviation() -> None:
    found = Spread.of([30.0, 34.0, 32.0])
    assert (found.mean, found.std, found.n) == (32.0, 2.0, 3)
    assert found.error == pytest.approx(2 / math.sqrt(3))
    assert math.isnan(Spread.of([3.0]).error) and math.isnan(Spread.of([]).error)
    assert math.isnan(Spread.of([3.0]).std) and math.isnan(Spread.of([]).mean)


def test_trials_are_compared_seed_by_seed() -> None:
    values, base = {2: 8.0, 0: 3.0, 1: 5.0}, {0: 2.0, 2: 4.0, 7: 1.0}
    assert list(paired(values, base).items()) == [(0, 1.0), (2, 4.0)]
    assert paired(values, base, ratio=True) == {0: 1.5, 2: 2.0}


def test_mean_and_deviation_as_text() -> None:
    assert mean_std_text({0: 30.0, 1: 34.0}, 2) == "32.00 ± 2.83"
    assert mean_std_text({0: 30.0, 1: 34.0}, 3) == "32.00 ± 2.83 (2 of 3)"
    assert [mean_std_text({0: 1.0}, 1), mean_std_text({0: 1.0}, 2), mean_std_text({}, 2)] == [
        "1.00",
        "1.00 (1 of 2)",
        "-",
    ]
