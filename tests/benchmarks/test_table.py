"""The table of benchmarks."""

from __future__ import annotations

import pytest

from tests.benchmarks.__main__ import BENCHMARKS, FOLDER, Benchmark

PARTS = {"__main__", "gpu", "gpu_step", "obvious", "timing"}
"""What benchmarks are made of."""


def test_the_table_has_every_benchmark_once() -> None:
    modules = {path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("test_")} - PARTS
    assert sorted(benchmark.name for benchmark in BENCHMARKS) == sorted(modules)


def test_a_benchmark_without_its_module_is_refused() -> None:
    with pytest.raises(ValueError, match=r"there is no nothing\.py"):
        Benchmark(name="nothing", help="")
