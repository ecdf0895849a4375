"""Files of the hub: found in the cache, fetched, checked, and what is said where they cannot be had."""

import io
import logging
import shutil

import pytest
import torch
from huggingface_hub import constants

from pgpc.models.hub import HubError, HubFile, cached, fetch
from tests.helpers.hub import COMMIT, serve, use


def saved(**tensors):
    written = io.BytesIO()
    torch.save({name: torch.full((2,), value) for name, value in tensors.items()}, written)
    return written.getvalue()


A, B = saved(a=1.0), saved(b=2.0)
REPOSITORIES = {
    "nvidia/mit-b0": {"config.json": b"{}", "pytorch_model.bin": A},
    "own/both": {"pytorch_model.bin": A, "model.safetensors": B},
    "own/one": {"README.md": b"", "deep/latest.pth": B},
    "own/several": {"a.pth": A, "b.pth": B},
    "own/none": {"README.md": b""},
}


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "hub"


@pytest.fixture
def hub(cache, monkeypatch):
    with serve(REPOSITORIES) as hub:
        use(monkeypatch, hub.url, cache)
        yield hub


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nvidia/mit-b0", HubFile("nvidia/mit-b0")),
        ("own/both@v2", HubFile("own/both", "v2")),
        ("own/one/deep/latest.pth@v2", HubFile("own/one", "v2", "deep/latest.pth")),
    ],
)
def test_a_text_names_repository_file_and_revision(text, expected):
    assert HubFile.parse(text) == expected


@pytest.mark.parametrize(
    "text", ["", "nvidia", "nvidia/", "/mit", "a b/c", "own/both@", "https://huggingface.co/own/both"]
)
def test_another_text_is_refused(text):
    with pytest.raises(ValueError, match="must be named as hf:owner/name"):
        HubFile.parse(text)


def test_a_file_is_fetched_once_and_then_needs_no_network(hub, cache, caplog):
    caplog.set_level(logging.INFO)
    wanted = HubFile("nvidia/mit-b0")
    assert cached(wanted) is None
    file = fetch(wanted, "No commercial use.")
    assert file.read_bytes() == A
    assert f"Fetching pytorch_model.bin of {hub.url}/nvidia/mit-b0 into {cache}. No commercial use." in caplog.text
    before = len(hub.requests)
    caplog.clear()
    assert fetch(wanted, "No commercial use.") == file
    assert len(hub.requests) == before
    assert not caplog.text


def test_which_file_of_a_repository_is_taken(hub):
    assert fetch(HubFile("own/both")).read_bytes() == B  # of the usual names the first
    assert fetch(HubFile("own/both", name="pytorch_model.bin")).read_bytes() == A
    assert fetch(HubFile("own/one", "v2")).name == "latest.pth"  # the only one that looks like weights
    assert fetch(HubFile("own/one", "v2")).name == "latest.pth"  # from the cache
    for repository, reason in (
        ("own/several", r"must say which file.*a\.pth, b\.pth.*hf:own/several/a\.pth"),
        ("own/none", r"must have a file of weights, but it has README\.md"),
    ):
        with pytest.raises(ValueError, match=reason):
            fetch(HubFile(repository))
    with pytest.raises(ValueError, match=r"must have c\.pth, but it has a\.pth, b\.pth"):
        fetch(HubFile("own/several", name="c.pth"))


def test_what_the_hub_does_not_have_is_named(hub):
    with pytest.raises(ValueError, match=r"There is no repository 'own/gone' at http"):
        fetch(HubFile("own/gone"))
    with pytest.raises(ValueError, match=r"own/both has no branch, tag or commit 'v3'"):
        fetch(HubFile("own/both", "v3"))


def test_without_a_network_one_sentence_says_which_file_belongs_where(hub, cache, monkeypatch):
    hub.server.shutdown()
    hub.server.server_close()
    for offline, reason in ((False, "refused"), (True, "HF_HUB_OFFLINE")):
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
        with pytest.raises(HubError) as error:
            fetch(HubFile("nvidia/mit-b0", name="pytorch_model.bin"))
        text = str(error.value)
        assert f"{hub.url}/nvidia/mit-b0 (pytorch_model.bin), which cannot be reached" in text
        assert reason in text
        assert "--set model.pretrained=FILE" in text
        assert str(cache / "models--nvidia--mit-b0") in text
        assert "\n" not in text


def test_a_cache_that_was_copied_is_taken_without_a_network(hub, cache, monkeypatch, tmp_path):
    fetch(HubFile("nvidia/mit-b0"))
    other = tmp_path / "elsewhere"
    shutil.copytree(cache / "models--nvidia--mit-b0", other / "models--nvidia--mit-b0", symlinks=True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(other))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetch(HubFile("nvidia/mit-b0")).read_bytes() == A
    assert fetch(HubFile("nvidia/mit-b0", COMMIT)).read_bytes() == A


def test_a_file_with_another_checksum_than_the_hub_says_is_refused(hub, cache):
    hub.spoiled.add("pytorch_model.bin")
    with pytest.raises(ValueError, match="is damaged: its checksum is not that of the hub. Delete"):
        fetch(HubFile("nvidia/mit-b0"))
