"""A cluster of the sweep's own: what it gives to all its processes, and the workers of a trial on it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from sweeps.execution import resources


@pytest.mark.parametrize("variable", ["TMPDIR", "RAY_TMPDIR"])
def test_a_folder_too_deep_for_sockets_is_refused_before_anything_starts(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv(variable, "/tmp/" + "x" * 50)
    with pytest.raises(ValueError, match=rf"{variable} must have at most 4\d bytes, .* but got '/tmp/xx.*RAY_TMPDIR"):
        resources.connect(None)
    assert not ray.is_initialized()


def test_a_short_folder_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, folder in (("TMPDIR", "/tmp/" + "x" * 50), ("RAY_TMPDIR", "/tmp")):  # the second counts
        monkeypatch.setenv(name, folder)
    resources._check_temporary_folder()


def test_a_machine_too_busy_for_ray_is_a_users_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(**options: object) -> None:
        raise Exception("The current node timed out during startup. This could happen because ..")  # as Ray does

    monkeypatch.setattr(ray, "init", start)
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    with pytest.raises(ValueError, match=r"Ray must start .* wait for them, .* more: /tmp/ray/session_latest/logs\."):
        resources.connect(None)


@pytest.mark.parametrize("starting", [True, False])
def test_processes_of_ray_have_sessions_of_their_own_and_others_have_not(starting: bool) -> None:
    """So that a signal to the driver's group does not reach Ray."""
    with resources._sessions_of_their_own() if starting else contextlib.nullcontext():
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(write, str(os.getsid(0)).encode())
            os._exit(0)
    os.waitpid(child, 0)
    assert int(os.read(read, 100)) == (child if starting else os.getsid(0))
    os.close(read)
    os.close(write)


@pytest.fixture(scope="module")
def connected() -> Iterator[str]:
    """The address of a cluster of our own."""
    before = signal.getsignal(signal.SIGTERM)
    resources.connect(None)
    assert signal.getsignal(signal.SIGTERM) is before, "Ray's own would exit in the middle of whatever is done"
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


def test_ray_is_in_no_session_of_ours(connected: str) -> None:
    """A batch system, or a terminal that is closed, sends its signal to the whole group; Ray must outlive it."""
    ours = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal() and is_child(entry)]
    assert len(ours) >= 3, "the server, the node's own process, and the dashboard"
    assert all(os.getsid(pid) not in (os.getsid(0), 0) and os.getpgid(pid) != os.getpgid(0) for pid in ours)
    with subprocess.Popen(["sleep", "60"], preexec_fn=lambda: None) as other:
        assert os.getsid(other.pid) == os.getsid(0), "what is started later stays with us"
        other.kill()


def is_child(entry: Path) -> bool:
    try:
        # The second field is a name in brackets, which may have spaces.
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == os.getpid()
    except OSError:
        return False


def test_the_memory_of_the_head_is_known(connected: str) -> None:
    memory = resources.head_memory()
    assert memory is not None and memory > 1e8
