"""Keeping the messages of Ray, Tune and Optuna off the terminal of a sweep, which says itself what happens."""

from __future__ import annotations

import logging
import os
import re
import warnings

from sweeps.common.private_ray import ray_logging
from sweeps.common.quiet import silence_optuna


def silence() -> None:
    """Keep Ray's, Tune's and Optuna's own messages off the terminal; to be called before Ray is started."""
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")
    # The trials write TensorBoard themselves, into their own directories.
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    # Of every lost machine Ray prints the end of a log; a trial that goes on says so itself.
    ray_logging.stdout_deduplicator.skip_re = re.compile("^Raylet is terminated")
    for name in ("ray", "ray.tune", "ray.train", "ray.data"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=r"ray\..*")
    silence_optuna()
