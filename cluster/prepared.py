"""The user's own values for gpu.yaml, and the access to AWS that fills them in.

``prepare.py`` writes the values into a file in the user's home; gpu.yaml names `PreparedAWS` as its provider, which
puts them where they belong each time that the launcher reads the file. So nobody edits gpu.yaml, git sees no change,
and `ray up`, `ray exec`, `ray down` all take the same file. Ray's YAML has neither includes nor variables, and a file
made from a template would be missing before the preparation, which Ray reports without a word of what to do.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(
    0, str(Path(__file__).resolve().parents[1])
)  # imported by a script, it only has the script's folder there
from cluster.spot_first import SpotFirst
from pgpc.runtime.files import write_file

BUCKET = "YOUR-BUCKET"
"""What stands in gpu.yaml for the name of the bucket."""
PREPARE = "python cluster/prepare.py --bucket NAME"
"""The command that a user types before the first `ray up`."""


@dataclasses.dataclass(frozen=True)
class Values:
    """What differs from user to user.

    Attributes:
        region: The AWS region of the cluster.
        bucket: The name of the bucket of data and results.
        max_workers: For each type of gpu.yaml that trains, how many nodes of it there may be.
        made_bucket: Whether the preparation made the bucket, which is then taken away with the rest if it is empty.
    """

    region: str
    bucket: str
    max_workers: Mapping[str, int]
    made_bucket: bool = False

    def __post_init__(self) -> None:
        """Check the values, which a user may have changed by hand.

        Raises:
            ValueError: They are none that AWS would take.
        """
        if not re.fullmatch(r"[a-z]{2,}(-[a-z]+)+-\d", self.region):
            raise ValueError(f"A region must be one of AWS's, such as us-east-1, but got {self.region!r}.")
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", self.bucket):
            raise ValueError(
                "A bucket's name must have 3 to 63 lower-case letters, digits, dots and hyphens, with a letter or "
                f"digit at both ends, but got {self.bucket!r}."
            )
        for name, most in self.max_workers.items():
            if type(most) is not int or most < 0:
                raise ValueError(f"The most nodes of {name} must be a whole number of at least 0, but got {most!r}.")


def values_file() -> Path:
    """Return where the user's values are: ``$XDG_CONFIG_HOME/pgpc/cluster.json``, else below ``~/.config``."""
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "pgpc" / "cluster.json"


def write_values(values: Values) -> Path:
    """Write the user's values, and return where."""
    path = values_file()
    write_file(path, lambda file: file.write(json.dumps(dataclasses.asdict(values), indent=2).encode() + b"\n"))
    return path


def read_values() -> Values | None:
    """Return the user's values, or None before the preparation.

    Raises:
        ValueError: The file is there, but holds something else.
    """
    path = values_file()
    try:
        return Values(**json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} must hold what the preparation writes ({error}). Run `{PREPARE}` again.") from None


def fill(config: dict[str, Any], values: Values) -> dict[str, Any]:
    """Return a launcher's config with the user's values in their places.

    Args:
        config: The config of gpu.yaml, before or after Ray has added its defaults.
        values: The values.
    """
    filled: dict[str, Any] = json.loads(json.dumps(config).replace(BUCKET, values.bucket))
    filled["provider"]["region"] = values.region
    for older in ("head_node", "worker_nodes"):  # there against a warning; no schema of Ray has them
        filled.pop(older, None)
    for name, most in values.max_workers.items():
        if name in filled["available_node_types"]:
            filled["available_node_types"][name]["max_workers"] = most
    return filled


class PreparedAWS(SpotFirst):
    """Ray's own access to AWS with the user's values, and with nodes on demand where there are no spot instances."""

    def __init__(self, provider_config: dict[str, Any], cluster_name: str) -> None:
        """Connect to AWS.

        Args:
            provider_config: The section ``provider`` of the config, filled in.
            cluster_name: The name of the cluster.
        """
        # The launcher keeps what `bootstrap_config` returned and would not ask again, whatever is prepared since.
        if kept := provider_config.pop("_config_cache_path", None):
            Path(kept).unlink(missing_ok=True)
        super().__init__(provider_config, cluster_name)

    @staticmethod
    def fillout_available_node_types_resources(cluster_config: dict[str, Any]) -> dict[str, Any]:
        """Return the config with the user's values and the resources of the node types.

        Raises:
            SystemExit: Nothing is prepared. The launcher would go on after any other exception.
        """
        filled: dict[str, Any] = SpotFirst.fillout_available_node_types_resources(_filled(cluster_config))
        return filled

    @staticmethod
    def bootstrap_config(cluster_config: dict[str, Any]) -> dict[str, Any]:
        """Return the config with the user's values, key pair, subnets and what the launch templates say.

        Raises:
            SystemExit: Nothing is prepared.
        """
        bootstrapped: dict[str, Any] = SpotFirst.bootstrap_config(_filled(cluster_config))
        return bootstrapped


def _filled(config: dict[str, Any]) -> dict[str, Any]:
    try:
        values = read_values()
    except ValueError as error:
        raise SystemExit(f"error: {error}") from None
    if values is None:
        raise SystemExit(f"error: Nothing is prepared for this cluster yet: run `{PREPARE}` first.")
    return fill(config, values)
