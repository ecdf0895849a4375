"""The command under torchrun: several processes on the CPU, each with one thread."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence


def pgpc_on(num_processes: int, arguments: Sequence[str], timeout: float = 240) -> str:
    """Run ``pgpc`` on several processes and return what it has written; one that hangs is ended, and fails."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(num_processes), "-m", "pgpc"]
    process = subprocess.Popen(
        [sys.executable, *launcher, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )
    try:
        out, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:  # the processes wait for one another for ever
        os.killpg(process.pid, signal.SIGKILL)
        raise
    assert process.returncode == 0, errors[-3000:]
    return out
