import numpy as np
import pytest

from pgpc.evaluation.benchmarks import BENCHMARKS
from pgpc.evaluation.formats import FORMATS, Segmented
from tests.helpers.pages import page


def test_sizes_of_the_test_sets():
    assert {name: (b.images, b.size) for name, b in BENCHMARKS.items()} == {
        "cityscapes": (1525, (2048, 1024)),
        "darkzurich": (151, (1920, 1080)),
        "acdc": (2000, (1920, 1080)),
    }


@pytest.mark.parametrize("name", BENCHMARKS)
def test_what_a_benchmark_is_made_of_can_be_predicted(name):
    """Its key finds no image but by the whole of its name; its entries need no format that `pgpc predict` has not."""
    benchmark = BENCHMARKS[name]
    assert benchmark.name == name
    assert set(benchmark.formats) <= FORMATS.keys()
    segmented = Segmented(np.zeros((2, 3), np.uint8), np.ones((2, 3), np.float32))
    assert all(pixels.shape == (2, 3) for pixels in benchmark.entries(segmented).values())
    assert ("confidence" in benchmark.formats) == any("confidence" in folder for folder in benchmark.entries(segmented))


def test_the_page_of_networks_names_all_servers():
    *others, last = (benchmark.title for benchmark in BENCHMARKS.values())
    assert f"servers of {', '.join(others)} and {last}" in " ".join(page("networks.md").split())
