"""Items of a loader arrive, whatever keeps its processes from sharing memory."""

from __future__ import annotations

import contextlib
import functools
import logging
import multiprocessing
import os
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

from pgpc.data import parcels
from pgpc.data.loader import in_order

pytestmark = pytest.mark.timeout(60)  # a lost item is waited for without end


class Item(NamedTuple):
    image: Tensor
    label: Tensor | None
    name: str


class Items(Dataset[Item]):
    """Items of 1 MB, made by processes to which something is done first."""

    def __init__(self, first: Callable[[], object] = lambda: None) -> None:
        self._first = first

    def __getitem__(self, index: int) -> Item:
        self._first()
        return Item(torch.full((2**18,), float(index)), None, str(index))


@pytest.fixture
def warnings(monkeypatch, caplog):
    """What is warned of, by a process that has warned of nothing yet."""
    monkeypatch.setattr(parcels, "_said", set())
    caplog.set_level(logging.WARNING, "pgpc")
    return lambda: [record.getMessage() for record in caplog.records]


def check_all(items):
    count = 0
    for index, item in enumerate(items):
        assert isinstance(item, Item) and item.label is None and item.name == str(index)
        assert item.image.shape == (2**18,) and bool((item.image == index).all())
        count += 1
    assert count == 8


def test_items_are_shared_where_that_works(warnings):
    items = in_order(Items(), range(8), 2)
    first = next(items)
    assert first.image.is_shared() and first.name == "0"
    assert [item.name for item in items] == [str(index) for index in range(1, 8)] and not warnings()


def no_large_files(where):
    """Let this process make no file of 1 MB, nor one in /dev/shm."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, 2**16))


def no_more_files(where):
    """Have this process open all files that it may."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
    with contextlib.suppress(OSError):
        while True:
            os.open(os.devnull, os.O_RDONLY)


def long_temporary_folder(where):
    """Give this process a folder for temporary files in which sockets cannot have an address."""
    multiprocessing.current_process()._config.pop("tempdir", None)
    folder = where / ("x" * 100)
    folder.mkdir(exist_ok=True)
    tempfile.tempdir = str(folder)


@pytest.mark.parametrize(
    ("first", "message"),
    [
        (no_large_files, r"into shared memory \(.*File too large"),
        (no_more_files, r"Too many open files.*ulimit -n"),
        (long_temporary_folder, r"AF_UNIX path too long.*Set TMPDIR to"),
    ],
)
def test_items_arrive_where_nothing_can_be_shared_and_one_line_says_so(first, message, warnings, tmp_path):
    items = Items(functools.partial(first, tmp_path))
    check_all(in_order(items, range(8), 2))
    check_all(in_order(items, range(8), 2))  # as in the next evaluation
    (line,) = warnings()
    assert "come through pipes instead" in line
    assert re.search(message, line)


@pytest.mark.slow
def test_a_small_dev_shm_is_found_before_it_is_full_and_a_full_one_is_named():
    """In a container with 4 MB of it, as root where namespaces are allowed."""
    inside = ["unshare", "--mount", "bash", "-c", 'mount -t tmpfs -o size=4m tmpfs /dev/shm && exec "$@"', "bash"]
    if subprocess.run([*inside, "true"], capture_output=True).returncode:
        pytest.skip("no namespaces of mounts here")
    code = (
        "import logging; from pgpc.data.loader import in_order; from tests.data import test_parcels as t\n"
        "logging.basicConfig(); t.check_all(in_order(t.Items(), range(8), 4)); print('all arrived')\n"
        "with t.contextlib.suppress(OSError), open('/dev/shm/file', 'wb', 0) as file:\n"
        "    while file.write(bytes(4096)): pass\n"
        "with t.pytest.raises(ValueError) as refused: in_order(t.Items(), range(8), 4)\n"
        "print(refused.value)"
    )
    done = subprocess.run([*inside, sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    arrived, refused = done.stdout.splitlines() or (done.stderr, "")
    assert arrived == "all arrived" and "room for their locks in /dev/shm, but it has 0.0 of 4.0 MB free." in refused
    assert "This DataLoader will create" not in done.stderr, "more processes than cores are no mistake"
    assert done.stderr.count("WARNING") == 1 and "of 4 MB free" in done.stderr
    assert "may need 8 MB" in done.stderr and "--shm-size=1g" in done.stderr
