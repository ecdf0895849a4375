"""From the name of a base in the config to the base: the name is that of its module."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from types import ModuleType

from pgpc.bases.base import Base
from pgpc.config import Config

_ATTRIBUTE = "BASE"
"""Name under which a module offers its subclass of :class:`Base`."""


def make_base(config: Config) -> Base:
    """Return the base that a config names.

    ``config.base`` is a module of :mod:`pgpc.bases`, such as ``"self_training"``, or, with a dot in it, any module that
    can be imported, such as ``"my_project.my_base"``. Either has a subclass of :class:`Base` under the name ``BASE``.

    Raises:
        ValueError: There is no such module, it offers no base, or the base cannot be trained with this config.
    """
    name = config.base if "." in config.base else f"{__package__}.{config.base}"
    module = _import(name)
    found = getattr(module, _ATTRIBUTE, None)
    if not (isinstance(found, type) and issubclass(found, Base)):
        known = ", ".join(base_names())
        problem = "there is no such module" if module is None else f"it has no subclass of Base called {_ATTRIBUTE}"
        raise ValueError(
            f"base must be one of {known}, or with a dot the name of a module that can be imported and has a subclass "
            f"of pgpc.bases.Base called {_ATTRIBUTE}, but got {config.base!r}: {problem}."
        )
    return found(config)


def base_names() -> list[str]:
    """Return the names of the bases of this package; imports all of them."""
    package = importlib.import_module(str(__package__))
    names = [module.name for module in pkgutil.iter_modules(package.__path__)]
    return [name for name in names if hasattr(importlib.import_module(f"{__package__}.{name}"), _ATTRIBUTE)]


def _import(name: str) -> ModuleType | None:
    """Return a module, or None where there is none of this name; what it imports itself must be there."""
    try:
        found = importlib.util.find_spec(name)
    except ModuleNotFoundError:  # a package above it is missing
        found = None
    return None if found is None else importlib.import_module(name)
