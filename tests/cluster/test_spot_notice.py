"""The notice of AWS that an instance is taken back, from a server that answers as an instance's metadata does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import ClassVar

import pytest
from ray.cluster_utils import Cluster
from ray.core.generated.gcs_pb2 import GcsNodeInfo

from cluster import spot_notice
from cluster.private_ray import DrainNodeReason, GcsClient
from cluster.spot_notice import drain, notice


class Metadata(BaseHTTPRequestHandler):
    """Version 2 of the instance metadata service, which wants a token of its own."""

    action: str | None = None
    broken = False

    def do_PUT(self) -> None:
        self._answer(200, "secret" if self.path == "/api/token" else "")

    def do_GET(self) -> None:
        if self.broken or self.headers["X-aws-ec2-metadata-token"] != "secret":
            self._answer(500 if self.broken else 401, "")
        elif self.path == "/meta-data/spot/instance-action" and self.action:
            self._answer(200, self.action)
        else:
            self._answer(404, "")

    def _answer(self, code: int, text: str) -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def metadata() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_notice(metadata: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert notice(metadata) is None
    monkeypatch.setattr(Metadata, "action", '{"action": "terminate", "time": "2026-11-23T18:05:00Z"}')
    assert notice(metadata) == datetime.fromisoformat("2026-11-23T18:05:00+00:00").timestamp()
    with pytest.raises(OSError):
        notice("http://127.0.0.1:1")
    monkeypatch.setattr(Metadata, "broken", True)
    with pytest.raises(OSError, match="500"):
        notice(metadata)


class Told:
    """Ray's client for two nodes; it notes what it is told."""

    drained: ClassVar[list[tuple[bytes, int, int]]] = []

    def __init__(self, address: str) -> None:
        self.nodes = {name: SimpleNamespace(node_manager_address=f"10.0.0.{i}") for i, name in enumerate((b"a", b"b"))}

    def get_all_node_info(self) -> dict[bytes, SimpleNamespace]:
        return self.nodes

    def drain_node(self, node: str, reason: int, message: str, deadline_timestamp_ms: int) -> tuple[bool, str]:
        self.drained.append((bytes.fromhex(node), reason, deadline_timestamp_ms))
        return True, ""


def test_ray_counts_the_deadline_in_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """An earlier one would end the trials of the node at once."""
    monkeypatch.setattr(Told, "drained", [])
    monkeypatch.setattr(spot_notice, "GcsClient", Told)
    assert not drain("head:6379", "10.0.0.9", 1795000000.5) and Told.drained == []
    assert drain("head:6379", "10.0.0.1", 1795000000.5)
    assert Told.drained == [(b"b", DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION"), 1795000000500)]


def alive(cluster: Cluster) -> list[str]:
    nodes = GcsClient(address=cluster.address).get_all_node_info()
    return [node_id.hex() for node_id, node in nodes.items() if node.state == GcsNodeInfo.ALIVE]


@pytest.mark.slow
def test_ray_hears_of_it_from_the_node_itself() -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        node = cluster.add_node(num_cpus=1, node_ip_address="127.0.0.2")
        assert not drain(cluster.address, "192.0.2.9", time.time() + 60)
        assert drain(cluster.address, node.node_ip_address, time.time() + 60)
        # It has nothing to do and ends at once; the other one stays.
        deadline = time.monotonic() + 30
        while alive(cluster) != [cluster.head_node.node_id]:
            assert time.monotonic() < deadline, alive(cluster)
            time.sleep(0.1)
    finally:
        cluster.shutdown()
