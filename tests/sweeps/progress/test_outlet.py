"""Streams that vanish while a program writes to them."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any, TextIO

from sweeps.progress.outlet import Outlet
from sweeps.progress.plain import Terminal


def pipe() -> tuple[int, TextIO]:
    """The end to read from, and the other."""
    read, write = os.pipe()
    return read, os.fdopen(write, "w", buffering=1)


def test_what_is_read_arrives() -> None:
    read, write = pipe()
    outlet = Outlet(write)
    print("one", file=outlet, flush=True)
    assert os.read(read, 99) == b"one\n" and not outlet.isatty() and outlet.fileno() == write.fileno()
    os.close(read)
    write.close()


def test_a_pipe_that_nobody_reads_is_said_once_and_stops_nothing() -> None:
    read, write = pipe()
    gone: list[int] = []
    terminal = Terminal(Outlet(write, lambda: gone.append(1)), (0,))
    terminal.write("one")
    os.close(read)
    for _ in range(3):
        terminal.say("two")
    assert gone == [1]
    write.close()  # nothing is left in its buffer that would fail now


def test_a_terminal_that_is_closed() -> None:
    master, slave = os.openpty()
    terminal = os.fdopen(slave, "w", buffering=1)
    outlet = Outlet(terminal)
    assert outlet.isatty()
    os.close(master)
    assert outlet.write("one\n") == 4
    outlet.flush()
    assert not outlet.isatty()
    terminal.close()


def test_a_full_disk_takes_words_again_when_it_is_emptied() -> None:
    with open("/dev/full", "w") as full:
        gone: list[int] = []
        outlet = Outlet(full, lambda: gone.append(1))
        print("one", file=outlet, flush=True)
        print("two", file=outlet, flush=True)
        assert not gone
        read, write = pipe()
        os.dup2(write.fileno(), full.fileno())
        print("three", file=outlet, flush=True)
        assert os.read(read, 99).endswith(b"three\n")


def test_a_stream_that_was_closed_or_never_there() -> None:
    _, write = pipe()
    write.close()
    for stream in (write, None):
        outlet = Outlet(stream)
        outlet.write("one")
        outlet.flush()
        assert not outlet.isatty()


def test_what_a_handler_says_in_the_middle_of_a_write_comes_after_it() -> None:
    class Busy:
        """As Python's streams are while they write."""

        def __init__(self) -> None:
            self.text, self.is_busy = "", True

        def write(self, text: str) -> int:
            if self.is_busy:
                raise RuntimeError("reentrant call inside <_io.BufferedWriter name='<stdout>'>")
            self.text += text
            return len(text)

    stream: Any = Busy()
    outlet = Outlet(stream)
    outlet.write("Stopping\n")
    stream.is_busy = False
    outlet.write("next\n")
    assert stream.text == "Stopping\nnext\n"


def test_python_exits_without_complaint_when_its_output_is_gone() -> None:
    code = (
        "import sys; from sweeps.progress.outlet import Outlet\n"
        "out = Outlet(sys.stdout, lambda: print('gone', file=sys.stderr))\n"
        "for i in range(20000): print('line', i, file=out)\n"
        "print('end', file=sys.stderr)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b"gone\nend\n"
    assert process.returncode == 0
