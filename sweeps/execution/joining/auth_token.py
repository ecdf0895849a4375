"""The token of Ray's clusters, which lets whoever has it run code: nobody but its owner may read it."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from sweeps.common.private_ray import default_token_file


def protect_token() -> None:
    """Make Ray's folder and the token in it its owner's alone.

    Ray makes both with the rights that this process gives to new files, which others can often read. The folder is made
    here, so that a token that Ray makes in it is out of reach from the beginning.

    Raises:
        ValueError: Others may read or change the token, and that cannot be helped here.
    """
    default = default_token_file()
    file = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or default)
    if file == default:
        with contextlib.suppress(OSError):  # what cannot be made holds no token; Ray says what it lacks
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _close(file.parent, 0o700)
    _close(file, 0o600)


def _close(path: Path, rights: int) -> None:
    """Take from all others than the owner what they may do with a file or a folder, if it is there."""
    if not _open_to_others(path):
        return
    with contextlib.suppress(OSError):
        path.chmod(rights)
    if left := _open_to_others(path):
        raise ValueError(
            f"{path} must be its owner's alone, since whoever reads Ray's token runs code on the cluster, but its "
            f"rights are {left:04o}. Run `chmod {rights:o} {path}` as its owner, or name another token in "
            "RAY_AUTH_TOKEN_PATH."
        )


def _open_to_others(path: Path) -> int:
    """Return the rights of a file or a folder if others than its owner have any; 0 where it is not there."""
    try:
        rights = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return 0
    return rights if rights & 0o077 else 0
