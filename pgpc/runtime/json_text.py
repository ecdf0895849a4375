"""JSON that somebody else may have written."""

from __future__ import annotations

import json
from typing import Any


def parse_json(text: str | bytes) -> Any:
    """Return what a text in JSON holds.

    Raises:
        ValueError: It is no JSON, or is nested so deeply that Python gives up on it, which is no ValueError by itself
            and would be caught by nobody who says which file it is.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
