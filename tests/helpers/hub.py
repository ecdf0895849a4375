"""A small Hugging Face hub on this machine: repositories in memory, behind the requests that the hub's client makes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest
from huggingface_hub import constants

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """The server.

    Args:
        repositories: Contents of the files by name, by repository.
    """

    def __init__(self, repositories: Mapping[str, Mapping[str, bytes]]) -> None:
        self.repositories = {name: dict(files) for name, files in repositories.items()}
        self.requests: list[str] = []
        """Method and path of every request."""
        self.spoiled: set[str] = set()
        """Names of files of which other bytes are sent than their checksum says."""
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                hub.answer(self, body=False)

            def do_GET(self) -> None:
                hub.answer(self, body=True)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    @property
    def downloads(self) -> list[str]:
        """The files whose contents were asked for."""
        return [request for request in self.requests if request.startswith("GET ") and "/resolve/" in request]

    def answer(self, request: BaseHTTPRequestHandler, *, body: bool) -> None:
        path = unquote(request.path.partition("?")[0])
        self.requests.append(f"{request.command} {path}")
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            self._describe(request, "/".join(parts[2:4]), parts[5] if len(parts) > 5 else "main")
        elif len(parts) > 4 and parts[2] == "resolve":
            self._send(request, "/".join(parts[:2]), parts[3], "/".join(parts[4:]), body=body)
        else:
            self._reply(request, 404, b"")

    def _describe(self, request: BaseHTTPRequestHandler, repository: str, revision: str) -> None:
        if repository not in self.repositories:
            self._reply(request, 404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif revision not in ("main", "v2", COMMIT):
            self._reply(request, 404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        else:
            siblings = [{"rfilename": name} for name in self.repositories[repository]]
            described = {"id": repository, "modelId": repository, "sha": COMMIT, "siblings": siblings}
            self._reply(request, 200, json.dumps(described).encode(), {"Content-Type": "application/json"})

    def _send(self, request: BaseHTTPRequestHandler, repository: str, revision: str, name: str, *, body: bool) -> None:
        content = self.repositories.get(repository, {}).get(name)
        if content is None:
            self._reply(request, 404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
            return
        checksum = hashlib.sha256(content).hexdigest()
        headers = {"ETag": f'"{checksum}"', "X-Linked-Etag": f'"{checksum}"', "X-Linked-Size": str(len(content))}
        sent = bytes(len(content)) if name in self.spoiled else content
        self._reply(request, 200, sent, {**headers, "X-Repo-Commit": COMMIT}, body=body)

    def _reply(
        self,
        request: BaseHTTPRequestHandler,
        status: int,
        content: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        body: bool = True,
    ) -> None:
        request.send_response(status)
        for key, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
            request.send_header(key, value)
        request.end_headers()
        if body and request.command != "HEAD":
            request.wfile.write(content)


def use(monkeypatch: pytest.MonkeyPatch, url: str, cache: Path) -> None:
    """Have the hub's client ask a server, and keep what it is given in a folder.

    It reads both from the environment, once, before the first test.
    """
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


@contextlib.contextmanager
def serve(repositories: Mapping[str, Mapping[str, bytes]]) -> Iterator[Hub]:
    """Run a hub with these repositories."""
    hub = Hub(repositories)
    thread = threading.Thread(target=hub.server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.server.shutdown()
        hub.server.server_close()
        thread.join()
