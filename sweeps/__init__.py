"""Sweeps: searches over the contrast's parameters, and the paper's tables, with Ray Tune and Optuna.

From Python a sweep is run and read by two functions, which do what the command does::

    import sweeps

    results = sweeps.run(preset="streets", trials=10, name="first")
    results = sweeps.read("results/first")
    results.best, results.trial("0003"), results.to_pandas(), results.study
    sweeps.run(resume="first", confirm=3, seeds=(3, 4, 5))  # is the best better than the base?

Neither Ray nor Optuna is loaded before one of them is called.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sweeps.definition.options import SweepOptions
    from sweeps.results.outcome import Results

__all__ = ["read", "run"]


def run(options: SweepOptions | None = None, *, quiet: bool = True, **given: Any) -> Results:
    """Run a sweep, or resume or confirm one, and return what it has come to.

    It is what ``python sweeps/run_ablation.py`` does, and leaves the same files. Ray must not be running in this
    process, and is shut down again at the end. It works in a script, in a notebook and in a thread.

    Ctrl-C, or the interrupt of a notebook's kernel, asks the sweep to stop; what then runs can be resumed. In a thread
    other than the main one nobody hears of it: there a ``time_budget`` is the way to stop.

    Args:
        options: What the sweep is asked for; None for the options in `given`.
        quiet: Whether nothing is written; otherwise, on a terminal there is a table, and elsewhere a line per event.
        given: Options by the names of the fields of :class:`sweeps.definition.options.SweepOptions`, in place of
            `options`; those that are not given have their defaults, or, with ``resume="NAME"``, those of the sweep that
            is resumed. With ``confirm=K`` and fresh ``seeds`` too, the best K trials of that sweep and its base are
            trained anew; what is returned is the confirmation. ``set`` and ``range`` may be mappings from dotted keys
            of the config to values and to ranges, folders and files may be paths, and ``time_budget`` may be seconds or
            a text such as ``"30m"``.

    Raises:
        ValueError: The options do not describe a sweep, or it cannot be run here; the message says what to change.
        OSError: A file that an option names cannot be read.
        KeyboardInterrupt: It was interrupted, and has stopped; the message says how it is resumed.
        sweeps.execution.storage_faults.StorageFault: The results could not be written; the sweep can be resumed.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")  # in notebooks, of bars that nobody draws
        from sweeps import arguments, driver

    return driver.run(arguments.read(options, given), quiet=quiet)


def read(folder: Path | str) -> Results:
    """Return what the sweep in a folder has come to so far, also while it runs.

    Args:
        folder: The sweep's folder, ``results/NAME``.

    Raises:
        ValueError: It is not the folder of a sweep, or a file in it is damaged.
    """
    from sweeps.results.outcome import Results

    return Results.read(folder)
