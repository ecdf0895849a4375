"""What listens at an address is asked whether it is a Ray cluster, and given up soon where it says nothing."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from sweeps.execution.joining import cluster_address
from sweeps.execution.joining.cluster_address import check_cluster_address


@pytest.fixture
def mute() -> Iterator[str]:
    """The address of something that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def other() -> Iterator[str]:
    """The address of something that speaks another language."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            try:
                while True:
                    with listener.accept()[0] as connection:
                        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            except OSError:  # it is over
                pass

        threading.Thread(target=answer, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize("kind", ["mute", "other"])
def test_what_is_no_ray_is_given_up(kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cluster_address.CONNECT_SECONDS + cluster_address.ANSWER_SECONDS < 20
    monkeypatch.setattr(cluster_address, "ANSWER_SECONDS", 0.5)
    address = request.getfixturevalue(kind)
    began = time.monotonic()
    with pytest.raises(ValueError, match=f"No Ray cluster answers at '{address}' .*has not answered as one"):
        check_cluster_address(address)
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(ValueError, match=f"No Ray cluster answers at '{address}'"):
        check_cluster_address("auto")
    assert time.monotonic() - began < 15, "Ray itself takes minutes"


@pytest.mark.parametrize("address", ["host", ":1", "ray://host:1", "host:port", "host:99999"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match=f"--address takes HOST:PORT of a Ray head node, or auto, but got '{address}'"):
        check_cluster_address(address)
