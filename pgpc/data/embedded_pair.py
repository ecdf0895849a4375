"""The embedded pair of domains in its cache: generated and packed when it is first asked for."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import os
import shutil
from pathlib import Path

from pgpc.data.config import STREETS_SOURCE, STREETS_TARGET
from pgpc.data.shards.pack import pack
from pgpc.data.streets.config import STREETS_VERSION, StreetsConfig
from pgpc.data.streets.generator import write_streets
from pgpc.runtime.storage import cache_folder, locked

log = logging.getLogger(__name__)

SIDES = {STREETS_SOURCE: ("source", "gta5"), STREETS_TARGET: ("target", "cityscapes")}
"""The folder and the layout of each side, by its name in a config."""


def embedded_pair(config: StreetsConfig) -> Path:
    """Return the folder of the embedded pair, which is generated if it does not exist.

    Args:
        config: Which pair.

    Raises:
        ValueError: The cache cannot be written.
    """
    fields = json.dumps([STREETS_VERSION, dataclasses.asdict(config)], sort_keys=True)
    cache = cache_folder()
    folder = cache / f"streets-{hashlib.sha256(fields.encode()).hexdigest()[:16]}"
    if folder.is_dir():  # complete, for it appears by a rename; a cache on a read-only disk is fine
        return folder
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with locked(cache / f"{folder.name}.lock"):
            if not folder.is_dir():  # another process may have made it while this one waited
                _generate(config, folder)
    except OSError as error:
        raise ValueError(
            f"The embedded pair is generated into a cache on disk, but {cache} cannot be written: {error}. "
            "Set the environment variable PGPC_CACHE to a folder that can be."
        ) from error
    return folder


def _generate(config: StreetsConfig, folder: Path) -> None:
    """Write and pack the pair; `folder` appears when all is done. The caller holds the lock."""
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    count = config.num_source + config.num_target + config.num_val
    log.info("Generating the embedded pair of domains, %d images, once, into %s", count, folder)
    try:
        write_streets(config, partial / "raw")
        for side, layout in SIDES.values():
            pack(layout, partial / "raw" / side, partial / side)
        os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
