"""The token of Ray's clusters is its owner's alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from sweeps.execution.joining.auth_token import protect_token


def rights(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_token_that_others_may_read_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    token = tmp_path / ".ray" / "auth_token"
    before = os.umask(0)
    try:
        protect_token()
        assert rights(token.parent) == 0o700, "it is made before Ray makes it"
        token.parent.chmod(0o775)
        token.write_text("a" * 64)
        assert rights(token) == 0o666
    finally:
        os.umask(before)
    protect_token()
    assert (rights(token.parent), rights(token)) == (0o700, 0o600)
    token.chmod(0o400)
    protect_token()
    assert rights(token) == 0o400, "what is closed stays as it is"


def test_a_token_elsewhere_is_closed_and_its_folder_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "nowhere" / "to be made"))
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    protect_token()
    (tmp_path / "token").touch(0o644)
    tmp_path.chmod(0o755)
    protect_token()
    assert rights(tmp_path / "token") == 0o600 and rights(tmp_path) == 0o755
    assert not (tmp_path / "nowhere").exists()


def test_a_token_that_cannot_be_closed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", "/proc/self/status")  # whose rights nobody can change
    with pytest.raises(ValueError, match=r"must be its owner's alone, .* but its rights are 0444. Run `chmod 600 "):
        protect_token()
