"""Tests of this package draw from torch's global generator, too; each from the same state."""

import pytest
import torch


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)
