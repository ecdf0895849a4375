"""A training process, as the worker sees it that has asked for it."""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

import ray

from sweeps.execution.slots.fork_server import ADDRESS, ForkServer, Request, ask
from sweeps.execution.slots.training import Failed, Report, WhoIsGoing

PATIENCE = 30.0
"""Seconds that a process which was killed gets to end; the system may have much to clear away."""


class LostTraining(ray.exceptions.RayError):
    """A training process has ended without a word, as one does that the system kills for its memory."""


class _RemoteError(Exception):
    """Shows where an error was raised in a training process."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


class Servers:
    """Finds the fork server of this machine, or starts one for this process."""

    def __init__(self) -> None:
        self._own: ForkServer | None = None

    def ask(self, request: Request, channel: socket.socket) -> socket.socket:
        """Have a training process forked, see `fork_server.ask`."""
        shared = os.environ.get(ADDRESS)
        if shared and self._own is None:
            with contextlib.suppress(OSError):  # it is that of another machine, or has been killed
                return ask(shared, request, channel)
        if self._own is not None:
            with contextlib.suppress(OSError):
                return ask(self._own.address, request, channel)
            self._own.close()
        self._own = ForkServer()
        return ask(self._own.address, request, channel)

    def close(self) -> None:
        """End the server of this process, if there is one."""
        if self._own is not None:
            self._own.close()


class TrainingProcess:
    """A training process that has been asked for.

    Args:
        servers: Where to ask.
        plain: The plain data of a `TrialSpec`.
        rank: The rank of this worker.
        variables: Environment variables beside those of this process.

    Attributes:
        connection: Becomes readable when the process has something to say, or has ended.
        is_waiting: Whether it has reported and waits for an answer.
    """

    def __init__(self, servers: Servers, plain: Mapping[str, Any], rank: int, variables: Mapping[str, str]) -> None:
        request = Request(
            plain=plain,
            environment={**os.environ, **variables},
            folder=os.getcwd(),
            niceness=os.nice(0),
            rank=rank,
        )
        ours, theirs = socket.socketpair()
        with theirs:
            self._control = servers.ask(request, theirs)
        self.connection = Connection(ours.detach())
        self.is_waiting = False

    def receive(self) -> Report | WhoIsGoing | None:
        """Return what the process says, or None where it has ended well.

        Raises:
            LostTraining: It has ended otherwise.
            Exception: What it has met.
        """
        try:
            said: Report | WhoIsGoing | Failed = self.connection.recv()
        except (EOFError, OSError):
            code = self._wait()
            if code == "0":
                return None
            how = f"with exit code {code}" if code else "with the process that had started it"
            raise LostTraining(f"A training process has ended {how}.") from None
        if isinstance(said, Failed):
            raise pickle.loads(said.error) from _RemoteError(said.traceback)
        self.is_waiting = isinstance(said, Report)
        return said

    def answer(self, answer: Any) -> None:
        """Answer the process what it has asked; where it has ended, `receive` will say so."""
        self.is_waiting = False
        with contextlib.suppress(OSError):
            self.connection.send(answer)

    def kill(self) -> None:
        """End the process, and wait until it has ended, so that what it held is free."""
        with contextlib.suppress(OSError):
            self._control.shutdown(socket.SHUT_WR)
        self._wait()

    def _wait(self) -> str:
        """Return the exit code of the process when it has ended; "" where nobody knows it."""
        self._control.settimeout(PATIENCE)
        code = b""
        with contextlib.suppress(OSError):
            while part := self._control.recv(64):
                code += part
        self._control.close()
        self.connection.close()
        return code.decode()
