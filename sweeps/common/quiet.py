"""Keeping the messages of libraries off the terminal of a sweep."""

from __future__ import annotations

import warnings

import optuna


def silence_optuna() -> None:
    """Keep Optuna's own messages off the terminal, and its warnings that something is experimental."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
