"""What has made the results in a folder: they are of one network, and of one way of segmenting."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from pgpc.config import Config, flatten
from pgpc.evaluation.loaded_model import LoadedModel
from pgpc.runtime.files import write_file
from pgpc.runtime.json_text import parse_json

MADE_BY = "made_by.json"
"""Name of the file that says it, in the folder of the results."""
_DECIDES = (
    *("evaluation.window", "evaluation.window_stride", "data.target_size", "data.fit", "data.interpolation"),
    "training.precision",
)
_DECIDES_SINCE = ("evaluation.scales", "evaluation.flip", "data.mean", "data.std")
"""Keys of the config that change what a network makes of a picture; files of earlier versions, for which the latter
had their defaults, do not have these."""


class Maker(NamedTuple):
    """What has made results.

    Attributes:
        checkpoint: The file of the network, as it was named.
        iteration: The number of optimizer steps it was trained for; None for an export.
        weights: Checksum of the network's weights, wherever they lie.
        settings: The settings that change results, by their keys.
    """

    checkpoint: str
    iteration: int | None
    weights: str
    settings: dict[str, Any]

    @classmethod
    def of(cls, loaded: LoadedModel) -> Maker:
        """Return what makes results with a network and its config."""
        flat = json.loads(json.dumps(flatten(loaded.config)))  # as it is read
        network = loaded.student.segmenter
        settings = {key: flat[key] for key in (*_DECIDES, *_DECIDES_SINCE)}
        return cls(str(loaded.file), loaded.iteration, _checksum(network), settings)

    @classmethod
    def read(cls, folder: Path) -> Maker | None:
        """Return what has made the results in a folder; None where nothing says so, as in those of older versions.

        Raises:
            ValueError: The file that says so is damaged.
        """
        file = folder / MADE_BY
        found: Maker | None = None
        try:
            found = cls(**parse_json(file.read_bytes()))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):
            pass
        if found is None or not isinstance(found.settings, dict):
            raise ValueError(
                f"{file} must say which network has made the results beside it, but is damaged. Choose another folder, "
                "or remove this one."
            )
        defaults = json.loads(json.dumps(flatten(Config())))
        return found._replace(settings={key: defaults[key] for key in _DECIDES_SINCE} | found.settings)

    def write(self, folder: Path) -> None:
        """Write it into the folder of the results."""
        text = json.dumps(self._asdict(), indent=2) + "\n"
        write_file(folder / MADE_BY, lambda file: file.write(text.encode()))

    def check(self, folder: Path) -> bool:
        """Refuse the folder of another maker's results; return whether it says that it is one of this maker's.

        Raises:
            ValueError: It is that of another one, or what says so is damaged.
        """
        before = Maker.read(folder)
        if before is None:
            return False
        if before.weights != self.weights:
            difference = f"were made by the network {before._words()}, and not by {self._words()}"
        elif before.settings != self.settings:
            differences = [
                f"{key}={before.settings.get(key)}, now {self.settings.get(key)}"
                for key in {**before.settings, **self.settings}
                if before.settings.get(key) != self.settings.get(key)
            ]
            difference = f"were made with {'; '.join(differences)}"
        else:
            return True
        raise ValueError(
            f"The results in a folder must be of one network that segments in one way, but those in {folder} "
            f"{difference}. Choose another folder, or remove that one first."
        )

    def _words(self) -> str:
        return self.checkpoint if self.iteration is None else f"{self.checkpoint} (iteration {self.iteration})"


def _checksum(network: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
