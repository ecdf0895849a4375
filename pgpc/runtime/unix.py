"""The locks on files that all of this relies on, which the operating system releases when a process ends.

Linux and macOS have them, Windows has not: there whatever imports this module fails, with what to do instead.
"""

from __future__ import annotations

try:
    import fcntl
except ImportError as error:
    raise ImportError(
        "PGPC runs on Linux and macOS, whose locks on files (fcntl) it needs. On Windows install it in WSL, the "
        "Windows Subsystem for Linux.",
        name="fcntl",
    ) from error

__all__ = ["fcntl"]
