"""Freed memory that is used again."""

import platform
import subprocess
import sys

import pytest

CODE = """
import resource, sys
from pgpc.runtime.malloc import keep_freed_memory
assert sys.argv[1] == "default" or keep_freed_memory()
faults = []
for _ in range(4):
    bytes(100_000_000).hex  # filled with zeros, then freed
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
    block = bytearray(100_000_000)
    block[::4096] = b"1" * len(block[::4096])
    del block
print(faults[-1] - faults[1])
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_the_system_gives_every_page_only_once():
    faults = {}
    for how in ("default", "kept"):
        run = subprocess.run([sys.executable, "-c", CODE, how], capture_output=True, text=True, check=True)
        faults[how] = int(run.stdout)
    assert faults["kept"] < 1000 < 20_000 < faults["default"]  # of 4096 bytes each
