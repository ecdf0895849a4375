"""Names of timm's models, behind a dot perhaps with the tag of their weights."""

from __future__ import annotations

import difflib
from typing import Any


def check_name(name: str) -> None:
    """Refuse a name that timm does not know.

    Args:
        name: The value of ``model.encoder``.

    Raises:
        ValueError: There is no such model, or no such weights of it.
    """
    # Here and not above: timm takes seconds to import, which only building a network is worth.
    import timm

    import pgpc.models.mit  # noqa: F401  (registers mit_b0 .. mit_b5)

    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=5)
        hint = f"Did you mean {', '.join(near)}?" if near else "timm.list_models() lists the known ones."
        raise ValueError(f"model.encoder must be the name of a timm model, but got {name!r}. {hint}")
    pretrained_config(name)


def pretrained_config(name: str) -> Any:
    """Return what timm knows of a model's weights, its ``PretrainedCfg``; None where there is nothing.

    Args:
        name: A model that timm knows.

    Raises:
        ValueError: There are no weights with such a tag.
    """
    import timm

    try:
        return timm.get_pretrained_cfg(name)
    except RuntimeError as error:
        architecture = name.partition(".")[0]
        known = ", ".join(timm.list_pretrained(f"{architecture}.*")) or "no weights"
        raise ValueError(
            f"model.encoder must have a tag of weights that timm knows of {architecture!r} behind the dot, or none, "
            f"but got {name!r}. There are {known}."
        ) from error
