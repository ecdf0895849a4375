"""Files on S3: a real server of its protocol, real files."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pgpc.runtime import storage
from pgpc.runtime.storage import StorageError


def test_what_is_an_address() -> None:
    assert storage.is_url("s3://bucket/a") and not storage.is_url("/data/s3") and not storage.is_url(Path("s3://a"))
    assert storage.join("s3://bucket/a/", "b") == "s3://bucket/a/b"
    assert storage.join("/data", "b") == Path("/data/b")


@pytest.mark.slow
def test_files_go_up_and_come_down(s3: str, tmp_path: Path) -> None:
    file = tmp_path / "a bä.bin"
    file.write_bytes(os.urandom(11 * 2**20))  # more than one part
    storage.upload(file, f"{s3}/x/a bä.bin")
    (tmp_path / "empty").touch()
    storage.upload(tmp_path / "empty", f"{s3}/empty")
    assert storage.sizes(s3) == {"x/a bä.bin": 11 * 2**20, "empty": 0}
    assert storage.read(f"{s3}/x/a bä.bin") == file.read_bytes()
    assert storage.download(f"{s3}/x/a bä.bin", tmp_path / "new/copy")
    assert (tmp_path / "new/copy").read_bytes() == file.read_bytes()
    storage.delete(f"{s3}/x/a bä.bin")
    storage.delete(f"{s3}/x/a bä.bin")
    assert storage.sizes(s3) == {"empty": 0}


def test_what_is_not_there(s3: str, tmp_path: Path) -> None:
    assert storage.sizes(s3) == {}
    assert not storage.download(f"{s3}/none", tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError, match=f"^{s3}/none does not exist"):
        storage.read(f"{s3}/none")
    for use in (storage.sizes, lambda url: storage.upload(Path(__file__), url)):
        with pytest.raises(FileNotFoundError, match="s3://nobucket/a does not exist: there is no bucket 'nobucket'"):
            use("s3://nobucket/a")
    with pytest.raises(ValueError, match="must be s3://BUCKET/NAME, but got 's3://'"):
        storage.read("s3://")


@pytest.mark.slow
def test_nobody_answers(s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    began = time.monotonic()
    for use in (storage.sizes, lambda url: storage.upload(Path(__file__), url)):
        with pytest.raises(StorageError, match=r"cannot be reached at http://127.0.0.1:9: .*connect to server"):
            use(f"{s3}/a")
    with pytest.raises(StorageError):
        storage.download(f"{s3}/a", tmp_path / "copy")
    assert time.monotonic() - began < 15
    assert list(tmp_path.iterdir()) == []


def test_the_endpoint_of_s3_alone_comes_first(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", os.environ["AWS_ENDPOINT_URL"])
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    assert storage.sizes(s3) == {}


def test_wrong_credentials(s3: str, tmp_path: Path) -> None:
    def allow(requests: str) -> None:
        """How many requests the server takes before it looks at credentials, none of which are right."""
        url = os.environ["AWS_ENDPOINT_URL"] + "/moto-api/reset-auth"
        header = {"Content-Type": "text/plain"}
        urllib.request.urlopen(urllib.request.Request(url, requests.encode(), header, method="POST")).close()

    allow("0")
    try:
        for use in (storage.read, storage.sizes, lambda url: storage.upload(Path(__file__), url)):
            with pytest.raises(StorageError, match="access denied. Set AWS_ACCESS_KEY_ID .* bucket 'bucket'"):
                use(f"{s3}/a")
    finally:
        allow("inf")


def test_the_cache_downloads_once_and_checks(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPC_CACHE", str(tmp_path / "cache"))
    (tmp_path / "a.arrow").write_bytes(b"contents")
    storage.upload(tmp_path / "a.arrow", f"{s3}/a.arrow")
    digest = hashlib.sha256(b"contents").hexdigest()
    calls, download = [], storage.download
    monkeypatch.setattr(storage, "download", lambda *a, **k: calls.append(a) or download(*a, **k))
    # The lock belongs to an open file, so that threads exclude each other as processes do.
    with ThreadPoolExecutor(4) as threads:
        files = list(threads.map(lambda _: storage.cached(f"{s3}/a.arrow", digest, 8), range(4)))
    assert len(calls) == 1 and set(files) == {tmp_path / f"cache/shards/{digest}.arrow"}
    assert files[0].read_bytes() == b"contents"
    files[0].write_bytes(b"cont")  # not what this module leaves behind
    assert storage.cached(f"{s3}/a.arrow", digest, 8).read_bytes() == b"contents"
    with pytest.raises(ValueError, match="a.arrow: the contents changed"):
        storage.cached(f"{s3}/a.arrow", "0" * 64, 8)
    with pytest.raises(FileNotFoundError, match="b.arrow does not exist"):
        storage.cached(f"{s3}/b.arrow", "0" * 64, 8)
    left = {path.name for path in (tmp_path / "cache/shards").iterdir()}
    assert left == {f"{digest}.arrow", f"{digest}.lock", f"{'0' * 64}.lock"}


def test_sync_up(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names, upload = [], storage.upload
    monkeypatch.setattr(storage, "upload", lambda file, url: names.append(url[len(s3) + 1 :]) or upload(file, url))
    for name in ("checkpoint.pt", "events/a", "zeta.json", "checkpoint.pt.7.tmp", ".hidden", ".git/a", "events/.a"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    storage.sync_up(tmp_path, s3)
    assert names == ["events/a", "zeta.json", "checkpoint.pt"]
    storage.sync_up(tmp_path, s3)
    assert len(names) == 3
    with (tmp_path / "events/a").open("a") as file:
        file.write("more")
    storage.sync_up(tmp_path, s3)
    assert names[3:] == ["events/a"] and storage.read(f"{s3}/events/a") == b"events/amore"
    storage.sync_up(tmp_path, f"{s3}/elsewhere")
    assert storage.sizes(f"{s3}/elsewhere").keys() == {"events/a", "zeta.json", "checkpoint.pt"}


def test_what_was_uploaded_before_a_failure_is_not_uploaded_again(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names, upload = [], storage.upload

    def unsteady(file: Path, url: str) -> None:
        if file.name == "b" and names == ["a"]:
            raise StorageError("gone")
        names.append(file.name)
        upload(file, url)

    monkeypatch.setattr(storage, "upload", unsteady)
    for name in "abc":
        (tmp_path / name).write_text(name)
    with pytest.raises(StorageError):
        storage.sync_up(tmp_path, s3)
    names.append("retry")
    storage.sync_up(tmp_path, s3)
    assert names == ["a", "retry", "b", "c"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_a_user_that_the_machine_does_not_know_is_told_what_to_set(tmp_path: Path) -> None:
    """As in a container that is run with a number for a user: there is neither a name nor a home."""
    code = "from pgpc.runtime import storage\ntry: storage.cache_folder()\nexcept ValueError as error: print(error)"
    before = f"import os, sys; sys.path[:0] = {sys.path!r}; import pgpc.runtime.storage; os.setuid(54321)"
    shown = subprocess.run(
        [sys.executable, "-c", f"{before}\n{code}"],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "home of user 54321, who has none" in shown and "PGPC_CACHE" in shown


def test_a_cache_that_cannot_be_written_names_the_variable(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("PGPC_CACHE", str(tmp_path / "file/cache"))
    with pytest.raises(ValueError, match="file/cache/shards, which cannot be written: .*PGPC_CACHE"):
        storage.cached(f"{s3}/a.arrow", "0" * 64, 8)
    monkeypatch.setenv("PGPC_CACHE", "~no_such_user/cache")
    with pytest.raises(ValueError, match="PGPC_CACHE"):
        storage.cache_folder()


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PGPC_CACHE", "a")
    monkeypatch.setenv("XDG_CACHE_HOME", "b")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert storage.cache_folder() == Path("a")
    monkeypatch.delenv("PGPC_CACHE")
    assert storage.cache_folder() == Path("b/pgpc")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert storage.cache_folder() == tmp_path / ".cache/pgpc"
