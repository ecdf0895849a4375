"""Names of timm's models, behind a dot perhaps with the tag of their weights; those of MiT do without timm.

timm is imported where it is needed and not above: that takes seconds, which no process should pay that trains a MiT.
"""

from __future__ import annotations

import difflib
from typing import Any

from torch import nn

from pgpc.models.mit import OUTLINES


def needs_timm(name: str) -> bool:
    """Return whether an encoder is one of timm's, and no MiT of our own."""
    return name not in OUTLINES


def check_name(name: str) -> None:
    """Refuse a name that timm does not know.

    Args:
        name: The value of ``model.encoder``.

    Raises:
        ValueError: There is no such model, or no such weights of it.
    """
    if not needs_timm(name):
        return
    import timm

    import pgpc.models.mit_in_timm  # noqa: F401  (registers mit_b0 .. mit_b5)

    if not timm.is_model(name):
        near = difflib.get_close_matches(name, timm.list_models(), n=5)
        hint = f"Did you mean {', '.join(near)}?" if near else "timm.list_models() lists the known ones."
        raise ValueError(f"model.encoder must be the name of a timm model, but got {name!r}. {hint}")
    pretrained_config(name)


def pretrained_config(name: str) -> Any:
    """Return what timm knows of a model's weights, its ``PretrainedCfg``; None where there is nothing, as of MiT.

    Args:
        name: A model that timm knows.

    Raises:
        ValueError: There are no weights with such a tag.
    """
    if not needs_timm(name):
        return None
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


def is_of_timm(module: nn.Module, class_name: str) -> bool:
    """Return whether a module is of a class of timm, which is not imported for it: where it is not, there is none."""
    kind = type(module)
    return kind.__name__ == class_name and kind.__module__.startswith("timm.")
