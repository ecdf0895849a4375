"""Whether a Ray cluster answers at an address, found out in seconds; Ray itself takes minutes for it."""

from __future__ import annotations

import socket

import grpc

from sweeps.common.private_ray import CHECK_ALIVE, create_gcs_channel, find_address

CONNECT_SECONDS = 8
"""How long a machine has to accept a connection."""
ANSWER_SECONDS = 10
"""How long what has accepted it has to answer as the head of a cluster does."""
NO_CLUSTER = (
    "No Ray cluster answers at {address!r} ({error}). Give the address that `ray start --head` printed, 'auto' on a "
    "machine of the cluster, or leave --address out to use this machine alone. Where the cluster asks for a token, "
    "export RAY_AUTH_MODE=token and have it in ~/.ray/auth_token."
)
_NO_HEAD = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNIMPLEMENTED)


def check_cluster_address(address: str) -> None:
    """Refuse an address at which no Ray cluster answers.

    A cluster that asks for a token has answered.

    Args:
        address: ``HOST:PORT``, or "auto" for what Ray finds by itself, in RAY_ADDRESS or on this machine.

    Raises:
        ValueError: There is none, or it is no address.
    """
    place = address
    if address == "auto":
        try:
            place = find_address()
        except ConnectionError as error:
            raise ValueError(NO_CLUSTER.format(address=address, error=error)) from None
    host, port = _parts(place)
    try:
        socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise ValueError(NO_CLUSTER.format(address=place, error=error)) from None
    _ask(place)


def _parts(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"--address takes HOST:PORT of a Ray head node, or auto, but got {address!r}.")
    return host.strip("[]"), int(port)


def _ask(address: str) -> None:
    """Ask what listens at an address whether it is a cluster's head."""
    channel = create_gcs_channel(address)
    try:
        # The request is one of a message without contents.
        channel.unary_unary(CHECK_ALIVE)(b"", timeout=ANSWER_SECONDS, wait_for_ready=True)
    except grpc.RpcError as error:
        if error.code() in _NO_HEAD:
            why = f"what listens there has not answered as one within {ANSWER_SECONDS} s"
            raise ValueError(NO_CLUSTER.format(address=address, error=why)) from None
    finally:
        channel.close()
