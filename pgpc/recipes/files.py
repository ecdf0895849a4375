"""Config files: what ``pgpc init`` writes and ``--config`` reads, in JSON or YAML.

A file holds values by their keys, in groups (``{"contrast": {"eta": 0.4}}``) or dotted (``{"contrast.eta": 0.4}``), and
may name the ``preset`` that they change. The ``config.json`` of a run is such a file, which has all keys and no preset.
Keys that begin with ``//`` are comments.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pgpc.runtime.checks import check
from pgpc.runtime.json_text import parse_json

COMMENT = "//"
_YAML = (".yaml", ".yml")


class ConfigFile(NamedTuple):
    """What a config file holds.

    Attributes:
        preset: The preset that it changes; None where it changes none.
        values: Its values by dotted key.
    """

    preset: str | None
    values: dict[str, Any]


def read_config_file(path: Path | str) -> ConfigFile:
    """Read a config file; keys and values are not checked yet.

    Args:
        path: The file, YAML where its name says so (.yaml, .yml), else JSON; or a run's folder, with its config.json.

    Raises:
        ValueError: It is no JSON or YAML, or does not hold keys and values.
        OSError: It cannot be read.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        path = path / "config.json"
    if not path.is_file():
        raise FileNotFoundError(f"There is no config file {path}. `pgpc init` writes one.")
    content = _parsed(path)
    check(isinstance(content, Mapping), f"The config file {path} must hold keys and values", content)
    flat = _flat(content, "")
    preset = flat.pop("preset", None)
    check(
        preset is None or isinstance(preset, str),
        f'"preset" in {path} must be the name of a preset',
        preset,
        "`pgpc show --list` lists them.",
    )
    return ConfigFile(preset, flat)


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by dotted key as a tree of groups."""
    tree: dict[str, Any] = {}
    for dotted, value in values.items():
        *groups, leaf = dotted.split(".")
        node = tree
        for group in groups:
            node = node.setdefault(group, {})
        node[leaf] = value
    return tree


def _parsed(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix.lower() not in _YAML:
            return parse_json(text)
        import yaml  # comes with huggingface_hub

        try:
            return yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise ValueError(" ".join(str(error).split())) from error
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
    except ValueError as error:  # also of text that is no UTF-8
        kind = "YAML" if path.suffix.lower() in _YAML else "JSON"
        raise ValueError(f"The config file {path} must be {kind}, but cannot be read as such: {error}.") from error


def _flat(tree: Mapping[Any, Any], prefix: str) -> dict[str, Any]:
    """Return the values of a tree by dotted key, without comments."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        dotted = f"{prefix}{name}"
        if str(name).startswith(COMMENT):
            continue
        if isinstance(value, Mapping):
            found |= _flat(value, f"{dotted}.")
        else:
            found[dotted] = value
    return found
