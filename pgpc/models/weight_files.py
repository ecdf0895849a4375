"""Reading files of weights without running anything that is in them."""

from __future__ import annotations

import os
import pickle
import zipfile
from typing import Any

import torch

WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pth", ".pt")
"""What names of files of weights end with."""


def read_weight_file(path: str | os.PathLike[str]) -> Any:
    """Read a file, onto the CPU.

    Args:
        path: The file.

    Returns:
        What ``torch.save`` was given; or tensors by name, if the file's name ends in ".safetensors".

    Raises:
        ValueError: `path` is a folder; or the file is empty, damaged, or holds more than tensors and plain containers.
        FileNotFoundError: There is no such file.
    """
    path = os.fspath(path)
    if not os.path.exists(path):
        raise FileNotFoundError(f"No file of weights at {path}.")
    if os.path.isdir(path):
        raise ValueError(
            f"weights must come from a file, but {path} is a folder. Give the file in it, for example checkpoint.pt "
            "of a run or model.safetensors."
        )
    if os.path.getsize(path) == 0:
        raise ValueError(f"a weights file must hold tensors, but {path} is empty. Copy or download it again.")
    with open(path, "rb") as file:
        start = file.read(2)
    # What torch.save writes is a zip archive, in old versions a pickle.
    if not path.endswith(".safetensors") and start != b"PK" and start[:1] != b"\x80":
        raise ValueError(
            f"weights must come from a file of torch.save or one that ends in .safetensors, but {path} is neither. "
            "Check the path."
        )
    try:
        if path.endswith(".safetensors"):
            from safetensors.torch import load_file  # comes with timm

            return load_file(path)
        if start == b"PK":
            check_archive(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            "a weights file must hold tensors and plain containers only, since reading anything else could run code, "
            f"but {path} {_found(path)}. If you trust where it comes from, write its tensors alone to a new file: "
            "torch.save(torch.load(OLD, weights_only=False)['state_dict'], NEW)."
        ) from error
    except Exception as error:  # zip, tar, pickle and safetensors raise half a dozen types for a damaged file
        reason = (str(error).splitlines() or ["it ends too early"])[0]
        raise ValueError(
            f"a weights file must be whole, but {path} cannot be read ({type(error).__name__}: {reason}). Copy or "
            "download it again."
        ) from error


def check_archive(path: str | os.PathLike[str]) -> None:
    """Refuse an archive that would grow when it is read: ``torch.save`` never compresses.

    A file of a few megabytes could otherwise ask for any amount of memory.

    Args:
        path: The file.

    Raises:
        ValueError: Its entries are larger than the file.
        zipfile.BadZipFile: It is no archive.
        OSError: It cannot be read.
    """
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    total, size = sum(entry.file_size for entry in entries), os.path.getsize(path)
    if total > size or any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise ValueError(
            f"its {size:,} bytes stand for {total:,}, but files of torch.save are not compressed, so that this one was "
            "not written by it"
        )


def _found(path: str) -> str:
    """Say what a file that was refused holds, found without running it."""
    try:
        names = sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    except Exception:  # of the formats that torch.save wrote in the past, and of other files, it cannot tell
        names = []
    return f"refers to {', '.join(names)}" if names else "holds something else, or is no file of torch.save"
