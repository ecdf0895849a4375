"""A process that has imported what a training needs, and forks one for each training that it is asked for.

A fresh Python takes seconds to import torch; one that is forked has it. Forking is safe as long as the server has one
thread, and has touched neither an accelerator nor a function of torch that computes with several threads: it only
imports. It reads no random numbers either, so that a run does not depend on those before it.

The server listens on a Unix socket in a folder that only its user can enter. It ends, and all that it has forked with
it, when what has started it closes a pipe between them, be it by dying.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

ADDRESS = "PGPC_FORK_SERVER"
"""Environment variable with the socket of a server that is there already; on other machines there is none."""
_SOCKET = "socket"
_LENGTH = 4  # bytes that give the length of a request
_KILLED_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux
# What a training imports at some time or other; a part that is missing here costs each training its import.
_IMPORTED = (
    "torch._dynamo",  # by the first optimizer
    "torch.nn.parallel",
    "torch.utils.tensorboard",
    "pgpc.training.loop",
    "sweeps.execution.slots.training",
)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a training process is told.

    Attributes:
        plain: The plain data of a `TrialSpec`.
        environment: Its environment variables, all of them.
        folder: Its working directory.
        niceness: Its priority; it is never raised above that of the server.
        rank: The rank of its worker.
    """

    plain: Mapping[str, Any]
    environment: Mapping[str, str]
    folder: str
    niceness: int
    rank: int


class ForkServer:
    """The server, as the process sees it that has started it.

    Args:
        as_fork: Whether it is a fork of this process, which saves it the imports that are done. That is for a process
            which has computed nothing with torch so far, and has one thread; another one starts a fresh Python.
        encoders_of_timm: Whether trainings need timm, which takes seconds to import.
    """

    def __init__(self, *, as_fork: bool = False, encoders_of_timm: bool = True) -> None:
        imported = (*_IMPORTED, *["timm"] * encoders_of_timm)
        self._folder = tempfile.mkdtemp(prefix="pgpc-fork-")  # for its user alone
        self.address = os.path.join(self._folder, _SOCKET)
        lifeline, self._life = os.pipe()
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.address)  # from now on it can be asked; it answers when it has imported everything
            listener.listen()
            if as_fork and threading.active_count() == 1:
                self.pid = _start_as_fork(listener, lifeline, self._life, imported)
            else:
                self.pid = _start_afresh(listener, lifeline, imported)
        os.close(lifeline)

    def close(self) -> None:
        """End the server and all that it has forked."""
        os.close(self._life)
        os.waitpid(self.pid, 0)
        shutil.rmtree(self._folder, ignore_errors=True)  # of one that was killed


def _start_as_fork(listener: socket.socket, lifeline: int, life: int, imported: Sequence[str]) -> int:
    """Start a server in a fork of this process, which alone keeps the end `life` of the pipe; return its id."""
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            os.close(life)
            os.setsid()  # signals to the group of a driver are not meant for it
            for number in (signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            nothing = os.open(os.devnull, os.O_RDWR)
            for stream in (0, 1, 2):
                os.dup2(nothing, stream)
            _serve(listener, lifeline, imported)  # it imports while this process goes on
        os._exit(1)
    return pid


def _start_afresh(listener: socket.socket, lifeline: int, imported: Sequence[str]) -> int:
    """Start a server in a Python of its own, and return its id."""
    code = f"from {__name__} import serve; serve({listener.fileno()}, {lifeline}, {[*imported]})"
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path),
        # Or NumPy's library starts threads; torch is told by each training how many it is to have.
        "OMP_NUM_THREADS": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        pass_fds=[listener.fileno(), lifeline],
        start_new_session=True,
    )
    process.returncode = 0  # it is waited for by its id alone
    return process.pid


def ask(address: str, request: Request, channel: socket.socket) -> socket.socket:
    """Have a server fork a training process.

    Args:
        address: The server's socket.
        request: What the process is told.
        channel: The process's end of a pair of sockets by which it talks to the caller.

    Returns:
        A connection: what is written to it, or its end, kills the process; when the process has ended, its exit code
        comes, as text.

    Raises:
        OSError: There is no such server.
    """
    control = socket.socket(socket.AF_UNIX)
    try:
        control.connect(address)
        content = json.dumps(asdict(request)).encode()
        socket.send_fds(control, [len(content).to_bytes(_LENGTH, "big")], [channel.fileno()])
        control.sendall(content)
    except OSError:
        control.close()
        raise
    return control


def serve(listener: int, lifeline: int, imported: Sequence[str]) -> None:
    """Import everything, then fork what is asked for; this is the program of a server in a Python of its own.

    Args:
        listener: File descriptor of the socket to listen on.
        lifeline: That of a pipe at whose end it ends.
        imported: The modules that it imports.
    """
    _serve(socket.socket(fileno=listener), lifeline, imported)


def _serve(listener: socket.socket, lifeline: int, imported: Sequence[str]) -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in imported:
        with contextlib.suppress(ImportError):  # each training will meet it, and can say so
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # the collector would else touch, and so copy, every page that a forked process shares
    _Server(listener, lifeline).run()


class _Server:
    """The loop of the server.

    Args:
        listener: The socket on which it is asked.
        lifeline: File descriptor of a pipe at whose end it ends.
    """

    def __init__(self, listener: socket.socket, lifeline: int) -> None:
        self._listener, self._lifeline = listener, lifeline
        self._children: dict[int, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._ended, wake = socket.socketpair()
        for end in (self._ended, wake):
            end.setblocking(False)
        self._wake = wake
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(wake.fileno())
        self._selector.register(self._ended, selectors.EVENT_READ)
        self._selector.register(listener, selectors.EVENT_READ)
        self._selector.register(lifeline, selectors.EVENT_READ)

    def run(self) -> NoReturn:
        """Serve until the end."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj == self._lifeline:  # nothing is ever written to it: it has ended
                    self._end()
                elif key.fileobj is self._ended:
                    self._reap()
                elif key.fileobj is self._listener:
                    self._accept()
                else:
                    self._kill(key.data)

    def _accept(self) -> None:
        control, _ = self._listener.accept()
        try:
            head, (number,), _, _ = socket.recv_fds(control, _LENGTH, 1)
            request = Request(**json.loads(_receive(control, int.from_bytes(head, "big"))))
        except (OSError, ValueError):  # who has asked is gone again
            control.close()
            return
        pid = os.fork()
        if pid == 0:
            self._become_training(control, request, number)
        os.close(number)
        with contextlib.suppress(OSError):  # which of the two processes does it first is left to chance
            os.setpgid(pid, pid)
        self._children[pid] = control
        self._selector.register(control, selectors.EVENT_READ, data=pid)

    def _become_training(self, control: socket.socket, request: Request, number: int) -> NoReturn:
        """Train in this process, which was just forked, and end it."""
        code = 1
        with contextlib.suppress(BaseException):
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._selector.close()
            for end in (self._listener, self._ended, self._wake, control, *self._children.values()):
                end.close()
            os.close(self._lifeline)
            _end_with_parent()
            os.setpgid(0, 0)  # to be killed with all that it starts
            os.environ.clear()
            os.environ.update(request.environment)
            os.chdir(request.folder)
            os.nice(max(0, request.niceness - os.nice(0)))
            training = importlib.import_module("sweeps.execution.slots.training")
            code = training.run(request.plain, request.rank, number)
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)  # what is registered to be done at the end is the server's

    def _kill(self, pid: int) -> None:
        """Kill a training whose worker has asked for it, or is gone."""
        self._selector.unregister(self._children[pid])
        _kill_group(pid)

    def _reap(self) -> None:
        """Say of trainings that have ended how they have."""
        with contextlib.suppress(BlockingIOError):
            while self._ended.recv(1024):
                pass
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            control = self._children.pop(pid)  # it starts nothing else
            with contextlib.suppress(KeyError):
                self._selector.unregister(control)
            _kill_group(pid)  # what it may have started
            with contextlib.suppress(OSError):
                control.sendall(str(os.waitstatus_to_exitcode(status)).encode())
            control.close()

    def _end(self) -> NoReturn:
        for pid in self._children:
            _kill_group(pid)
        shutil.rmtree(os.path.dirname(self._listener.getsockname()), ignore_errors=True)
        os._exit(0)


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _end_with_parent() -> None:
    """Have the system kill this process when its parent dies, where it can; else it ends at its next report."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_KILLED_WITH_PARENT, signal.SIGKILL)


def _receive(connection: socket.socket, length: int) -> bytes:
    """Return so many bytes.

    Raises:
        OSError: The other end was closed before.
    """
    content = b""
    while len(content) < length:
        part = connection.recv(length - len(content))
        if not part:
            raise ConnectionError("The request was cut short.")
        content += part
    return content
