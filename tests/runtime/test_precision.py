import pytest
import torch

from pgpc.runtime.precision import at_least_float32


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_lower_precisions_become_float32(dtype):
    x = torch.tensor([1.5, -2.0], dtype=dtype)
    raised = at_least_float32(x)
    assert raised.dtype == torch.float32
    assert raised.tolist() == [1.5, -2.0]


def test_double_precision_stays_as_it_is():
    x = torch.tensor([1 / 3], dtype=torch.float64)
    assert at_least_float32(x) is x
