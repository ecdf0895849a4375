"""Networks whose weights differ."""

from __future__ import annotations

import copy

import pytest

from pgpc.models import Segmenter
from tests.helpers.weights import build_small


@pytest.fixture(scope="module")
def donor() -> Segmenter:
    return build_small(1)


@pytest.fixture(scope="module")
def blank() -> Segmenter:
    return build_small(2)


@pytest.fixture
def model(blank) -> Segmenter:
    return copy.deepcopy(blank)
